"""The metrics of one sync in a file for node_exporter, however the sync ends."""

import signal
from pathlib import Path

import pytest

from tests.command import Shell, interrupt
from tests.samples import read_samples
from tests.upstream import faults


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "textfile"
    folder.mkdir()
    return folder / "binder-mirror.prom"


async def test_it_has_what_a_scrape_would_have(shell: Shell, path: Path) -> None:
    done = await shell.run("sync", "--metrics-file", path, umask=0o077)

    found = read_samples(path.read_text())
    assert done.code == 0
    assert found["binder_mirror_last_exit_code",] == 0
    assert found["binder_mirror_last_run_timestamp_seconds",] > 1.7e9
    assert found["binder_mirror_days", "held"] == 6
    assert found["binder_mirror_downloads_total", "published"] == 6
    assert found["binder_mirror_polls_total", "complete"] == 1
    assert found["binder_mirror_ready",] == 1
    assert found["binder_mirror_disk_free_bytes",] > 0
    # node_exporter has these of its own, and refuses a file that has them too
    assert not any(name.startswith(("process_", "python_")) for name, *_ in found)
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(path.parent.iterdir()) == [path]


async def test_a_failure_is_told_with_its_exit_code(shell: Shell, path: Path) -> None:
    shell.server.fail(f"events-{shell.days[2]}.jsonl", faults.Status(503), times=None)

    done = await shell.run("sync", "--metrics-file", path)

    found = read_samples(path.read_text())
    assert done.code == 3
    assert found["binder_mirror_last_exit_code",] == 3
    assert found["binder_mirror_days", "missing"] == 1
    assert found["binder_mirror_download_failures_total", "http_5xx"] == 2


async def test_so_is_an_upstream_that_is_away(shell: Shell, path: Path) -> None:
    await shell.synced()
    await shell.server.close()

    done = await shell.run("sync", "--metrics-file", path)

    found = read_samples(path.read_text())
    assert done.code == 4
    assert found["binder_mirror_last_exit_code",] == 4
    assert found["binder_mirror_index_state", "unusable"] == 1
    assert found["binder_mirror_last_success_timestamp_seconds",] > 1.7e9


async def test_so_is_an_interruption(shell: Shell, path: Path) -> None:
    gate = faults.Gate()
    shell.server.fail(f"events-{shell.days[2]}.jsonl", gate)
    process = await shell.start("sync", "--metrics-file", path)
    await gate.reached.wait()

    done = await interrupt(process, signal.SIGTERM)

    assert done.code == 143
    assert read_samples(path.read_text())["binder_mirror_last_exit_code",] == 143


async def test_a_file_that_cannot_be_written_is_a_failure_in_one_line(
    shell: Shell, tmp_path: Path
) -> None:
    done = await shell.run("sync", "--metrics-file", tmp_path / "nowhere" / "mirror.prom")

    assert done.code == 5
    assert "nowhere/mirror.prom" in done.err
    assert "Traceback" not in done.err
    shell.assert_complete()


async def test_a_name_that_the_collector_would_not_read_is_refused(
    shell: Shell, tmp_path: Path
) -> None:
    done = await shell.run("sync", "--metrics-file", tmp_path / "mirror.txt")

    assert done.code == 2
    assert ".prom" in done.err
    assert shell.asked() == []
