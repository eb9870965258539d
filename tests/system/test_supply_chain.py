"""What is installed is what was locked, and the threat model names tests that there are."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.audit import main as audit
from tests.command import ROOT

LOCKS = sorted(ROOT.glob("*.lock"))
MODEL = (ROOT / ".github" / "threat-model.md").read_text()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_all_that_is_locked_has_its_hashes(lock: Path) -> None:
    entries = re.split(r"\n(?=\S)", lock.read_text().strip())
    pins = [entry for entry in entries if not entry.startswith("#")]

    assert len(pins) > 20
    for entry in pins:
        assert re.match(r"[\w.\-]+==\S+", entry), entry
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry


def test_what_runs_is_locked_alike_for_tests_and_for_the_image() -> None:
    pins = [
        set(re.findall(r"^(\S+==\S+)", (ROOT / name).read_text(), re.MULTILINE))
        for name in ("requirements-runtime.lock", "requirements.lock")
    ]

    assert pins[0] < pins[1]


@pytest.mark.parametrize("name", ["Makefile", "Dockerfile"])
def test_what_is_installed_is_checked_by_hash(name: str) -> None:
    text = (ROOT / name).read_text().replace("\\\n", " ")
    installs = re.findall(r"pip\b[^\n]* install [^\n]*-r \S*lock[^\n]*", text)

    assert installs
    assert all("--require-hashes" in one for one in installs)


def test_what_users_make_needs_no_environment_of_developers(tmp_path: Path) -> None:
    options = [f"DEMO={tmp_path}/demo", f"VENV={tmp_path}/venv"]
    for target in ("demo", "man"):
        make = ["make", "--dry-run", target, *options]
        said = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert f"-m venv {tmp_path}/demo\n" in said
        assert f"{tmp_path}/venv" not in said
        assert "-r requirements.lock" not in said


def test_ci_lists_and_audits_what_is_needed() -> None:
    steps = (ROOT / ".ci" / "run").read_text()

    assert "\nmake sbom\n" in steps
    assert "\nmake audit\n" in steps


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        ('{"dependencies": [{"name": "a", "skip_reason": "x"}]}', 0, "does not answer about them"),
        ('{"dependencies": [{"name": "a", "version": "1", "vulns": []}]}', 0, "1 packages audited"),
        ('{"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "X"}]}]}', 1, "a 1: X"),
        ("no answer", 0, "not audited"),
    ],
)
def test_an_index_that_is_silent_is_no_audit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], answer: str, code: int, said: str
) -> None:
    program = tmp_path / "pip-audit"
    program.write_text(f"#!{sys.executable}\nprint({answer!r})\n")
    program.chmod(0o755)

    assert audit(str(program)) == code
    assert said in capsys.readouterr().out


def test_the_threat_model_names_tests_that_there_are() -> None:
    named = 0
    for line in MODEL.splitlines():
        for file, tests in re.findall(r"`(tests/[\w/]+\.py)`((?::? ?,?\s?`test_\w+`)*)", line):
            assert (ROOT / file).exists(), file
            for test in re.findall(r"`(test_\w+)`", tests):
                assert f"def {test}(" in (ROOT / file).read_text(), (file, test)
                named += 1
    assert named == len(re.findall(r"`test_\w+`", MODEL)) > 20
