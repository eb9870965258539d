"""The units on a booted systemd, installed from the wheel by the guide: `make test-systemd`."""

import re
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.command import ROOT, Shell, long_final_days, open_shell
from tests.running import free_port
from tests.system.engine import Engine
from tests.system.machine import (
    BACKUP,
    DATA,
    ELSEWHERE,
    Machine,
    bring,
    lines_of_the_guide,
)
from tests.upstream.faults import Drip

pytestmark = [pytest.mark.slow, pytest.mark.root]
SERVICE = "binder-mirror.service"
SYNC = "binder-mirror-sync.service"
TIMER = "binder-mirror-sync.timer"


@pytest.fixture(scope="module")
def installed(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine on which the guide was followed up to where services are started."""
    if not list((ROOT / "dist").glob("*.whl")):
        pytest.skip("no wheel in dist/: make wheel")
    brought = tmp_path_factory.mktemp("brought")
    bring(brought)
    boot = ("--systemd=always", "--privileged", f"--volume={brought}:/root/mirror")
    ident = engine.start(*boot, engine.base(), "/sbin/init")
    machine = Machine(engine, ident, brought)
    try:
        machine.wait_until_booted()
        machine.install()
        yield machine
    finally:
        engine.remove(ident)


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    async with open_shell(tmp_path / "data", long_final_days(12)) as shell:
        yield shell


@pytest.fixture
def listen() -> str:
    return f"127.0.0.1:{free_port()}"


@pytest.fixture
def machine(installed: Machine, shell: Shell, listen: str) -> Machine:
    """The machine as after installation, its settings for this test's upstream."""
    installed.reset()
    installed.configure(shell, listen)
    return installed


async def test_started_it_is_ready_polls_serves_and_tells_what_it_does(
    machine: Machine, shell: Shell, listen: str
) -> None:
    await machine.does(f"systemctl start {SERVICE}")

    assert await machine.shows(SERVICE, "ActiveState") == "active"
    async with aiohttp.ClientSession() as session, session.get(f"http://{listen}/healthz") as alive:
        assert alive.status == 200, "ready before it listens"
    await machine.until(SERVICE, "StatusText", r"^In step with upstream, 12 days held, as of ")
    async with aiohttp.ClientSession() as session:
        for day in shell.days:
            async with session.get(f"http://{listen}/events-{day}.jsonl") as answer:
                assert await answer.read() == shell.body(day)
        async with session.get(f"http://{listen}/metrics") as answer:
            metrics = await answer.text()
    assert re.search(r"^process_resident_memory_bytes \d", metrics, re.MULTILINE)
    assert re.search(r"^process_open_fds \d", metrics, re.MULTILINE)


async def test_the_data_is_its_users_and_readable_by_all(machine: Machine) -> None:
    await machine.does(f"systemctl start {SERVICE}")
    await machine.until(SERVICE, "StatusText", "^In step")

    owners = await machine.does(f"find -L {DATA} -printf '%u:%g\\n' | sort -u")
    modes = await machine.does(f"stat -c %a {DATA} {DATA}/archive {DATA}/archive/index.jsonl")
    checked = await machine.does(f"cd {DATA}/archive && sha256sum --quiet -c SHA256SUMS")

    assert owners.split() == ["binder-mirror:binder-mirror"]
    assert modes.split() == ["755", "755", "644"]
    assert checked == ""
    assert not (await machine.does(f"readlink {DATA} || true")).strip()


async def test_an_operator_works_by_hand_beside_it(machine: Machine, shell: Shell) -> None:
    machine.configure(shell, "", interval="1h")
    await machine.does(f"systemctl start {SERVICE}")
    await machine.until(SERVICE, "StatusText", "^In step")

    synced = await machine.ask("runuser -u binder-mirror -- binder-mirror sync")
    shown = await machine.does("binder-mirror status")
    stranger = await machine.ask(f"runuser -u nobody -- binder-mirror verify --data-dir {DATA}")
    owners = await machine.does(f"find {DATA} -printf '%u\\n' | sort -u")

    assert synced[0] == 0, synced[1]
    assert DATA in shown
    assert f"{len(shell.days)} days" in shown
    assert stranger[0] == 0, stranger[1]
    assert owners.split() == ["binder-mirror"]


async def test_reload_takes_new_settings(machine: Machine, shell: Shell, listen: str) -> None:
    await machine.does(f"systemctl start {SERVICE}")
    pid = await machine.shows(SERVICE, "MainPID")
    other = f"127.0.0.1:{free_port()}"
    machine.configure(shell, other)

    await machine.does(f"systemctl reload {SERVICE}")

    await machine.logged(SERVICE, "settings.reloaded", url=f"http://{other}/")
    assert await machine.until(SERVICE, "ActiveState", "^active$")
    assert await machine.shows(SERVICE, "MainPID") == pid
    async with aiohttp.ClientSession() as session, session.get(f"http://{other}/healthz") as alive:
        assert alive.status == 200


async def test_reload_refuses_wrong_settings_and_the_old_stay(
    machine: Machine, shell: Shell, listen: str
) -> None:
    await machine.does(f"systemctl start {SERVICE}")
    pid = await machine.shows(SERVICE, "MainPID")
    machine.configure(shell, listen, "schedul.interval = 5\n")

    code, _ = await machine.ask(f"systemctl reload {SERVICE}")

    assert code != 0
    assert any('did you mean "schedule"?' in line for line in await machine.journal(SERVICE))
    assert await machine.shows(SERVICE, "ActiveState") == "active"
    assert await machine.shows(SERVICE, "MainPID") == pid
    async with aiohttp.ClientSession() as session, session.get(f"http://{listen}/healthz") as alive:
        assert alive.status == 200


async def test_a_hung_loop_is_killed_by_the_watchdog_and_comes_back(machine: Machine) -> None:
    drop_in = "[Service]\nWatchdogSec=3\nRestartSec=1\n"
    machine.write("/etc/systemd/system/binder-mirror.service.d/quick.conf", drop_in)
    await machine.does(f"systemctl daemon-reload; systemctl start {SERVICE}")
    await machine.until(SERVICE, "StatusText", "^In step")
    pid = await machine.shows(SERVICE, "MainPID")

    await machine.does(f"python3 -c 'import os, signal; os.kill({pid}, signal.SIGSTOP)'")

    assert await machine.until(SERVICE, "NRestarts", "^1$")
    await machine.until(SERVICE, "StatusText", "^In step")
    assert await machine.shows(SERVICE, "MainPID") not in (pid, "0")
    said = await machine.journal(SERVICE)
    assert any("Watchdog timeout" in line for line in said)
    assert any("Fatal Python error: Aborted" in line for line in said), "where it hung"


async def test_a_daemon_that_works_long_keeps_its_watchdog_content(
    machine: Machine, shell: Shell
) -> None:
    drop_in = "[Service]\nWatchdogSec=2\n"
    machine.write("/etc/systemd/system/binder-mirror.service.d/quick.conf", drop_in)
    shell.server.fail("events-*", Drip(size=500, interval=0.5), times=None)
    await machine.does(f"systemctl daemon-reload; systemctl start {SERVICE}")

    await machine.until(SERVICE, "StatusText", r"^Polling: \d+ of 12 days, ")
    await machine.until(SERVICE, "StatusText", "^In step", patience_s=120)

    assert await machine.shows(SERVICE, "NRestarts") == "0"


async def test_it_stops_within_10_s_in_the_middle_of_slow_downloads(
    machine: Machine, shell: Shell
) -> None:
    shell.server.fail("events-*", Drip(size=20, interval=0.2), times=None)
    await machine.does(f"systemctl start {SERVICE}")
    await machine.until(SERVICE, "StatusText", "^Polling: 0 of 12 days")

    started = time.monotonic()
    await machine.does(f"systemctl stop {SERVICE}")
    took = time.monotonic() - started

    assert took < 10
    assert await machine.shows(SERVICE, "Result") == "success"
    assert await machine.shows(SERVICE, "ExecMainStatus") == "0"
    await machine.logged(SERVICE, "daemon.stopped", in_time=True)


async def test_wrong_settings_at_the_start_are_told_once(machine: Machine, shell: Shell) -> None:
    machine.configure(shell, "", "schedul.interval = 5\n")

    code, _ = await machine.ask(f"systemctl start {SERVICE}")

    assert code != 0
    assert await machine.until(SERVICE, "ActiveState", "^failed$")
    assert await machine.shows(SERVICE, "NRestarts") == "0"
    assert any('did you mean "schedule"?' in line for line in await machine.journal(SERVICE))


async def test_the_data_set_is_kept_in_the_same_cage(machine: Machine, shell: Shell) -> None:
    machine.configure(shell, "", "dataset.enabled = true\n")
    await machine.does(f"systemctl start {SERVICE}")

    await machine.until(SERVICE, "StatusText", "^In step with upstream, 12 days held")

    built = await machine.does(f"find {DATA}/dataset -name '*.parquet' | wc -l")
    assert int(built) >= 1, await machine.journal(SERVICE)


async def test_the_timer_fires_and_its_poll_is_complete(machine: Machine, shell: Shell) -> None:
    soon = "[Timer]\nOnCalendar=\nOnCalendar=*:*:0/2\nRandomizedDelaySec=0\nAccuracySec=100ms\n"
    machine.write("/etc/systemd/system/binder-mirror-sync.timer.d/soon.conf", soon)
    await machine.does(f"systemctl daemon-reload; systemctl start {TIMER}")

    await machine.logged(SYNC, "poll.finished", exit_code=0, published=12)
    await machine.logged(SYNC, "poll.finished", exit_code=0, index_state="unchanged")
    await machine.does(f"systemctl stop {TIMER}")
    wrong = await machine.does(f"journalctl --no-pager -o cat -u {SYNC} --priority warning")

    assert await machine.until(SYNC, "ActiveState", "^inactive$")
    assert "poll.finished" not in wrong
    assert await machine.shows(SYNC, "Result") == "success"
    owners = await machine.does(f"find {DATA} -printf '%u\\n' | sort -u")
    assert owners.split() == ["binder-mirror"]


async def test_a_poll_that_is_not_complete_leaves_its_unit_failed(
    machine: Machine, shell: Shell
) -> None:
    await shell.server.close()

    code, _ = await machine.ask(f"systemctl start {SYNC}")

    assert code != 0
    assert await machine.shows(SYNC, "ActiveState") == "failed"
    assert await machine.shows(SYNC, "ExecMainStatus") == "4"


async def test_what_the_guide_says_of_the_timer_works(machine: Machine) -> None:
    lines = lines_of_the_guide("By systemd")
    for line in lines[lines.index("systemctl enable --now binder-mirror") :]:
        out = await machine.does(line)

    assert "binder-mirror-sync.service" in out
    await machine.does(f"systemctl disable --now {TIMER}")


async def follow(machine: Machine, section: str) -> None:
    for line in lines_of_the_guide(section):
        await machine.does(f"cd /root/mirror; {line}")


def fetched(shell: Shell) -> list[str]:
    """Return the daily files whose bodies were sent since the last call."""
    sent = [one.name for one in shell.server.requests if one.status == 200]
    shell.server.requests.clear()
    return [name for name in sent if name.startswith("events-")]


async def running_and_synced(machine: Machine, shell: Shell) -> None:
    await machine.does(f"systemctl start {SERVICE}")
    await machine.until(SERVICE, "StatusText", "^In step with upstream, 12 days held")
    assert len(fetched(shell)) == 12


async def test_an_upgrade_by_the_guide_fetches_nothing(machine: Machine, shell: Shell) -> None:
    await running_and_synced(machine, shell)
    pid = await machine.shows(SERVICE, "MainPID")

    await follow(machine, "Upgrade")

    await machine.until(SERVICE, "StatusText", "^In step with upstream, 12 days held")
    assert await machine.shows(SERVICE, "MainPID") != pid
    assert fetched(shell) == []


async def test_a_backup_by_the_guide_is_restored_by_it(machine: Machine, shell: Shell) -> None:
    await running_and_synced(machine, shell)
    await follow(machine, "Backup")
    await machine.does(f"systemctl stop {SERVICE}")
    lost = f"events-{shell.days[3]}.jsonl"
    await machine.does(f"rm -rf {DATA}; rm {BACKUP}/binder-mirror/archive/{lost}")

    await follow(machine, "Restore")

    await machine.until(SERVICE, "StatusText", "^In step with upstream, 12 days held")
    assert fetched(shell) == [lost]
    owners = await machine.does(f"find {DATA} -printf '%u\\n' | sort -u")
    assert owners.split() == ["binder-mirror"]


async def test_a_move_by_the_guide_fetches_nothing(machine: Machine, shell: Shell) -> None:
    await running_and_synced(machine, shell)

    await follow(machine, "Move")
    await machine.does(f"rm -rf {DATA}/*")

    await machine.until(SERVICE, "StatusText", "^In step with upstream, 12 days held")
    assert fetched(shell) == []
    polls = await machine.does(f"wc -l < {ELSEWHERE}/polls.jsonl")
    assert int(polls) >= 1


async def test_the_guides_line_for_cron_works_in_crons_environment(
    machine: Machine, shell: Shell
) -> None:
    await follow(machine, "By cron")
    line = await machine.does("cat /etc/cron.d/binder-mirror")
    _, _, _, _, _, user, command = line.strip().split(" ", 6)
    upstream = f"BINDER_MIRROR_UPSTREAM__URL={shell.server.url}"

    code, out = await machine.ask(
        f"cd /; runuser -u {user} -- env -i {upstream} HOME=/ PATH=/usr/bin:/bin sh -c '{command}'"
    )

    # nothing for cron to send by mail
    assert (code, out) == (0, "")
    assert "12 days" in await machine.does("binder-mirror status --data-dir /srv/binder-archive")


async def test_it_is_hardened_as_systemd_itself_sees_it(machine: Machine) -> None:
    for unit in (SERVICE, SYNC):
        code, told = await machine.ask(f"systemd-analyze security --threshold=15 {unit}")
        assert code == 0, told


async def test_uninstalled_by_the_guide_it_leaves_the_copy_and_the_settings(
    machine: Machine, shell: Shell
) -> None:
    await machine.does(f"systemctl enable --now {SERVICE}")
    await machine.until(SERVICE, "StatusText", "^In step")

    await follow(machine, "Uninstall")

    places = "/etc /opt /run/systemd /usr /var/lib"
    found = (await machine.does(f"find {places} -name '*binder-mirror*'")).split()
    assert sorted(found) == ["/etc/binder-mirror", DATA]
    assert "binder-mirror" not in await machine.does("systemctl list-units --all --plain")
    for day in shell.days:
        assert await machine.ask(f"test -s {DATA}/archive/events-{day}.jsonl") == (0, "")
    await machine.does("userdel binder-mirror")

    # tests run in any order
    machine.install()
