"""What a type checker knows of the reading API; `make types` checks it, nothing runs it."""

from collections.abc import Iterator
from datetime import date, datetime
from typing import assert_type

import pandas as pd
import polars as pl

from mirror import Archive, Launch, OddLine, Spec, parse_spec
from mirror.reading.days import Day, DayCount
from mirror.reading.reader import Events


def read(archive: Archive) -> None:
    """Ask for events in each way."""
    assert_type(archive.events(), Events[Launch])
    assert_type(archive.events(date(2024, 1, 1), unknown="skip"), Events[Launch])
    assert_type(archive.events(unknown="raw"), Events[Launch | OddLine])
    assert_type(archive.days(), list[Day])
    assert_type(archive.launches_per_day(provider=["GitHub", "Git"]), list[DayCount])
    assert_type(iter(archive.events()), Iterator[Launch])
    assert_type(archive.to_pandas(), pd.DataFrame)
    assert_type(archive.to_polars(origin="gke.mybinder.org"), pl.DataFrame)
    for launch in archive.events(repo="binder-examples/r"):
        assert_type(launch.timestamp, datetime)
        assert_type(launch.version, int)
        assert_type(launch.origin, str | None)
        assert_type(launch.build_token, bool | None)
        spec = parse_spec(launch.provider, launch.spec)
        assert_type(spec, Spec)
        assert_type(spec.key, str)


def misuse(archive: Archive) -> None:
    """Do what must not pass: an ignore that nothing needs is an error itself."""
    archive.events(since="2024-01-01")  # type: ignore[call-overload]
    archive.events(unknown="never")  # type: ignore[call-overload]
    archive.events(date(2024, 1, 1), date(2024, 1, 2), "GitHub")  # type: ignore[call-overload]
    archive.events(providers="GitHub")  # type: ignore[call-overload]
    archive.to_pandas(open_day=True)  # type: ignore[call-arg]
    archive.days().append(1)  # type: ignore[arg-type]
    for launch in archive.events():
        launch.version = 5  # type: ignore[misc]
        launch.origin.lower()  # type: ignore[union-attr]
