"""What is fuzzed: bytes as a daily file, and text as a spec. An assertion that fails is a find."""

from datetime import date

from msgspec.structs import replace

from mirror.errors import SpecError
from mirror.events.decoder import cut_blocks, decode_blocks, pair_lines
from mirror.events.findings import remember_kinds
from mirror.events.launch import PROVIDERS, Launch
from mirror.events.spec import mask, parse_spec, repository_key
from tests.events.agreement import decode, require_agreement

_DAY = date(2021, 7, 2)
_KINDS = remember_kinds()


def fuzz_lines(data: bytes) -> None:
    """Each line that is not blank is a launch or told, in order, however the body is divided."""
    found = []
    blocks = cut_blocks([data])
    for block, decoded, has_odd_lines in decode_blocks(blocks, "events-2024-03-01.jsonl"):
        assert len(list(pair_lines(block, decoded))) == len(decoded)
        assert has_odd_lines == any(not isinstance(one, Launch) for one in decoded)
        found += decoded
    numbers = [one.line for one in found if not isinstance(one, Launch)]
    assert numbers == sorted(set(numbers))
    assert all(one.reason.isprintable() for one in found if not isinstance(one, Launch))
    half = len(data) // 2
    nameless = [one if isinstance(one, Launch) else replace(one, file="") for one in found]
    assert decode(data[:half], data[half:]) == nameless


def fuzz_spec(data: bytes) -> None:
    """Any text parses and makes the round trip, or is an error that is fit to show."""
    text = data[1:].decode("utf-8", "surrogateescape")
    provider = PROVIDERS[data[0] % len(PROVIDERS)] if data else "GitHub"
    told = [mask(text)]
    try:
        parsed = parse_spec(provider, text)
    except SpecError as error:
        told.append(str(error))
    else:
        told.append(str(parsed))
        assert parse_spec(provider, parsed.unparse()) == parsed
    try:
        told.append(repository_key(text))
    except SpecError as error:
        told.append(str(error))
    assert all(map(str.isprintable, told))


def fuzz_findings(data: bytes) -> None:
    """Findings, the reading API and the data set's rows agree, however the body is divided."""
    half = len(data) // 2
    require_agreement([data], _DAY, _KINDS)
    require_agreement([data[:half], data[half:]], _DAY, _KINDS)


TARGETS = {"lines": fuzz_lines, "findings": fuzz_findings, "spec": fuzz_spec}
