"""Notifies systemd: ready, reloading, stopping, a line of status, and the watchdog.

The protocol of sd_notify(3): datagrams of `KEY=value` lines to the socket in `$NOTIFY_SOCKET`.
"""

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

_MAX_STATUS = 200


class Notifier:
    """Tells the service manager; silent where there is none.

    Args:
        environ: the process's environment.

    Attributes:
        watchdog_s: how often it wants to hear that we live, in seconds; None where it does not.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self.watchdog_s = _watchdog_s(environ)
        self._status = ""

    def ready(self) -> None:
        """We serve."""
        self._send("READY=1")

    def reloading(self) -> None:
        """The settings are being read again; to be followed by `ready`."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """We are on our way out."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """The watchdog may be content."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Show what we do; sent where it differs from the last."""
        line = " ".join(text.split())[:_MAX_STATUS]
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def _send(self, message: str) -> None:
        if self._address is None:
            return
        # a service manager that cannot be reached is no reason to fail
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.settimeout(0)
            channel.sendto(message.encode(), self._address)


def _address(path: str) -> bytes | None:
    if path.startswith("@"):
        # an abstract socket begins with NUL
        return b"\0" + os.fsencode(path[1:])
    return os.fsencode(path) if path.startswith("/") else None


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    period, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not period.isascii() or not period.isdigit() or int(period) == 0:
        return None
    return int(period) / 1e6 if pid in ("", str(os.getpid())) else None
