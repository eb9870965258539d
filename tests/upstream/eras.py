"""The archive's eras: which launch version, fields and providers a moment has.

The dates are those of the launch schema's history, see UPSTREAM in the project's
notes: versions 1 to 6, providers that came without a version, a change of key order.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

MINUTES_A_DAY = 24 * 60

# From when on (UTC) each version was written. Deployments roll: for an hour
# after the change the members of the federation disagree.
_VERSIONS = {
    1: datetime(2018, 11, 3, tzinfo=UTC),
    2: datetime(2019, 4, 2, tzinfo=UTC),
    3: datetime(2019, 6, 12, 20, 3, tzinfo=UTC),
    4: datetime(2020, 6, 18, 16, 36, tzinfo=UTC),
    5: datetime(2021, 7, 2, tzinfo=UTC),
    6: datetime(2026, 3, 2, tzinfo=UTC),
}
_ROLLOUT = timedelta(hours=1)
_PROVIDERS = {
    "GitHub": date(2018, 11, 3),
    "GitLab": date(2018, 11, 3),
    "Git": date(2018, 11, 3),
    "Gist": date(2019, 4, 2),
    "Zenodo": date(2019, 6, 13),
    "Figshare": date(2019, 9, 1),
    "Dataverse": date(2019, 12, 1),
    "Hydroshare": date(2020, 2, 1),
    "CKAN": date(2024, 7, 1),
}
_ALPHABETICAL_SINCE = date(2022, 10, 1)
_DISGUISED_GISTS = {date(2018, 11, 25), date(2019, 1, 28), date(2019, 2, 22)}
_ORIGINS = {
    date(2019, 6, 12): {"gke.mybinder.org": 3, "ovh.mybinder.org": 1},
    date(2020, 1, 1): {
        "gke.mybinder.org": 66,
        "turing.mybinder.org": 14,
        "ovh.mybinder.org": 12,
        "gesis.mybinder.org": 8,
    },
    date(2022, 11, 1): {"gke.mybinder.org": 4, "notebooks.gesis.org": 4, "ovh.mybinder.org": 1},
    date(2025, 2, 1): {"notebooks.gesis.org": 4, "2i2c.mybinder.org": 3, "bids.mybinder.org": 1},
}


@dataclass(frozen=True, slots=True)
class Era:
    """What all launches of a stretch of time have in common.

    Attributes:
        version: The launch version.
        providers: The providers there are.
        alphabetical: Whether keys are sorted; else the timestamp comes first.
        gists_disguised: Whether Gist launches carry the provider GitHub.
        origins: The BinderHub hosts, each as often as it is chosen.
    """

    version: int
    providers: frozenset[str]
    alphabetical: bool
    gists_disguised: bool
    origins: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a day and the eras whose launches mix in it.

    Attributes:
        start: Its first minute of the day.
        stop: The minute after its last.
        eras: One or, while a new version rolls out, two.
    """

    start: int
    stop: int
    eras: tuple[Era, ...]


def split_day(day: date) -> list[Stretch]:
    """Split a day where the version changes within it.

    Args:
        day: A UTC day.

    Returns:
        Stretches that cover the day: one on nearly all days.
    """
    midnight = datetime.combine(day, time(), UTC)
    for version, since in _VERSIONS.items():
        start = int((since - midnight).total_seconds()) // 60
        if 0 < start < MINUTES_A_DAY:
            mixed = start + int(_ROLLOUT.total_seconds()) // 60
            old, new = _make_era(day, version - 1), _make_era(day, version)
            return [
                Stretch(0, start, (old,)),
                Stretch(start, mixed, (old, new)),
                Stretch(mixed, MINUTES_A_DAY, (new,)),
            ]
    version = max((v for v, since in _VERSIONS.items() if since <= midnight), default=1)
    return [Stretch(0, MINUTES_A_DAY, (_make_era(day, version),))]


def _make_era(day: date, version: int) -> Era:
    disguised = day in _DISGUISED_GISTS
    providers = {name for name, since in _PROVIDERS.items() if since <= day}
    if disguised:
        providers.add("Gist")
    hosts = [origins for since, origins in _ORIGINS.items() if since <= day]
    return Era(
        version=version,
        providers=frozenset(providers),
        alphabetical=day >= _ALPHABETICAL_SINCE,
        gists_disguised=disguised,
        origins=tuple(h for h, n in hosts[-1].items() for _ in range(n)) if hosts else (),
    )
