"""The reading API: the events of a mirror on this machine, typed and at the decoder's speed.

    from mirror import Archive

    archive = Archive("/srv/binder-archive")
    for launch in archive.events(since=date(2024, 1, 1), open_days=False):
        ...

No lock is taken and nothing is written. What is read is what the inventory says: a file of another
size or time than its record, or of another number of lines, is an error and never an answer. A file
that is replaced meanwhile is read to its end as it was.
"""

import os
from collections.abc import Callable, Collection
from datetime import date, datetime, timedelta
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from mirror.archive.plan import DayRules
from mirror.clock import utc_now
from mirror.errors import UnrecordedError
from mirror.events.decoder import OddLine
from mirror.events.launch import Launch
from mirror.reading.days import Day, DayCount, DayFiles, describe
from mirror.reading.selection import Selection, Unknown
from mirror.reading.stream import Events
from mirror.store.layout import DataDir, check_data_dir, default_data_dir, require_mirror
from mirror.text import shown

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

Names = str | Collection[str] | None


class Archive:
    """The events that a mirror holds.

    Args:
        data_dir: the data directory; where the command would look for it, if not given.
        name_template: what a daily file is called (setting `upstream.name_template`).
        final_after: how long after a day's end upstream is done with it (`schedule.final_after`).
        now: the clock.

    Raises:
        ConfigError: there is no mirror there.

    >>> archive = Archive("demo-data")
    >>> archive
    Archive('demo-data': 3 days from 2024-03-01 to 2024-03-03, 342 events, 99.4 kB)
    >>> [day.events for day in archive.days()]
    [107, 114, 121]
    >>> sum(1 for launch in archive.events(provider="GitHub"))
    320
    """

    def __init__(
        self,
        data_dir: str | os.PathLike[str] | None = None,
        *,
        name_template: str = "events-{date}.jsonl",
        final_after: timedelta = timedelta(hours=8),
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        root = default_data_dir(os.environ) if data_dir is None else Path(data_dir)
        self._shown = shown(str(root), 300)
        checked = check_data_dir(root).root
        data = DataDir(checked, DayRules(name_template, final_after))
        require_mirror(data)
        self._files = DayFiles(data, now)

    @property
    def data(self) -> DataDir:
        """Where it is."""
        return self._files.data

    def days(self, since: date | None = None, until: date | None = None) -> list[Day]:
        """Return the days that are held, ascending.

        Args:
            since: the first day; None for the first held.
            until: the last day, itself included; None for the last held.

        Raises:
            StorageError, ConfigError: the inventory cannot be read.
        """
        return self._files.survey(since, until)[0]

    def problems(self, since: date | None = None, until: date | None = None) -> list[str]:
        """Return what keeps days of a range from being read: one line each, none where all is well.

        Args:
            since: the first day.
            until: the last day, itself included.

        Raises:
            StorageError, ConfigError: the inventory cannot be read.
        """
        return self._files.survey(since, until)[1]

    @overload
    def events(
        self,
        since: date | None = ...,
        until: date | None = ...,
        *,
        provider: Names = ...,
        origin: Names = ...,
        repo: Names = ...,
        unknown: Literal["raise", "skip"] = ...,
        open_days: bool | None = ...,
        fill_origin: bool = ...,
        progress: bool | None = ...,
    ) -> "Events[Launch]": ...
    @overload
    def events(
        self,
        since: date | None = ...,
        until: date | None = ...,
        *,
        provider: Names = ...,
        origin: Names = ...,
        repo: Names = ...,
        unknown: Unknown,
        open_days: bool | None = ...,
        fill_origin: bool = ...,
        progress: bool | None = ...,
    ) -> "Events[Launch | OddLine]": ...
    def events(
        self,
        since: date | None = None,
        until: date | None = None,
        *,
        provider: Names = None,
        origin: Names = None,
        repo: Names = None,
        unknown: Unknown = "raise",
        open_days: bool | None = None,
        fill_origin: bool = False,
        progress: bool | None = None,
    ) -> "Events[Any]":
        """Return the events of a range of days, to be gone through as often as you like.

        Args:
            since: the first day; None for the first held.
            until: the last day, itself included; None for the last held.
            provider: only launches of this provider, or of one of these.
            origin: only launches by this BinderHub, or by one of these.
            repo: only launches of this repository, or of one of these, in any spelling:
                "user/repository", an address, a DOI, a key. Launches whose spec is none of their
                provider's belong to no repository.
            unknown: what to do about a line that is no launch of a known version: "raise", "skip"
                it, or give it "raw", as an `OddLine`; filters do not apply to it. `odd` counts it.
            open_days: whether days that are not final yet belong to it. None: they do, with a
                `PartialDayWarning`.
            fill_origin: give launches of before 2019-06-12 the origin that was meant,
                "mybinder.org".
            progress: whether to show a bar; None for long reads on a terminal or in a notebook.

        Raises:
            SpecError: `repo` names no repository.
            UnrecordedError: a day of the range is not on disk as it is on record.
            StorageError, ConfigError: the inventory cannot be read.
        """
        selection = Selection.make(provider, origin, repo, unknown=unknown, fill_origin=fill_origin)
        days, problems = self._files.survey(since, until)
        if problems:
            more = f", and {len(problems) - 1} more" if problems[1:] else ""
            raise UnrecordedError(
                f"{problems[0]}{more}", hint="see `binder-mirror verify`, or leave such days out"
            )
        return Events(self._files, days, selection, open_days=open_days, progress=progress)

    def launches_per_day(
        self, since: date | None = None, until: date | None = None, **options: Any
    ) -> list[DayCount]:
        """Return how many launches each held day has, ascending, days without any too.

        Args:
            since: as for `events`.
            until: as for `events`.
            options: the filters and choices of `events`.

        Raises:
            UnknownSchemaError, UnrecordedError, StorageError, ConfigError: as when reading.
        """
        return self.events(since, until, **options).per_day()

    def to_arrow(
        self, since: date | None = None, until: date | None = None, **options: Any
    ) -> "pa.Table":
        """Return the launches that `events` gives as an Arrow table."""
        return self.events(since, until, **options).to_arrow()

    def to_pandas(
        self, since: date | None = None, until: date | None = None, **options: Any
    ) -> "pd.DataFrame":
        """Return the launches that `events` gives as a pandas frame."""
        return self.events(since, until, **options).to_pandas()

    def to_polars(
        self, since: date | None = None, until: date | None = None, **options: Any
    ) -> "pl.DataFrame":
        """Return the launches that `events` gives as a polars frame."""
        return self.events(since, until, **options).to_polars()

    def __repr__(self) -> str:
        return f"Archive({self._shown!r}: {describe(self.days())})"

    def _repr_html_(self) -> str:
        days = self.days()
        rows = {
            "Mirror": self._shown,
            "Held": describe(days),
            "Not readable": "; ".join(self.problems()) or "none",
            "Still open": ", ".join(str(day.date) for day in days if not day.is_final) or "none",
        }
        cells = (f"<tr><th>{name}</th><td>{escape(text)}</td></tr>" for name, text in rows.items())
        return f"<table>{''.join(cells)}</table>"
