"""Which of the events are wanted, and what becomes of lines that are no launch."""

from collections.abc import Collection
from datetime import datetime
from functools import lru_cache
from typing import Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from mirror.errors import SpecError
from mirror.events.decoder import Decoded, OddLine, pair_lines
from mirror.events.launch import ORIGIN_BEFORE, ORIGINS_SINCE, Launch
from mirror.events.repository import repository_key
from mirror.events.spec import parse_spec
from mirror.text import shown

Unknown: TypeAlias = Literal["raise", "skip", "raw"]

_FILL_BEFORE = datetime.fromisoformat(f"{ORIGINS_SINCE}T00:00:00+00:00")


@lru_cache(maxsize=65536)
def repository_of(provider: str, spec: str) -> str | None:
    """Return the repository key of a launch, or None if the spec is invalid for its provider."""
    try:
        return parse_spec(provider, spec).key
    except SpecError:
        return None


class Selection(Struct, frozen=True):
    """A choice of events."""

    providers: frozenset[str] | None
    origins: frozenset[str] | None
    repositories: frozenset[str] | None
    """Keys."""
    unknown: Unknown
    fill_origin: bool

    @classmethod
    def make(
        cls,
        provider: str | Collection[str] | None = None,
        origin: str | Collection[str] | None = None,
        repo: str | Collection[str] | None = None,
        *,
        unknown: Unknown = "raise",
        fill_origin: bool = False,
    ) -> "Selection":
        """Return the choice of these; None for all.

        Raises:
            SpecError: `repo` names no repository.
            ValueError: `unknown` is none of the three.
        """
        if unknown not in ("raise", "skip", "raw"):
            raise ValueError('unknown must be "raise", "skip" or "raw"')
        providers, repositories = _names(provider), _names(repo)
        forge = "gitlab.com" if providers == frozenset({"GitLab"}) else "github.com"
        return cls(
            providers,
            _names(origin),
            None
            if repositories is None
            else frozenset(repository_key(one, forge=forge) for one in repositories),
            unknown,
            fill_origin,
        )

    @property
    def is_everything(self) -> bool:
        """Whether every launch is wanted."""
        return self.providers is None and self.origins is None and self.repositories is None

    def describe(self) -> str:
        """Return the choice in a few words, each after a comma; nothing where all is wanted."""
        named = ("provider", self.providers), ("origin", self.origins), ("repo", self.repositories)
        return "".join(
            f", {name} {' or '.join(map(shown, sorted(wanted)))}"
            for name, wanted in named
            if wanted is not None
        )

    def choose_launches(self, decoded: Decoded) -> Decoded:
        """Return what is wanted of a block."""
        if self.fill_origin:
            decoded = [self._fill(one) for one in decoded]
        if self.is_everything and not self._drops_from(decoded):
            return decoded
        return [one for one in decoded if self._wants(one)]

    def choose_lines(self, block: bytes, decoded: Decoded) -> bytes:
        """Return the lines of a block that are wanted, each with its newline."""
        # as it is, where each line of it is wanted and none is blank
        if (
            self.is_everything
            and block.count(b"\n") == len(decoded)
            and not self._drops_from(decoded)
        ):
            return block
        wanted = [line for line, one in pair_lines(block, decoded) if self._wants(self._fill(one))]
        return b"".join(line + b"\n" for line in wanted)

    def _drops_from(self, decoded: Decoded) -> bool:
        """Return whether there are odd lines to be skipped; where they raise none come so far."""
        return self.unknown == "skip" and OddLine in set(map(type, decoded))

    def _wants(self, one: Launch | OddLine) -> bool:
        if isinstance(one, OddLine):
            return self.unknown == "raw"
        return (
            (self.providers is None or one.provider in self.providers)
            and (self.origins is None or one.origin in self.origins)
            and (
                self.repositories is None
                or repository_of(one.provider, one.spec) in self.repositories
            )
        )

    def _fill(self, one: Launch | OddLine) -> Launch | OddLine:
        is_old = isinstance(one, Launch) and one.origin is None and one.timestamp < _FILL_BEFORE
        return replace(one, origin=ORIGIN_BEFORE) if is_old and self.fill_origin else one


def _names(value: str | Collection[str] | None) -> frozenset[str] | None:
    if value is None:
        return None
    return frozenset([value] if isinstance(value, str) else value)
