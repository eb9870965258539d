"""What is fuzzed: bytes as a daily file, and text as a spec. An assertion that fails is a find."""

from datetime import date

from mirror.errors import SpecError
from mirror.events.findings import Inspector
from mirror.events.kinds import Kinds
from mirror.events.launch import Launch, LaunchDecoder, pair_lines
from mirror.events.lines import BlockCutter
from mirror.events.repository import repository_key
from mirror.events.schema import PROVIDERS
from mirror.events.spec import mask, parse_spec

_DAY = date(2021, 7, 2)
_KINDS = Kinds()


def fuzz_lines(data: bytes) -> None:
    """Each line that is not blank is a launch or told, in order, however the body is divided."""
    cutter, decoder = BlockCutter(), LaunchDecoder("events-2024-03-01.jsonl")
    blocks = [*cutter.feed(data), cutter.finish()]
    found = []
    for block in blocks:
        decoded = decoder.decode(block)
        assert len(list(pair_lines(block, decoded))) == len(decoded)
        found += decoded
    numbers = [one.line for one in found if not isinstance(one, Launch)]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == decoder.odd_lines
    assert all(one.reason.isprintable() for one in found if not isinstance(one, Launch))
    half = len(data) // 2
    again = LaunchDecoder("events-2024-03-01.jsonl")
    parts = [*again.feed(data[:half]), *again.feed(data[half:]), again.finish()]
    assert [one for part in parts for one in part] == found


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


class _LineByLine(Inspector):
    """What defines the findings."""

    def _take_uniform(self, block: bytes) -> bool:
        return False


def fuzz_findings(data: bytes) -> None:
    """What is counted at once is what is counted line by line."""
    expected = _LineByLine(_DAY)
    expected.feed(data)
    found, again = Inspector(_DAY, _KINDS), Inspector(_DAY, _KINDS)
    found.feed(data)
    again.feed(data[: len(data) // 2])
    again.feed(data[len(data) // 2 :])
    assert found.finish() == again.finish() == expected.finish()


TARGETS = {"lines": fuzz_lines, "findings": fuzz_findings, "spec": fuzz_spec}
