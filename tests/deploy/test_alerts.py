"""The alerts, seen by Prometheus's own tools, and the metrics that they speak of."""

import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mirror.edges.folder import DataDir
from mirror.edges.metrics import Metrics
from mirror.edges.view import load_view
from tests.command import ROOT, Shell, open_shell
from tests.samples import at

ALERTS = ROOT / "config" / "prometheus" / "alerts.yaml"
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")


COUNTED = 'binder_mirror_days use base unit "seconds" instead of "days"'
"""The one complaint that is none: days are what is counted, not a unit of time."""


def promtool(*arguments: str | Path, **options: str) -> None:
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, *arguments], capture_output=True, text=True, check=False, timeout=60, **options
    )
    complaints = [line for line in done.stderr.splitlines() if line != COUNTED]
    assert done.returncode in (0, 3), done.stdout + done.stderr
    assert not complaints, complaints
    assert "FAILED" not in done.stdout, done.stdout


async def scrape(tmp_path: Path) -> str:
    async with open_shell(tmp_path / "data") as shell:
        await shell.synced()
        return render(shell)


def render(shell: Shell) -> str:
    data: DataDir = shell.data
    view = load_view(data, "events-{date}.jsonl")
    body, _ = Metrics().render(view, at(datetime.now(UTC)))
    return body.decode()


@needs_promtool
def test_the_rules_are_rules() -> None:
    promtool("check", "rules", ALERTS)


@needs_promtool
def test_each_rule_fires_when_it_should_and_not_on_an_ordinary_day(tmp_path: Path) -> None:
    shutil.copy(ALERTS, tmp_path)
    shutil.copy(Path(__file__).with_name("alerts.test.yaml"), tmp_path)

    promtool("test", "rules", tmp_path / "alerts.test.yaml")


@needs_promtool
async def test_the_metrics_are_as_prometheus_wants_them(tmp_path: Path) -> None:
    text = await scrape(tmp_path)

    promtool("check", "metrics", input=text)


async def test_every_metric_of_the_alerts_exists(tmp_path: Path) -> None:
    text = await scrape(tmp_path)
    names = {
        sample.name for family in text_string_to_metric_families(text) for sample in family.samples
    }
    expressions = re.findall(r"^\s+expr: (.*)$", ALERTS.read_text(), re.MULTILINE)

    assert len(expressions) == 8
    asked = {name for text in expressions for name in re.findall(r"binder_mirror_\w+", text)}
    assert asked <= names
