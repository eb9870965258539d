"""A verified, byte-faithful mirror of the mybinder.org Events Archive."""

from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from mirror.events.decoder import OddLine
    from mirror.events.launch import Launch
    from mirror.events.spec import Spec, parse_spec
    from mirror.reading.reader import Archive

__all__ = ["Archive", "Launch", "OddLine", "Spec", "__version__", "parse_spec"]

_HOMES = {
    "Archive": "mirror.reading.reader",
    "Launch": "mirror.events.launch",
    "OddLine": "mirror.events.decoder",
    "Spec": "mirror.events.spec",
    "parse_spec": "mirror.events.spec",
}


def __getattr__(name: str) -> Any:
    # on first use: whoever only wants the version, or the command, pays for nothing
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib  # noqa: PLC0415 - beside what it imports

    return getattr(importlib.import_module(_HOMES[name]), name)
