"""Completion in real shells: what a person gets who types the beginning and the tab key."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pyte
import pytest

from tests.command import plain_environment

PATIENCE_S = 20


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment that has the command in its path, as one that is installed is."""
    found = plain_environment(tmp_path / "data")
    folder = tmp_path / "bin"
    folder.mkdir()
    command = folder / "binder-mirror"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mirror "$@"\n')
    command.chmod(0o755)
    return found | {"PATH": f"{folder}:{found['PATH']}", "TERM": "dumb", "PS1": "> "}


def type_in(shell: list[str], lines: list[str], wanted: str, environ: dict[str, str]) -> str:
    """Type lines to a shell on a terminal until it shows what is wanted; return what it showed."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(shell[0], shell, environ)
    screen = pyte.Screen(200, 24)
    stream = pyte.ByteStream(screen)
    shown, deadline = "", time.monotonic() + PATIENCE_S
    try:
        for line in lines:
            os.write(terminal, line.encode())
        while wanted not in shown:
            assert time.monotonic() < deadline, shown
            if select.select([terminal], [], [], 0.1)[0]:
                stream.feed(os.read(terminal, 65536))
                shown = "\n".join(screen.display)
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)
    return shown


SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "source <(binder-mirror completion bash)"),
    "zsh": (
        ["zsh", "-f", "-i"],
        "autoload -Uz compinit; compinit -u -D; source <(binder-mirror completion zsh)",
    ),
}


@pytest.mark.parametrize("name", SHELLS)
def test_a_shell_completes_commands_options_and_values(
    name: str, environ: dict[str, str], tmp_path: Path
) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"needs {name}")
    command, source = SHELLS[name]
    for begun, wanted in (
        ("binder-mirror veri\t", "verify"),
        ("binder-mirror verify --rep\t", "--repair"),
        ("binder-mirror report --fail-on seri\t", "serious"),
        ("binder-mirror report --fail-on=seri\t", "--fail-on=serious"),
        ("binder-mirror --data-dir=/x --upstream http://y:1/ veri\t", "1/ verify"),
        ("binder-mirror --upstream=http://y:1/ report --fail-on seri\t", "-on serious"),
        (f"binder-mirror status --data-dir={tmp_path}/bi\t", "/bin/"),
        (f"binder-mirror status --data-dir {tmp_path}/bi\t", "/bin/"),
    ):
        shown = type_in(command, [f"{source}; printf '%s%s\\n' rea dy\n", begun], wanted, environ)
        assert wanted in shown.partition("ready")[2]


def test_fish_completes_commands_options_and_values(environ: dict[str, str]) -> None:
    if shutil.which("fish") is None:
        pytest.skip("needs fish")

    def complete(begun: str) -> list[str]:
        script = f"binder-mirror completion fish | source; complete -C '{begun}'"
        done = subprocess.run(
            ["fish", "-N", "-c", script], env=environ, capture_output=True, text=True, check=True
        )
        lines = done.stdout.splitlines()
        descriptions.update(line.partition("\t")[::2] for line in lines)
        return [line.partition("\t")[0] for line in lines]

    descriptions: dict[str, str] = {}

    assert complete("binder-mirror veri") == ["verify"]
    assert complete("binder-mirror verify --rep") == ["--repair"]
    assert complete("binder-mirror report --fail-on seri") == ["serious"]
    assert complete("binder-mirror report --fail-on=seri") == ["--fail-on=serious"]
    assert complete("binder-mirror --upstream=http://y:1/ stat") == ["status"]
    # to its end
    assert descriptions["status"] == "Show the state of the copy, without asking upstream."
