"""How much of what was freed the C library keeps: a matter of years, not of one poll."""

import ctypes
from contextlib import suppress

_M_ARENA_MAX = -8
_ARENAS = 2


def bound_arenas() -> None:
    """Have glibc allocate from two arenas rather than eight a processor.

    The threads of a poll come and go, each new one may take another arena, and an arena keeps what
    it once needed: the daemon grew by 12 to 28 kB a poll over hundreds of polls; so it stays level.
    To be called before threads are made; another library than glibc is left alone. See mallopt(3).
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)
