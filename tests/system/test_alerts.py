"""The alerts, seen by Prometheus's own tools: each fires when it should, none on ordinary days."""

import math
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from mirror.status.metrics import Metrics
from mirror.status.standing import read_status
from tests.command import ROOT, open_shell
from tests.samples import read_samples, render

FOLDER = ROOT / "config" / "prometheus"
ALERTS = FOLDER / "alerts.yaml"
RULES = {
    rule["alert"]: rule
    for group in yaml.safe_load(ALERTS.read_text())["groups"]
    for rule in group["rules"]
}
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")

COUNTED = {
    f'{name} use base unit "seconds" instead of "days"'
    for name in ("binder_mirror_days", "binder_mirror_final_days_changed_total")
}
"""Complaints that are none: days are what is counted, not a unit of time."""

MINUTE, HOUR, DAY = 60, 3600, 86400
STEP = 5 * MINUTE
HOURS = 80
FAULT_AT = 30 * HOUR
"""In seconds; Prometheus's tests begin at the epoch, so that this is the time too."""

Series = Callable[[int], float | None]
"""The value at a second; None where nothing was scraped."""


def is_down(t: int) -> bool:
    """A restart at hour 20, an upgrade of five minutes at hour 45."""
    return t in (20 * HOUR, 45 * HOUR)


def since_restart(t: int) -> int:
    begins = max(start for start in (0, 20 * HOUR, 45 * HOUR) if start <= t)
    return t - begins


def last_poll(t: int) -> float:
    return t // (30 * MINUTE) * 30 * MINUTE


def last_success(t: int) -> float:
    """Each poll is complete, but for two hours in which an open day lags behind its index."""
    return 26 * HOUR if 26 * HOUR <= t < 28 * HOUR + 30 * MINUTE else last_poll(t)


def newest_day_end(t: int) -> float:
    """Today's file comes at two in the night."""
    return t // DAY * DAY + (DAY if t % DAY >= 2 * HOUR else 0)


def polling(t: int) -> float:
    """A poll runs, at one look in six."""
    return t if t % (30 * MINUTE) == 0 and t else 0


ORDINARY: Mapping[str, Series] = {
    'up{job="binder-mirror",instance="m"}': lambda t: not is_down(t),
    'binder_mirror_build_info{version="1",instance="m"}': lambda t: None if is_down(t) else 1,
    'binder_mirror_last_success_timestamp_seconds{instance="m"}': last_success,
    'binder_mirror_last_poll_timestamp_seconds{instance="m"}': last_poll,
    'binder_mirror_poll_interval_seconds{instance="m"}': lambda t: 1860,
    'binder_mirror_newest_day_timestamp_seconds{instance="m"}': newest_day_end,
    'binder_mirror_job_running_since_timestamp_seconds{kind="poll",instance="m"}': polling,
    'binder_mirror_job_runs_total{kind="poll",instance="m"}': (
        lambda t: since_restart(t) // (30 * MINUTE) + 1
    ),
    'binder_mirror_job_runs_total{kind="verify",instance="m"}': lambda t: since_restart(t) // HOUR,
    'binder_mirror_job_failures_total{kind="poll",outcome="crashed",instance="m"}': lambda t: 0,
    'binder_mirror_polls_total{outcome="complete",instance="m"}': (
        lambda t: since_restart(t) // (30 * MINUTE)
    ),
    'binder_mirror_polls_total{outcome="storage",instance="m"}': lambda t: 0,
    # a sync by hand was in the way, once
    'binder_mirror_polls_total{outcome="locked",instance="m"}': (
        lambda t: 20 * HOUR > t >= 10 * HOUR
    ),
    # the index changes every two hours, and nothing is new in the night
    'binder_mirror_downloaded_bytes_total{instance="m"}': (
        lambda t: since_restart(t) // (2 * HOUR) * 2e6
    ),
    'binder_mirror_index_state{state="stale",instance="m"}': lambda t: 0,
    'binder_mirror_index_state{state="shrunk",instance="m"}': lambda t: 0,
    # upstream is away for an hour
    'binder_mirror_index_state{state="unusable",instance="m"}': (
        lambda t: 12 * HOUR <= t < 13 * HOUR
    ),
    # a new day is listed, and fetched by the same poll
    'binder_mirror_days{state="missing",instance="m"}': lambda t: t % DAY == 2 * HOUR,
    'binder_mirror_days{state="quarantined",instance="m"}': lambda t: 2 if t > 5 * HOUR else 1,
    'binder_mirror_problems{instance="m"}': lambda t: 26 * HOUR <= t < 28 * HOUR,
    'binder_mirror_damage_found_total{instance="m"}': lambda t: 0,
    # what was told before Prometheus came is not told again
    'binder_mirror_final_days_changed_total{how="grown",instance="m"}': (
        lambda t: None if is_down(t) else 3
    ),
    'binder_mirror_final_days_changed_total{how="shrunk",instance="m"}': lambda t: 0,
    'binder_mirror_disk_free_bytes{instance="m"}': lambda t: 5e9 - t,
}

FIRING: Mapping[str, tuple[Mapping[str, Series], float]] = {
    "BinderMirrorDown": ({"up": lambda t: 0, "binder_mirror_build_info": lambda t: None}, 0.5),
    "BinderMirrorNotPolling": (
        {
            "binder_mirror_last_poll": lambda t: FAULT_AT,
            "binder_mirror_job_running_since": lambda t: 0,
        },
        3,
    ),
    "BinderMirrorPollStuck": (
        {
            "binder_mirror_job_running_since": lambda t: FAULT_AT,
            "binder_mirror_downloaded_bytes": lambda t: 3e7,
        },
        2,
    ),
    "BinderMirrorNotInStep": ({"binder_mirror_last_success": lambda t: FAULT_AT}, 7),
    "BinderMirrorUpstreamUnusable": (
        {'binder_mirror_index_state{state="unusable"': lambda t: 1},
        4,
    ),
    "BinderMirrorPollsFailing": (
        {'binder_mirror_polls_total{outcome="storage"': lambda t: (t - FAULT_AT) // (30 * MINUTE)},
        3,
    ),
    "BinderMirrorIndexStale": ({'binder_mirror_index_state{state="stale"': lambda t: 1}, 2),
    "BinderMirrorIndexShrunk": ({'binder_mirror_index_state{state="shrunk"': lambda t: 1}, 2),
    "BinderMirrorFinalDayChanged": (
        {'binder_mirror_final_days_changed_total{how="shrunk"': lambda t: 1},
        0.5,
    ),
    "BinderMirrorDataOld": ({"binder_mirror_newest_day": lambda t: 24 * HOUR}, 45),
    "BinderMirrorDaysMissing": ({'binder_mirror_days{state="missing"': lambda t: 2}, 7),
    "BinderMirrorDaysFailing": ({"binder_mirror_problems": lambda t: 1}, 7),
    "BinderMirrorQuarantineGrowing": (
        {'binder_mirror_days{state="quarantined"': lambda t: 2 + (t - FAULT_AT) // HOUR},
        8,
    ),
    "BinderMirrorDamageFound": ({"binder_mirror_damage_found": lambda t: 1}, 1),
    "BinderMirrorNotVerifying": (
        {'binder_mirror_job_runs_total{kind="verify"': lambda t: 10},
        30,
    ),
    "BinderMirrorCrashed": ({"binder_mirror_job_failures": lambda t: 1}, 0.5),
    "BinderMirrorDiskFull": ({"binder_mirror_disk_free": lambda t: 5e8}, 1),
}
"""What is other from `FAULT_AT` on, and within how many hours the alert has to fire."""


def promtool(*arguments: str | Path, **options: str) -> None:
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, *arguments], capture_output=True, text=True, check=False, timeout=60, **options
    )
    complaints = [line for line in done.stderr.splitlines() if line not in COUNTED]
    assert done.returncode in (0, 3), done.stdout + done.stderr
    assert not complaints, complaints
    assert "FAILED" not in done.stdout, done.stdout


def written(series: Series, *, until: int) -> str:
    """Return a series as promtool reads it."""
    values = (series(t) for t in range(0, until + 1, STEP))
    return " ".join("_" if value is None else f"{float(value):.15g}" for value in values)


def try_rules(
    folder: Path, faults: Mapping[str, Series], *, until: int, expected: set[str]
) -> None:
    """Hold the rules against the ordinary series with faults in them, at one moment."""

    def faulty(name: str, ordinary: Series) -> Series:
        fault = next((one for begin, one in faults.items() if name.startswith(begin)), None)
        return lambda t: fault(t) if fault is not None and t >= FAULT_AT else ordinary(t)

    shutil.copy(ALERTS, folder)
    case = {
        "interval": "5m",
        "input_series": [
            {"series": name, "values": written(faulty(name, ordinary), until=until)}
            for name, ordinary in ORDINARY.items()
        ],
        "promql_expr_test": [
            {
                "expr": 'group by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": f"{until}s",
                "exp_samples": [
                    {"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(expected)
                ],
            }
        ],
    }
    rules = folder / "rules.test.yaml"
    test = {"rule_files": ["alerts.yaml"], "evaluation_interval": "5m", "tests": [case]}
    rules.write_text(yaml.safe_dump(test))
    promtool("test", "rules", rules)


@needs_promtool
def test_rules_and_settings_are_what_prometheus_reads() -> None:
    promtool("check", "rules", ALERTS)
    promtool("check", "config", FOLDER / "prometheus.yml")


@needs_promtool
@pytest.mark.parametrize("hour", [1, 3, 12.9, 20.1, 25, 28.4, 45.1, 51, HOURS])
def test_nothing_fires_in_the_ordinary_life_of_the_archive(tmp_path: Path, hour: float) -> None:
    try_rules(tmp_path, {}, until=math.floor(hour * HOUR), expected=set())


@needs_promtool
@pytest.mark.parametrize("alert", FIRING)
def test_each_fires_in_time_and_alone(tmp_path: Path, alert: str) -> None:
    faults, hours = FIRING[alert]

    try_rules(tmp_path, faults, until=FAULT_AT + math.floor(hours * HOUR), expected={alert})


@needs_promtool
def test_a_first_sync_of_hours_is_nothing_to_be_told(tmp_path: Path) -> None:
    first: Mapping[str, Series] = {
        "binder_mirror_last_success": lambda t: 0,
        "binder_mirror_last_poll": lambda t: 0,
        "binder_mirror_newest_day": lambda t: 0,
        "binder_mirror_job_running_since": lambda t: FAULT_AT,
        "binder_mirror_downloaded_bytes": lambda t: (t - FAULT_AT) * 1e5,
        'binder_mirror_days{state="missing"': lambda t: 2000,
        'binder_mirror_job_runs_total{kind="verify"': lambda t: 0,
    }

    try_rules(tmp_path, first, until=FAULT_AT + 10 * HOUR, expected=set())


@needs_promtool
@pytest.mark.parametrize(
    ("metric", "alert"),
    [
        ("binder_mirror_last_poll", "BinderMirrorNotPolling"),
        ("binder_mirror_last_success", "BinderMirrorNotInStep"),
    ],
)
@pytest.mark.parametrize("shown", [0, 400 * DAY])
def test_a_poll_dated_in_the_future_is_none_to_trust(
    tmp_path: Path, metric: str, alert: str, shown: int
) -> None:
    idle = {"binder_mirror_job_running_since": lambda t: 0}
    faults = {metric: lambda t: shown, **idle}

    try_rules(tmp_path, faults, until=FAULT_AT + 2 * HOUR, expected={alert})


def test_each_alert_has_its_test_and_tells_what_to_do() -> None:
    assert FIRING.keys() == RULES.keys()
    guide = (ROOT / "docs" / "operations.md").read_text()
    anchors = {title.lower() for title in re.findall(r"^#+ (\w+)$", guide, re.MULTILINE)}
    for name, rule in RULES.items():
        told = rule["annotations"]
        assert told.keys() == {"summary", "description", "action", "runbook_url"}, name
        assert rule["labels"]["severity"] in ("warning", "critical")
        page, _, anchor = told["runbook_url"].partition("#")
        assert page == "docs/operations.md"
        assert anchor == name.lower()
        assert anchor in anchors, f"{name} is not in the operations guide"


async def scrape(tmp_path: Path) -> str:
    async with open_shell(tmp_path / "data") as shell:
        await shell.synced()
        now = datetime.now(UTC)
        return render(Metrics(), read_status(shell.data, now=now), now)


@needs_promtool
async def test_the_metrics_are_as_prometheus_wants_them(tmp_path: Path) -> None:
    promtool("check", "metrics", input=await scrape(tmp_path))


async def test_every_metric_and_label_of_the_alerts_exists(tmp_path: Path) -> None:
    samples = read_samples(await scrape(tmp_path))
    names = {key[0] for key in samples}

    for name, rule in RULES.items():
        assert set(re.findall(r"binder_mirror_\w+", rule["expr"])) <= names, name
        for metric, value in re.findall(r'(binder_mirror_\w+)\{\w+="(\w+)"\}', rule["expr"]):
            assert any(key[0] == metric and value in key[1:] for key in samples), (metric, value)
