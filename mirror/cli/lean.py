"""Start-up without what a command never uses.

A quiet poll is one request, so most of its time is imports. Two libraries do work of their own
while they are imported: structlog brings rich along, and aiohttp reads the system's certificates
twice, whatever the address (`mirror.sync.source` reads them itself, for https alone). Together
they are a quarter of the start. Only for a process of our own: whoever imports `mirror` as a
library gets both libraries as they are.
"""

import gc
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import cast


@contextmanager
def lean_imports() -> Iterator[None]:
    """Import within this: rich counts as not installed, and no certificates are read."""
    hidden = "rich" not in sys.modules
    if hidden:
        sys.modules["rich"] = cast("ModuleType", None)  # what `import` takes for "not there"
    ssl.SSLContext.set_default_verify_paths = _read_nothing  # type: ignore[assignment,method-assign]
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        # what is imported is no garbage, not even at the end: a sixth of the time goes there
        gc.freeze()
        del ssl.SSLContext.set_default_verify_paths
        if hidden:
            del sys.modules["rich"]


def _read_nothing(_context: ssl.SSLContext) -> None:
    pass
