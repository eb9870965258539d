"""What the service manager hears: on a real socket of the kind that systemd gives."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirror.daemon.service import Notifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(0)
        yield listener


@pytest.fixture
def notifier(manager: socket.socket) -> Notifier:
    return Notifier({"NOTIFY_SOCKET": manager.getsockname()})


def heard(manager: socket.socket) -> list[str]:
    messages = []
    while True:
        try:
            messages.append(manager.recv(4096).decode())
        except BlockingIOError:
            return messages


def test_each_state_is_told(notifier: Notifier, manager: socket.socket) -> None:
    states = ["READY=1", "RELOADING=1\nMONOTONIC_USEC=1", "WATCHDOG=1", "STOPPING=1"]
    for state in states:
        notifier.send(state)

    assert heard(manager) == states


def test_a_status_is_one_line_and_told_once(notifier: Notifier, manager: socket.socket) -> None:
    for _ in range(2):
        notifier.status("Polling:\n12 of 60 days\tREADY=0\n")

    assert heard(manager) == ["STATUS=Polling: 12 of 60 days READY=0"]


def test_an_abstract_socket_is_reached() -> None:
    name = f"binder-mirror-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{name}")
        listener.settimeout(0)
        Notifier({"NOTIFY_SOCKET": f"@{name}"}).send("READY=1")

        assert heard(listener) == ["READY=1"]


@pytest.mark.parametrize("path", [None, "", "relative", "/nowhere/at/all"])
def test_without_a_manager_nothing_happens(path: str | None) -> None:
    Notifier({} if path is None else {"NOTIFY_SOCKET": path}).send("READY=1")


@pytest.mark.parametrize(
    ("environ", "period_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getpid())}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "often"}, None),
    ],
)
def test_the_watchdog_is_for_this_process(environ: dict[str, str], period_s: float | None) -> None:
    assert Notifier(environ).watchdog_s == period_s
