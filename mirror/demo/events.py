"""Makes up the events of a day for the demo: launches of many repositories, always the same.

The format is the archive's own, version 5 or 6 by the day. Lines are drawn from prepared texts that
lack their timestamp: making each anew would take most of the demo's time.
"""

import json
import random
from datetime import UTC, date, datetime, time
from functools import cache
from itertools import accumulate

_MINUTES = range(24 * 60)
# Twice as many launches in the afternoon (UTC) as in the small hours.
_RHYTHM = list(accumulate(100 - abs(minute - 900) // 15 for minute in _MINUTES))
_EVENTS_PER_DAY = 3000
_WEEKEND_SHARE = 0.55
_VERSION_6_SINCE = date(2026, 3, 2)
_STAMP = "@timestamp@"

_ORIGINS = ("notebooks.gesis.org", "notebooks.gesis.org", "2i2c.mybinder.org", "bids.mybinder.org")
_REQUEST_ORIGINS = ("same-origin", "same-origin", "", "https://jupyter.org")
_REFS = ("master", "main", "HEAD", "feature/new-plots")
_WORDS = ("python", "physics", "intro", "data", "julia", "course", "Notebooks", "ML-2e", "stats")
_POPULAR = {
    ("GitHub", "ipython/ipython-in-depth/master"): 300,
    ("GitHub", "jupyterlab/jupyterlab-demo/master"): 60,
    ("GitHub", "ines/spacy-io-binder/live"): 40,
    ("GitHub", "Qiskit/qiskit-tutorial/master"): 20,
    ("GitHub", "QISKit/qiskit-tutorial/master"): 15,
    ("GitHub", "binder-examples/r/master"): 20,
    ("GitHub", "matplotlib/mpl-brochure-binder/main"): 10,
    ("Git", "https:%2F%2Fbitbucket.org%2Fdemo-team%2Fmarking/master"): 9,
    # a token in an address is its user's secret: the real archive holds some
    ("Git", "https%3A%2F%2Fdemo-user%3Anot-a-real-password%40git.example.org%2Fcourse/HEAD"): 9,
    ("Gist", "demo-user/438a1d6603d95f9e16aa121c6d0c56a8/master"): 9,
    ("GitLab", "demo-school%2Fnumerics%2Fexercises/main"): 9,
    ("Zenodo", "10.5281/zenodo.4032875"): 3,
    ("CKAN", "https%3A%2F%2Fdemo.ckan.example%2Fdataset%2Fsample-dataset-1"): 2,
    ("Figshare", "10.6084/m9.figshare.9782777.v1"): 1,
}
"""Launches of what is popular, relative to one another, by provider and spec."""


def make_day(day: date, *, until: datetime) -> bytes:
    """Return the body of a UTC day's file as it is at `until`: later events are missing."""
    share = _WEEKEND_SHARE if day.weekday() >= 5 else 1.0
    count = round(_EVENTS_PER_DAY * share * random.Random(day.toordinal()).uniform(0.9, 1.1))
    rng = random.Random(f"{day}/{count}")
    minutes = sorted(rng.choices(_MINUTES, cum_weights=_RHYTHM, k=count))
    texts, weights = _texts(6 if day >= _VERSION_6_SINCE else 5)
    age = (until - datetime.combine(day, time(), UTC)).total_seconds() / 60
    return "".join(
        f"{before}{day}T{minute // 60:02}:{minute % 60:02}:00+00:00{after}"
        for minute, (before, after) in zip(
            minutes, rng.choices(texts, cum_weights=weights, k=count), strict=True
        )
        if minute < age
    ).encode()


@cache
def _texts(version: int) -> tuple[list[tuple[str, str]], list[float]]:
    """Return lines, each parted where its timestamp goes, and their cumulated weights."""
    rng = random.Random("repositories")
    repositories = dict(_POPULAR)
    for rank in range(240):
        spec = f"demo-user-{rank}/{'-'.join(rng.choices(_WORDS, k=2))}/{rng.choice(_REFS)}"
        repositories["GitHub", spec] = 2 + 30 // (rank + 1)
    lines: list[tuple[str, str]] = []
    weights: list[float] = []
    for (provider, spec), weight in repositories.items():
        # what is launched often is launched in several ways
        ways = 1 + weight // 5
        lines += [_launch(version, provider, spec, rng) for _ in range(ways)]
        weights += [weight / ways] * ways
    return lines, list(accumulate(weights))


def _launch(version: int, provider: str, spec: str, rng: random.Random) -> tuple[str, str]:
    launch: dict[str, object] = {
        "build_token": rng.random() < 0.1,
        "origin": rng.choice(_ORIGINS),
        "provider": provider,
        "ref": f"{rng.getrandbits(160):040x}",
        "schema": "binderhub.jupyter.org/launch",
        "spec": spec,
        "status": "success",
        "timestamp": _STAMP,
        "version": version,
    }
    if version >= 6:
        launch["request_origin"] = rng.choice(_REQUEST_ORIGINS)
    before, _, after = json.dumps(launch, sort_keys=True).partition(_STAMP)
    return before, f"{after}\n"
