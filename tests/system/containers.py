"""A running container of ours, watched from outside."""

import asyncio
import json
import time
from typing import Any

from tests.command import PATIENCE_S, Shell
from tests.system.engine import Engine

LOOK_S = 0.2
HARDENED = (
    "--read-only",
    # podman would lend it a writable /tmp and /run
    "--read-only-tmpfs=false",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
)


class Container:
    """A container in the host's network, which reads its settings from the shell's."""

    def __init__(self, engine: Engine, ident: str) -> None:
        self._engine = engine
        self.id = ident

    async def logs(self) -> list[dict[str, Any]]:
        """Return what it has logged so far."""
        _, said = await self._engine.ask("logs", self.id)
        return [json.loads(line) for line in said.splitlines() if line.startswith("{")]

    async def logged(self, event: str, *, after: int = 0, **fields: object) -> dict[str, Any]:
        """Wait for an event with these fields among those after the first `after`."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            logs = await self.logs()
            for one in logs[after:]:
                if one["event"] == event and fields.items() <= one.items():
                    return one
            assert time.monotonic() < deadline, (event, fields, logs, self.inspect("{{.State}}"))
            await asyncio.sleep(LOOK_S)

    async def exec(self, *command: str) -> tuple[int, str]:
        """Run a command in it; return its exit code and what it printed."""
        return await self._engine.ask("exec", self.id, *command)

    async def health(self) -> int:
        """Return the exit code of the image's own health check."""
        code, _ = await self._engine.ask("healthcheck", "run", self.id)
        return code

    def inspect(self, template: str) -> str:
        """Return what the engine knows of it."""
        return self._engine.podman("inspect", "--format", template, self.id).strip()


def settings(shell: Shell, *names: str) -> list[str]:
    """Return options that hand the shell's settings on; those named `names` stay the image's."""
    mine = {name: value for name, value in shell.environ.items() if name.startswith("BINDER_MIR")}
    mine.pop("BINDER_MIRROR_STORAGE__DATA_DIR")
    return [f"--env={name}={value}" for name, value in mine.items() if name not in names]
