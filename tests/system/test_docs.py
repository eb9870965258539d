"""The documents: links lead somewhere, paths exist, commands and codes are those of the program."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from mirror import __version__
from mirror.cli.app import COMMANDS, cli
from mirror.errors import ExitCode
from tests import man
from tests.command import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob(".github/**/*.md")])
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
named = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


@named
def test_every_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        there = (path.parent / name).resolve() if name else path
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there), target


@named
def test_every_path_named_exists(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    for name in re.findall(r"`((?:mirror|tests|config|docs)/[\w./-]+)`", text):
        assert (ROOT / name).exists(), name


def command_lines() -> Iterator[tuple[str, str]]:
    """Yield each command line of a console block, with its document."""
    for path in DOCUMENTS:
        blocks = re.findall(r"^```console\n(.*?)^```$", path.read_text(), re.MULTILINE | re.DOTALL)
        for line in "".join(blocks).replace("\\\n", " ").splitlines():
            if match := re.match(r"[$#] (?:.* -- )?binder-mirror (.*)", line):
                yield path.name, match[1]


def parse(command: click.Command, args: list[str], parent: click.Context | None = None) -> None:
    """Parse a command line as click does, but do nothing."""
    with command.make_context(command.name, args, parent=parent) as context:
        if isinstance(command, click.Group):
            rest = [*context._protected_args, *context.args]
            _, below, rest = command.resolve_command(context, rest)
            assert below is not None
            parse(below, rest, context)


@pytest.mark.parametrize(("document", "line"), list(command_lines()))
def test_every_command_line_is_one(
    document: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT / "config")
    words = shlex.split(re.split(r" [|>] ", line)[0].replace("...", "x"), comments=True)
    words = [word if not word.startswith("/etc/") else "mirror.toml" for word in words]

    parse(cli, words)


def test_the_readme_fits_on_one_page_and_lists_every_command() -> None:
    assert len(README.splitlines()) <= 200
    listed = re.findall(r"^\| `binder-mirror ([a-z]+)` \|", README, re.MULTILINE)
    assert sorted(listed) == sorted(cli.list_commands(click.Context(cli)))


@pytest.mark.parametrize("name", COMMANDS)
def test_the_summary_of_a_command_is_how_its_help_begins(name: str) -> None:
    _, command, _ = cli.resolve_command(click.Context(cli), [name])
    assert command is not None
    assert command.help is not None
    assert command.help.startswith(COMMANDS[name][1].removesuffix("."))


def test_every_command_has_a_manual_page(tmp_path: Path) -> None:
    man.main(tmp_path)

    pages = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert {f"binder-mirror-{name}.1" for name in COMMANDS} < pages.keys()
    assert "130/143 interrupted" in pages["binder-mirror.1"]
    assert all("..." not in page.partition(".SH SYNOPSIS")[0] for page in pages.values())


def test_the_exit_codes_are_those_of_the_program() -> None:
    section = README.partition("\n### Exit codes\n")[2].partition("\n#")[0]
    cells = re.findall(r"^\| ([\d, ]+) \|", section, re.MULTILINE)
    assert [int(code) for cell in cells for code in cell.split(",")] == [
        one.value for one in ExitCode
    ]


def test_the_glossary_is_short() -> None:
    words = CONTRIBUTING.partition("\n## Words\n")[2].partition("\n## ")[0]
    assert len(re.findall(r"^\| \w", words, re.MULTILINE)) - 1 <= 25


def test_one_version_everywhere() -> None:
    newest = re.search(
        r"^## \[(\d+\.\d+\.\d+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    cited = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert newest is not None
    assert cited is not None
    assert newest[1] == cited[1] == __version__
