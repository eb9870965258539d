"""Archives to mirror: made once, kept in the work folder.

Launches are drawn from the real ones that MIRROR_REAL_DATA has, so that lines repeat no more than
there; without it they are made up, and counting what is in them looks faster than it is.

All days are final. A corpus is never changed; what must change is a branch of it, whose files
are hard links until they grow.
"""

import json
import os
import random
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock
from functools import partial
from multiprocessing import get_context
from pathlib import Path

_LAST_DAY = date(2026, 6, 30)
_PUBLISHED_AFTER = timedelta(hours=28)
# Sizes lie between these shares of their mean, small ones more often.
_SMALLEST, _LARGEST = 0.2, 2.8
# No more than so many lines are made at once, to bound memory.
_LINES_AT_ONCE = 50_000


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a corpus is to be: so many days, so many bytes, perhaps one day far larger."""

    files: int
    total_bytes: int
    largest_bytes: int = 0

    @property
    def name(self) -> str:
        largest = f"+{self.largest_bytes}" * bool(self.largest_bytes)
        kind = "-real" * ("MIRROR_REAL_DATA" in os.environ)
        return f"{self.files}x{self.total_bytes}{largest}{kind}"


@dataclass(frozen=True, slots=True)
class Corpus:
    """A folder that is an archive: `index.jsonl` and its daily files.

    `counts` has the lines of each file, by name, oldest day first.
    """

    folder: Path
    counts: dict[str, int]

    @property
    def names(self) -> list[str]:
        return list(self.counts)

    def sizes(self) -> dict[str, int]:
        """Return the bytes of each daily file as they are now."""
        return {name: (self.folder / name).stat().st_size for name in self.counts}

    def branch(self, folder: Path, names: list[str]) -> "Corpus":
        """Return an archive of some of the files, which may grow without touching this one."""
        folder.mkdir(parents=True)
        for name in names:
            os.link(self.folder / name, folder / name)
        branch = Corpus(folder, {name: self.counts[name] for name in names})
        _write_index(branch)
        return branch

    def grow(self, names: list[str]) -> None:
        """Publish some days again with one event more. For branches only."""
        for name in names:
            body = (self.folder / name).read_bytes()
            last_line = body[body.rfind(b"\n", 0, -1) + 1 :]
            _replace(self.folder / name, body + last_line)
            self.counts[name] += 1
        _write_index(self)


def open_corpus(shelf: Path, recipe: Recipe) -> Corpus:
    """Return the corpus of this recipe, made first where it is missing, with a fresh index."""
    folder = shelf / recipe.name
    if not folder.exists():
        # In a process of its own: what a parent ever held counts as its children's peak memory.
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            pool.submit(_make_corpus, folder, recipe).result()
    corpus = Corpus(folder, dict(_read_index(folder)))
    # An index that has not changed for long would be a stale one, and be treated as such.
    _write_index(corpus)
    return corpus


def warm_up(corpus: Corpus) -> None:
    """Read a corpus once, so that it is served from memory."""
    for name in corpus.names:
        with (corpus.folder / name).open("rb", buffering=0) as file:
            while file.read(1024 * 1024):
                pass


def _make_corpus(folder: Path, recipe: Recipe) -> None:
    part = folder.with_suffix(".part")
    part.mkdir(parents=True, exist_ok=True)
    counts: dict[str, int] = {}
    first_day = _LAST_DAY - timedelta(days=recipe.files - 1)
    for number, size in enumerate(_draw_sizes(recipe)):
        day = first_day + timedelta(days=number)
        name = f"events-{day}.jsonl"
        counts[name] = _write_day(part / name, day, size)
    _write_index(Corpus(part, counts))
    part.rename(folder)


def _draw_sizes(recipe: Recipe) -> list[int]:
    rng = random.Random(recipe.name)
    small = recipe.files - bool(recipe.largest_bytes)
    shares = [rng.triangular(_SMALLEST, _LARGEST, _SMALLEST) for _ in range(small)]
    scale = (recipe.total_bytes - recipe.largest_bytes) / sum(shares) if shares else 0
    largest = [recipe.largest_bytes] if recipe.largest_bytes else []
    return [round(share * scale) for share in shares] + largest


def _write_day(path: Path, day: date, size_bytes: int) -> int:
    """Write a day of about this size; return its lines."""
    # imported here: the parent process must stay small
    from tests.benchmarks.launches import load_rows, make_real_day  # noqa: PLC0415
    from tests.upstream.launches import make_day  # noqa: PLC0415

    make = partial(make_real_day, rows=rows) if (rows := load_rows()) else make_day
    bytes_per_line = len(make(day, 200)) / 200
    count = max(1, round(size_bytes / bytes_per_line))
    lines: list[bytes] = []
    for start in range(0, count, _LINES_AT_ONCE):
        part = make(day, min(_LINES_AT_ONCE, count - start))
        lines += part.splitlines(keepends=True)
    if count > _LINES_AT_ONCE:
        lines.sort(key=_read_timestamp)
    path.write_bytes(b"".join(lines))
    published_at = (datetime.combine(day, clock(), UTC) + _PUBLISHED_AFTER).timestamp()
    os.utime(path, (published_at, published_at))
    return count


def _read_timestamp(line: bytes) -> bytes:
    return line.partition(b'"timestamp": "')[2][:25]


def _read_index(folder: Path) -> list[tuple[str, int]]:
    lines = (folder / "index.jsonl").read_text().splitlines()
    return [(entry["name"], int(entry["count"])) for entry in map(json.loads, lines)]


def _write_index(corpus: Corpus) -> None:
    entries = [
        {"name": name, "date": name[len("events-") : -len(".jsonl")], "count": str(count)}
        for name, count in corpus.counts.items()
    ]
    _replace(corpus.folder / "index.jsonl", "\n".join(map(json.dumps, entries)).encode())


def _replace(path: Path, body: bytes) -> None:
    """Publish a body under a Last-Modified that differs from the one before, in whole seconds."""
    last_modified = int(time.time())
    if path.exists():
        last_modified = max(last_modified, int(path.stat().st_mtime) + 1)
    part = path.with_suffix(".new")
    part.write_bytes(body)
    os.utime(part, (last_modified, last_modified))
    part.replace(path)
