"""What an operator can do about a problem, or that there is nothing to do. Pure.

Problems are told in one line each, by the poll that met them; they are known again by the words
that this software itself puts into them.
"""

_WAIT = "Nothing to do: the next poll asks again."
_TELL = "Nothing held is lost. Tell the archive's publishers; nobody else may have noticed."
_STANDS = (
    "Nothing to do: the next poll asks again, and what upstream goes on serving unchanged is taken "
    "as it is, and flagged."
)
_ADVICE = (
    ("stands where its file belongs", "Move it away; the next poll fetches the day."),
    ("in quarantine", "Read its reason in quarantine/; `binder-mirror prune` deletes what is old."),
    ("index line", _TELL),
    ("different counts", _TELL),
    ("has shrunk", _TELL),
    ("stands still", _TELL),
    ("upstream is unusable", f"{_WAIT} If it lasts, check upstream.url and the way there."),
    ("moved to", "If that is right, set upstream.url and reload."),
    (": corrupt:", f"{_WAIT} If it lasts, something on the way alters bytes: look at proxies."),
    (": mismatch:", _STANDS),
    (": behind:", _STANDS),
    (": rolled-back:", _STANDS),
    ("index or ETag contradict", "Nothing to do: upstream has served these bytes for hours."),
    ("max_file_size", "If the file is as it should be, raise http.max_file_size and reload."),
    ("cannot be read: the next sync", "Nothing to do; if it comes back, look at the disk."),
    ("the next sync", "Nothing to do: the next poll mends it."),
    ("listed day", f"{_WAIT} What failed, and why, is said above, or in the log."),
    ("No space left", "Make room, or run `binder-mirror prune`."),
)


def advise(problem: str) -> str:
    """Return what to do about a problem of a poll, or of the inventory."""
    for words, advice in _ADVICE:
        if words in problem:
            return advice
    return f"{_WAIT} If it lasts for a day, look at the log."
