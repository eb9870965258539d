"""What must hold of a data directory, whatever happened: seen from outside, by its files alone."""

import gzip
import hashlib
import json
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from tests.upstream.archive import UpstreamArchive


def digest(body: bytes) -> str:
    """Return a body's SHA-256."""
    return hashlib.sha256(body).hexdigest()


@dataclass(slots=True)
class Truth:
    """What upstream ever served, and what must never be lost.

    Attributes:
        served: digests by name of a daily file, of every body that upstream ever had.
        kept: digests by name of verified bodies of final days: published, or in history.
        spoilt: names at whose path something else was put by us; nothing is asked of what is there.
    """

    served: dict[str, set[str]] = field(default_factory=dict)
    kept: dict[str, set[str]] = field(default_factory=dict)
    spoilt: set[str] = field(default_factory=set)

    def serve(self, archive: UpstreamArchive) -> None:
        """Take note of all daily files that upstream has now."""
        for name, stored in archive.objects.items():
            if name.startswith("events-"):
                self.served.setdefault(name, set()).add(digest(stored.body))

    def keep(self, root: Path) -> None:
        """Take note of all that is published now: none of it may get lost."""
        for name, found in published(root).items():
            if found in self.served.get(name, ()) and name not in self.spoilt:
                self.kept.setdefault(name, set()).add(found)

    def broken(self, root: Path) -> list[str]:
        """Return which promises do not hold of a data directory at this moment."""
        found = published(root)
        problems = [
            f"{name} is published and is no body of upstream's"
            for name, one in found.items()
            if one not in self.served.get(name, ()) and name not in self.spoilt
        ]
        problems += self._lost(root, found)
        for name, listed in listed_sums(root).items():
            if found.get(name) != listed and name not in self.spoilt:
                why = "another body" if name in found else "nothing"
                problems.append(f"SHA256SUMS speaks of {name}, and there is {why}")
        for name in listed_names(root):
            if name not in found and name not in self.spoilt:
                problems.append(f"the index lists {name}, and it is not there")
        return problems

    def _lost(self, root: Path, found: dict[str, str]) -> list[str]:
        missing = {
            name: {one for one in digests if found.get(name) != one}
            for name, digests in self.kept.items()
        }
        if not any(missing.values()):
            return []
        history = kept_aside(root)
        return [
            f"a verified body of {name} ({one[:12]}) is neither published nor in history"
            for name, digests in missing.items()
            for one in sorted(digests - history.get(name, set()))
        ]


def not_converged(root: Path, archive: UpstreamArchive) -> list[str]:
    """Return in what a data directory differs from an upstream that it should be in step with."""
    found, sums = published(root), listed_sums(root)
    wanted = {
        name: digest(stored.body)
        for name, stored in archive.objects.items()
        if name.startswith("events-")
    }
    problems = [f"{name} is not held" for name in sorted(wanted.keys() - found.keys())]
    problems += [
        f"{name} is not upstream's"
        for name in sorted(wanted.keys() & found.keys())
        if wanted[name] != found[name]
    ]
    if sums != found:
        problems.append("SHA256SUMS does not say what is held")
    index = root / "archive" / "index.jsonl"
    if not index.exists() or index.read_bytes() != archive["index.jsonl"].body:
        problems.append("the index is not upstream's")
    left = [path.name for path in (root / "staging").iterdir()]
    if left:
        problems.append(f"left in staging: {left[:3]}")
    return problems


def published(root: Path) -> dict[str, str]:
    """Return the digests of what is published, by name."""
    return {
        path.name: digest(path.read_bytes())
        for path in (root / "archive").glob("events-*")
        if path.is_file()
    }


def listed_sums(root: Path) -> dict[str, str]:
    """Return what SHA256SUMS says, daily files only."""
    path = root / "archive" / "SHA256SUMS"
    lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
    pairs = [line.partition("  ")[::2] for line in lines]
    return {name: one for one, name in pairs if name.startswith("events-")}


def listed_names(root: Path) -> list[str]:
    """Return the names that the index lists."""
    path = root / "archive" / "index.jsonl"
    lines = path.read_bytes().splitlines() if path.is_file() else []
    return [json.loads(line)["name"] for line in lines]


def kept_aside(root: Path) -> dict[str, set[str]]:
    """Return the digests of what can be read from history, by name of the daily file."""
    found: dict[str, set[str]] = {}
    for path in (root / "history").glob("*.jsonl.gz"):
        try:
            body = gzip.decompress(path.read_bytes())
        except (OSError, EOFError, zlib.error):
            continue
        found.setdefault(f"events-{path.name[:10]}.jsonl", set()).add(digest(body))
    return found
