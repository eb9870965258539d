"""The systemd units, seen by systemd's own tools."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.command import ROOT

UNITS = ROOT / "config" / "systemd"
SERVICES = ("binder-mirror.service", "binder-mirror-sync.service")
ANALYZE = shutil.which("systemd-analyze")
pytestmark = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    assert ANALYZE is not None
    return subprocess.run(
        [ANALYZE, *arguments], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_hardened(name: str) -> None:
    done = analyze("security", "--offline=yes", "--no-pager", UNITS / name)

    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found, (done.stdout[-500:], done.stderr)
    assert float(found[1]) <= 1.5


@pytest.mark.parametrize("name", [*SERVICES, "binder-mirror-sync.timer"])
def test_a_unit_says_nothing_that_systemd_does_not_know(name: str, tmp_path: Path) -> None:
    for unit in UNITS.iterdir():
        text = unit.read_text().replace("/opt/binder-mirror/bin/binder-mirror", "/bin/true")
        (tmp_path / unit.name).write_text(text)

    done = analyze("verify", "--man=no", tmp_path / name)

    ours = [line for line in done.stderr.splitlines() if "binder-mirror" in line]
    assert (done.returncode, ours) == (0, [])


def test_both_services_are_the_same_user_in_the_same_cage() -> None:
    daemon, poll = (
        (UNITS / name).read_text().partition("\nUser=")[2].partition("\n\n")[0].strip()
        for name in SERVICES
    )

    assert daemon.startswith("binder-mirror\nGroup=binder-mirror\nStateDirectory=binder-mirror\n")
    assert daemon == poll


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_its_memory_and_open_files_bounded(name: str) -> None:
    text = (UNITS / name).read_text()

    assert re.search(r"^MemoryMax=2G$", text, re.MULTILINE)
    assert re.search(r"^LimitNOFILE=\d+$", text, re.MULTILINE)
