"""Decides whether a client is too slow, by the bytes it has acknowledged. Pure.

Judged by the bytes that its side has acknowledged: how much the system has taken in from us says
little, for that holds megabytes for a client that reads nothing at all.
"""


class Pace:
    """How one client has been taking what waits for it.

    Args:
        now: seconds of a clock that only goes on.
        taken: bytes the client has acknowledged so far.
    """

    __slots__ = ("_began_at", "_moved_at", "_taken", "_taken_before")

    def __init__(self, now: float, taken: int) -> None:
        self._began_at = self._moved_at = now
        self._taken = self._taken_before = taken

    def is_too_slow(
        self, now: float, *, taken: int, waiting: int, patience_s: float, min_speed: int
    ) -> bool:
        """Take note of how it stands, and judge.

        Args:
            now: seconds of the same clock.
            taken: bytes acknowledged by now.
            waiting: bytes that are sent or about to be, and not acknowledged.
            patience_s: how long a client may take nothing; its speed is a mean over the same.
            min_speed: bytes a second that it must take then.

        Returns:
            Whether something waits, and nothing or too little of it has been taken.
        """
        if not waiting:
            self._began_at = self._moved_at = now
            self._taken = self._taken_before = taken
            return False
        if taken != self._taken:
            self._taken, self._moved_at = taken, now
        if now - self._moved_at >= patience_s:
            return True
        spent_s = now - self._began_at
        if spent_s < patience_s:
            return False
        is_slow = taken - self._taken_before < min_speed * spent_s
        self._began_at, self._taken_before = now, taken
        return is_slow
