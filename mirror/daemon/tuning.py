"""Tunes the process to serve beside its work for years: memory, threads, garbage collection."""

import ctypes
import gc
import sys
from contextlib import suppress

_M_ARENA_MAX = -8
_ARENAS = 2
_SWITCH_S = 0.001


def bound_arenas() -> None:
    """Have glibc allocate from two arenas rather than eight a processor.

    The threads of a poll come and go, each new one may take another arena, and an arena keeps what
    it once needed: the daemon grew by 12 to 28 kB a poll over hundreds of polls; so it stays level.
    To be called before threads are made; another library than glibc is left alone. See mallopt(3).
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)


def shorten_switch_interval() -> None:
    """Have a busy thread give the interpreter away after 1 ms rather than 5.

    The event loop gives it away at every wait, several times in one answer, and each time waits as
    long to have it back from threads that write, decode or look at the copy: beside a poll the
    slowest in a hundred answers took half as long again. The poll takes no longer for it.
    """
    sys.setswitchinterval(_SWITCH_S)


def freeze_gc() -> None:
    """Keep modules and what is made at the start out of every search for garbage.

    None of it ever is, and going through it held up the loop for 40 ms. See gc.freeze().
    """
    gc.collect()
    gc.freeze()
