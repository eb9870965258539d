"""What the data set says of a spec: key, reference, and the spec as it may be shown. Pure."""

from functools import lru_cache

from mirror.errors import SpecError
from mirror.events.spec import MASK, mask, parse_spec


@lru_cache(maxsize=10_000)
def describe_spec(provider: str, spec: str) -> tuple[str | None, str | None, str | None]:
    """Return key, reference and, where a password is in it, the spec with that masked."""
    try:
        parsed = parse_spec(provider, spec)
    except SpecError:
        masked = mask(spec)
        return None, None, masked if MASK in masked else None
    is_masked = MASK in f"{parsed.repository} {parsed.ref}"
    return parsed.key, parsed.ref, parsed.unparse() if is_masked else None
