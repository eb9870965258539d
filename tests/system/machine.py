"""A machine of its own: Debian with systemd as process 1, in a container, the mirror installed.

It is installed by the very lines of docs/operations.md.
"""

import asyncio
import json
import re
import shutil
import time
from pathlib import Path
from typing import Any

from tests.command import PATIENCE_S, ROOT, Shell
from tests.system.engine import Engine

BROUGHT = ("config", "dist", "requirements-runtime.lock")
LOOK_S = 0.2
BOOTED = ("running", "degraded")
DATA = "/var/lib/binder-mirror"
ELSEWHERE, BACKUP = "/srv/binder-archive", "/srv/backup"
SETTINGS = "/etc/binder-mirror/mirror.toml"


class Machine:
    """A booted machine in the host's network, its `/root/mirror` the folder `brought`."""

    def __init__(self, engine: Engine, ident: str, brought: Path) -> None:
        self._engine = engine
        self._id = ident
        self._brought = brought

    def run(self, command: str) -> str:
        """Run a line of shell as root, which must succeed; return what it printed."""
        return self._engine.podman("exec", "--workdir=/root/mirror", self._id, "sh", "-ec", command)

    async def ask(self, command: str) -> tuple[int, str]:
        """Run a line of shell beside the test's own server; return its exit code and output."""
        return await self._engine.ask("exec", self._id, "sh", "-c", command)

    async def does(self, command: str) -> str:
        """Run a line of shell, which must succeed; return what it printed."""
        code, out = await self.ask(command)
        assert code == 0, (command, code, out)
        return out

    def wait_until_booted(self) -> None:
        """Wait for systemd to be through with the start."""
        deadline = time.monotonic() + PATIENCE_S
        while self.run("systemctl is-system-running || true").strip() not in BOOTED:
            assert time.monotonic() < deadline, self.run("systemctl list-jobs; systemctl --failed")
            time.sleep(LOOK_S)

    def install(self) -> None:
        """Follow the guide up to where services are started."""
        for line in lines_of_the_guide("By systemd"):
            if line.startswith("systemctl enable"):
                break
            self.run(line)

    def write(self, path: str, text: str) -> None:
        """Write a file."""
        (self._brought / "written").write_text(text)
        self.run(f"install -D -m 644 written {path}")

    async def shows(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return (await self.does(f"systemctl show --value -p {name} {unit}")).strip()

    async def until(
        self, unit: str, name: str, pattern: str, patience_s: float = PATIENCE_S
    ) -> str:
        """Wait for a property of a unit to be as a pattern says."""
        deadline = time.monotonic() + patience_s
        while not re.search(pattern, value := await self.shows(unit, name)):
            assert time.monotonic() < deadline, (unit, name, value, await self.journal(unit))
            await asyncio.sleep(LOOK_S)
        return value

    async def journal(self, unit: str) -> list[str]:
        """Return what a unit has said since the journal was last cleared for it."""
        out = await self.does(f"journalctl --no-pager -o cat -u {unit}")
        return out.splitlines()

    async def logged(self, unit: str, event: str, **fields: object) -> dict[str, Any]:
        """Wait for an event with these fields in a unit's journal."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            said = await self.journal(unit)
            events = [json.loads(line) for line in said if line.startswith("{")]
            for one in events:
                if one["event"] == event and fields.items() <= one.items():
                    return one
            assert time.monotonic() < deadline, (event, fields, said)
            await asyncio.sleep(LOOK_S)

    def configure(self, shell: Shell, listen: str, more: str = "", *, interval: str = "1s") -> None:
        """Write settings for an upstream of the test's own."""
        self.write(
            SETTINGS,
            f"{more}\n[upstream]\nurl = '{shell.server.url}'\n[server]\nlisten = '{listen}'\n"
            f"[schedule]\ninterval = '{interval}'\njitter = 0\n"
            f"[storage]\ndata_dir = '{DATA}'\nmin_free = 0\n"
            "[http]\nbackoff = 0.01\nread_timeout = 5\n",
        )

    def reset(self) -> None:
        """Forget all runs: units stopped, no data, no journal of theirs."""
        units = "binder-mirror-sync.timer binder-mirror-sync.service binder-mirror.service"
        self.run(f"systemctl stop {units}; systemctl reset-failed")
        self.run(f"rm -rf {DATA} /etc/systemd/system/binder-mirror*.d; systemctl daemon-reload")
        self.run(f"rm -rf {ELSEWHERE} {BACKUP} /etc/cron.d/binder-mirror")
        self.run("journalctl --rotate --vacuum-time=1us >/dev/null 2>&1")


def bring(folder: Path) -> None:
    """Copy what an operator takes to the server: wheel, configuration, lock."""
    for name in BROUGHT:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copyfile
        copy(source, folder / name)


def lines_of_the_guide(section: str) -> list[str]:
    """Return what the operator's guide says to type as root in a section, line by line."""
    text = (ROOT / "docs" / "operations.md").read_text()
    _, _, rest = text.partition(f"\n## {section}\n")
    body = rest.partition("\n## ")[0]
    blocks = re.findall(r"^```console\n(.*?)^```$", body, re.MULTILINE | re.DOTALL)
    joined = "".join(blocks).replace("\\\n", " ")
    return [line[2:] for line in joined.splitlines() if line.startswith("# ")]
