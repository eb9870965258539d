"""Puts the figures of a first sync into the documents: README's table, and a plot of it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from tests.benchmarks.arena import Sample
from tests.benchmarks.contestants import DISK, SAME_WORK
from tests.benchmarks.report import Result
from tests.command import ROOT

_README = ROOT / "README.md"
_PLOT = ROOT / "docs" / "first-sync.svg"
_BETWEEN = re.compile(r"(?<=<!-- first sync -->\n).*?(?=<!-- end -->)", re.DOTALL)
_NAMES = {
    "mirror": "**binder-mirror without findings**",
    "mirror+findings": "**binder-mirror**",
    SAME_WORK: "rclone, then openssl and wc",
    "rclone": "rclone copy",
    DISK: "cp, from memory: the disk",
}
_DOES = {
    "mirror": "digests, lines, flushes",
    "mirror+findings": "the same, and what each launch is",
    SAME_WORK: "the same digests and lines, no comparison",
    "rclone": "copies, compares sizes",
    "aria2": "copies, flushes",
    "wget2": "copies",
    "curl -Z": "copies",
    DISK: "copies",
}
_WIDTH, _LABEL, _ROW, _BAR = 720, 230, 28, 16
_STYLE = (
    "text{font:13px sans-serif;fill:#24292f}.bar{fill:#8c959f}.ours{fill:#e66581}"
    ".spread{stroke:#24292f}@media(prefers-color-scheme:dark){text{fill:#e6edf3}"
    ".spread{stroke:#e6edf3}}"
)


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    seconds: Sequence[float]
    cpu_s: float
    total_bytes: int

    @property
    def rates(self) -> tuple[float, float, float]:
        """The slowest, the median and the fastest run, in MB/s."""
        took = max(self.seconds), median(self.seconds), min(self.seconds)
        slowest, middle, fastest = (self.total_bytes / 1e6 / one for one in took)
        return slowest, middle, fastest


def write_page(cold: Result) -> None:
    """Write the table of a scenario into the README, and its plot beside the documents.

    Raises:
        SystemExit: the README has no place for it.
    """
    rows = sorted(_rows(cold), key=lambda row: -row.rates[1])
    table = _table(rows)
    text, count = _BETWEEN.subn(lambda _: table, _README.read_text())
    if count != 1:
        raise SystemExit(f"{_README} has {count} places for the figures of a first sync")
    _README.write_text(text)
    _PLOT.write_text(_plot(rows))


def _rows(cold: Result) -> Iterator[_Row]:
    taken: dict[str, list[Sample]] = {}
    for sample in cold.samples:
        taken.setdefault(sample.contestant, []).append(sample)
    for name, samples in taken.items():
        seconds = [sample.durable_s for sample in samples]
        yield _Row(name, seconds, median(one.cpu_s for one in samples), cold.total_bytes)


def _table(rows: Sequence[_Row]) -> str:
    lines = [
        "| | what it does | MB/s, median | slowest to fastest | CPU s a GB |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        slowest, middle, fastest = row.rates
        cpu = row.cpu_s / (row.total_bytes / 1e9)
        lines.append(
            f"| {_NAMES.get(row.name, row.name)} | {_DOES[row.name]} | {middle:.0f} "
            f"| {slowest:.0f} to {fastest:.0f} | {cpu:.1f} |"
        )
    return "\n".join(lines) + "\n"


def _plot(rows: Sequence[_Row]) -> str:
    scale = (_WIDTH - _LABEL - 60) / max(row.rates[2] for row in rows)
    drawn = "".join(_bar(row, number, scale) for number, row in enumerate(rows))
    height = len(rows) * _ROW + 8
    title = "A first sync in MB/s: the median as a bar, slowest and fastest run as a line"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="{title}"><title>{title}</title><style>{_STYLE}</style>{drawn}</svg>\n'
    )


def _bar(row: _Row, number: int, scale: float) -> str:
    slowest, middle, fastest = (_LABEL + rate * scale for rate in row.rates)
    top = number * _ROW + 8
    line, below = top + _BAR / 2, top + _BAR - 3
    kind = "ours" if row.name.startswith("mirror") else "bar"
    label, length = _NAMES.get(row.name, row.name).strip("*"), middle - _LABEL
    return (
        f'<text x="{_LABEL - 8}" y="{below}" text-anchor="end">{label}</text>'
        f'<rect class="{kind}" x="{_LABEL}" y="{top}" width="{length:.0f}" height="{_BAR}"/>'
        f'<path class="spread" d="M{slowest:.0f} {line}H{fastest:.0f}"/>'
        f'<text x="{fastest + 8:.0f}" y="{below}">{row.rates[1]:.0f}</text>'
    )
