"""The lock of what the image runs: part of the lock of everything, all that the wheel wants."""

import importlib.metadata
import re
from collections.abc import Iterator

from packaging.requirements import Requirement

from tests.command import ROOT


def pins(name: str) -> dict[str, str]:
    """Return each package's block in a lock file: its version and its hashes."""
    blocks = re.split(r"^(?=[a-z0-9])", (ROOT / name).read_text(), flags=re.MULTILINE)
    return {block.partition("==")[0]: block for block in blocks if block}


def asked_for(name: str, extras: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield what a package asks for, and what that asks for, on this Python."""
    for text in importlib.metadata.requires(name) or ():
        wanted = Requirement(text)
        where = wanted.marker
        if where is None or any(where.evaluate({"extra": extra}) for extra in (*extras, "")):
            yield re.sub(r"[-_.]+", "-", wanted.name).lower()
            yield from asked_for(wanted.name, tuple(wanted.extras))


def test_what_runs_is_locked_as_everything_is() -> None:
    everything, runtime = pins("requirements.lock"), pins("requirements-runtime.lock")

    assert runtime.items() <= everything.items()
    assert all("--hash=sha256:" in block for block in runtime.values())


def test_all_that_runs_is_locked_and_nothing_else() -> None:
    here = set(asked_for("binder-mirror", ("data",)))

    assert here <= set(pins("requirements-runtime.lock"))
    # an older Python asks for more
    assert set(pins("requirements-runtime.lock")) - here <= {"backports-zstd", "typing-extensions"}
