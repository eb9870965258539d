"""Variables of other programs, odd limits, and what a process inherits: none ends the daemon."""

import os
import resource
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command import Shell
from tests.running import Daemon, poll_every_second
from tests.slices import a_few

VARIABLES: dict[str, dict[str, str | None]] = {
    "Prometheus' files": {"PROMETHEUS_MULTIPROC_DIR": "/no/such", "prometheus_multiproc_dir": "/"},
    "Python's debug modes": {
        "PYTHONASYNCIODEBUG": "1",
        "PYTHONDEVMODE": "1",
        "PYTHONFAULTHANDLER": "1",
    },
    "warnings as errors": {"PYTHONWARNINGS": "error"},
    "no assertions": {
        "PYTHONOPTIMIZE": "2",
        "PYTHONUNBUFFERED": "1",
        "PYTHONINTMAXSTRDIGITS": "640",
    },
    "ASCII": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    "odd language": {"LC_ALL": "xx_YY.nonsense", "PYTHONIOENCODING": "ascii:strict"},
    "odd terminal": {"TERM": "no-such", "COLUMNS": "wide", "LINES": "-3", "FORCE_COLOR": "1"},
    "odd time zone": {"TZ": "No/Such:Zone/../x"},
    "odd proxies": {"NO_PROXY": "*,,[::1,://", "ALL_PROXY": "socks5://x:1", "HTTPS_PROXY": "//[:"},
    "odd TLS": {
        "SSL_CERT_FILE": "/no/such",
        "SSL_CERT_DIR": "/no/such",
        "OPENSSL_CONF": "/no/such",
        "NETRC": "/",
    },
    "odd folders": {"TMPDIR": "/no/such", "HOME": "/no/such", "XDG_CONFIG_HOME": "relative"},
    "no home": {"HOME": None, "XDG_STATE_HOME": "relative", "STATE_DIRECTORY": "/no/such:x"},
    "a service manager that is not there": {
        "NOTIFY_SOCKET": "/no/such",
        "WATCHDOG_USEC": "nonsense",
        "LISTEN_FDS": "3",
        "JOURNAL_STREAM": "8:12",
    },
    "a watchdog that never waits": {"NOTIFY_SOCKET": "@no-such", "WATCHDOG_USEC": "1"},
    "a watchdog beyond numbers": {"NOTIFY_SOCKET": "@no-such", "WATCHDOG_USEC": "9" * 5000},
    "no extensions": {"AIOHTTP_NO_EXTENSIONS": "1", "MULTIDICT_NO_EXTENSIONS": "1"},
}


def _without_folder() -> None:
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    Path(folder).rmdir()


def _limit(what: int, most: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(what, (most, most))


INHERITED: dict[str, Callable[[], object]] = {
    "umask 0777": lambda: os.umask(0o777),
    "umask 0": lambda: os.umask(0),
    "no current directory": _without_folder,
    "no standard streams but the log": lambda: (os.close(0), os.close(1)),
    "a small stack": _limit(resource.RLIMIT_STACK, 256 * 1024),
    "few open files": _limit(resource.RLIMIT_NOFILE, 40),
    "SIGPIPE, SIGCHLD and SIGHUP changed": lambda: (
        signal.signal(signal.SIGPIPE, signal.SIG_DFL),
        signal.signal(signal.SIGCHLD, signal.SIG_IGN),
        signal.signal(signal.SIGHUP, signal.SIG_IGN),
    ),
    "signals blocked": lambda: signal.pthread_sigmask(
        signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    ),
}


async def works(shell: Shell, **options: Callable[[], object]) -> Daemon:
    """See a sync, a reader and a daemon do as ever; return the daemon, ended."""
    poll_every_second(shell)
    synced = await shell.run("sync", **options)
    assert (synced.code, "Traceback" in synced.err) == (0, False), synced
    assert (await shell.run("status", **options)).code == 0
    daemon = Daemon(await shell.start("run", **options))
    try:
        await daemon.logged("poll.finished", exit_code=0)
        await daemon.logged("poll.finished", after=len(daemon.logs), exit_code=0)
        code, _ = await daemon.end()
    finally:
        await daemon.kill()
    assert code == 0
    assert [one for one in daemon.logs if one["event"] == "job.crashed"] == []
    assert "this is a bug" not in "\n".join(daemon.said)
    return daemon


@pytest.mark.parametrize("name", a_few(VARIABLES, *list(VARIABLES)[::4]))
async def test_variables_of_other_programs_change_nothing(shell: Shell, name: str) -> None:
    for variable, value in VARIABLES[name].items():
        if value is None:
            shell.environ.pop(variable, None)
        else:
            shell.environ[variable] = value

    await works(shell)

    shell.assert_complete()


@pytest.mark.parametrize("name", INHERITED)
async def test_what_a_process_inherits_changes_nothing(shell: Shell, name: str) -> None:
    await works(shell, preexec_fn=INHERITED[name])

    assert (await shell.run("verify")).code == 0


async def test_a_file_for_tls_keys_that_cannot_be_written_is_done_without(shell: Shell) -> None:
    shell.environ["SSLKEYLOGFILE"] = "/no/such/file"

    daemon = await works(shell)

    why = "No such file or directory: it is not written"
    assert daemon.said == [f"binder-mirror: SSLKEYLOGFILE /no/such/file: {why}"]


async def test_without_room_for_a_thread_it_is_one_line(shell: Shell) -> None:
    line = (await shell.run("sync", preexec_fn=_limit(resource.RLIMIT_AS, 300 * 1024**2))).refused(
        5
    )

    assert line.startswith(("no thread can be started", "no memory is left"))
