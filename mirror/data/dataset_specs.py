"""What the data set says of a spec: key, reference, and the spec as it may be shown."""

from functools import lru_cache
from typing import TYPE_CHECKING

from mirror.errors import SpecError
from mirror.events.spec import MASK, mask, parse_spec

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def make_specs(connection: "DuckDBPyConnection") -> None:
    """Make the table specs: what is said of each provider and spec, once for each."""
    pairs = connection.execute("SELECT DISTINCT provider, spec FROM raw").fetchall()
    described = [describe_spec(provider, spec) for provider, spec in pairs]
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE specs AS SELECT unnest($1::VARCHAR[]) AS provider, "
        "unnest($2::VARCHAR[]) AS spec, unnest($3::VARCHAR[]) AS repository, "
        "unnest($4::VARCHAR[]) AS requested_ref, unnest($5::VARCHAR[]) AS shown",
        [
            [provider for provider, _ in pairs],
            [spec for _, spec in pairs],
            [one[0] for one in described],
            [one[1] for one in described],
            [one[2] for one in described],
        ],
    )


@lru_cache(maxsize=100_000)
def describe_spec(provider: str, spec: str) -> tuple[str | None, str | None, str | None]:
    """Return key, reference and, where a password is in it, the spec with that masked."""
    try:
        parsed = parse_spec(provider, spec)
    except SpecError:
        masked = mask(spec)
        return None, None, masked if MASK in masked else None
    return parsed.key, parsed.ref, parsed.unparse() if MASK in parsed.repository else None
