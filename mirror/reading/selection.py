"""Chooses the wanted events of a block, as launches or as lines, and skips or passes odd lines.

A block of which all is wanted goes through as it is: that is what makes reading everything fast.
"""

from collections.abc import Collection
from datetime import datetime
from functools import lru_cache
from typing import Literal, TypeAlias, TypedDict

from msgspec.structs import replace

from mirror.errors import SpecError
from mirror.events.decoder import Decoded, OddLine, pair_lines
from mirror.events.launch import ORIGIN_BEFORE, ORIGINS_SINCE, Launch
from mirror.events.repeats import UnlikeError
from mirror.events.spec import parse_spec, repository_key
from mirror.text import shown

Names: TypeAlias = str | Collection[str] | None
Unknown: TypeAlias = Literal["raise", "skip", "raw"]

_FILL_BEFORE = datetime.fromisoformat(f"{ORIGINS_SINCE}T00:00:00+00:00")


class Options(TypedDict, total=False):
    """What a `Selection` is made of, but for `unknown`; `Archive.events` describes each."""

    provider: Names
    origin: Names
    repo: Names
    open_days: bool | None
    fill_origin: bool
    progress: bool | None


class AllOptions(Options, total=False):
    """What a `Selection` is made of."""

    unknown: Unknown


@lru_cache(maxsize=65536)
def repository_of(provider: str, spec: str) -> str | None:
    """Return the repository key of a launch, or None if the spec is invalid for its provider."""
    try:
        return parse_spec(provider, spec).key
    except SpecError:
        return None


class Selection:
    """A choice of events, and of how they are read; `Archive.events` describes the arguments.

    A SpecError says that `repo` names no repository, a ValueError that `unknown` is none of the
    three.
    """

    def __init__(
        self,
        *,
        provider: Names = None,
        origin: Names = None,
        repo: Names = None,
        unknown: Unknown = "raise",
        open_days: bool | None = None,
        fill_origin: bool = False,
        progress: bool | None = None,
    ) -> None:
        if unknown not in ("raise", "skip", "raw"):
            raise ValueError('unknown must be "raise", "skip" or "raw"')
        self.unknown = unknown
        self.open_days = open_days
        self.progress = progress
        self._fill_origin = fill_origin
        self._providers, self._origins, repositories = map(_names, (provider, origin, repo))
        forge = "gitlab.com" if self._providers == frozenset({"GitLab"}) else "github.com"
        self._repositories = repositories and frozenset(
            repository_key(one, forge=forge) for one in repositories
        )
        self._named = {
            "provider": self._providers,
            "origin": self._origins,
            "repo": self._repositories,
        }
        self._is_everything = set(self._named.values()) == {None}

    def describe(self) -> str:
        """Return the choice in a few words, each after a comma; nothing where all is wanted."""
        return "".join(
            f", {name} {' or '.join(map(shown, sorted(wanted)))}"
            for name, wanted in self._named.items()
            if wanted is not None
        )

    def choose_launches(self, decoded: Decoded) -> Decoded:
        """Return what is wanted of a block."""
        if self._fill_origin:
            decoded = [self._fill(one) for one in decoded]
        if self._wants_all(decoded):
            return decoded
        return [one for one in decoded if self._wants(one)]

    def choose_lines(self, block: bytes, decoded: Decoded) -> bytes:
        """Return the lines of a block that are wanted, each with its newline."""
        # as it is, where each line of it is wanted and none is blank
        if self._wants_all(decoded) and block.count(b"\n") == len(decoded):
            return block
        wanted = [line for line, one in pair_lines(block, decoded) if self._wants(self._fill(one))]
        return b"".join(line + b"\n" for line in wanted)

    def wants_always(self, one: Launch) -> bool:
        """Return whether a launch is wanted; an UnlikeError says that it depends on its time."""
        if self._fill_origin and one.origin is None:
            raise UnlikeError
        return self._wants(one)

    def _wants_all(self, decoded: Decoded) -> bool:
        """Return whether none is dropped; where odd lines raise, none of them come so far."""
        drops_odd = self.unknown == "skip" and OddLine in set(map(type, decoded))
        return self._is_everything and not drops_odd

    def _wants(self, one: Launch | OddLine) -> bool:
        if isinstance(one, OddLine):
            return self.unknown == "raw"
        return (
            (self._providers is None or one.provider in self._providers)
            and (self._origins is None or one.origin in self._origins)
            and (
                self._repositories is None
                or repository_of(one.provider, one.spec) in self._repositories
            )
        )

    def _fill(self, one: Launch | OddLine) -> Launch | OddLine:
        is_old = isinstance(one, Launch) and one.origin is None and one.timestamp < _FILL_BEFORE
        return replace(one, origin=ORIGIN_BEFORE) if is_old and self._fill_origin else one


def _names(value: Names) -> frozenset[str] | None:
    if value is None:
        return None
    return frozenset([value] if isinstance(value, str) else value)
