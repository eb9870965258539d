"""What is fuzzed: whatever others may write or send. An assertion that fails is a find.

Bytes as a daily file, as an index, its page, SHA256SUMS, a manifest, what is kept of upstream, and
settings; text as a spec, as a date, Range and Accept-Encoding.
"""

import io
import math
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path

from msgspec.structs import replace

from mirror.archive.headers import parse_http_date, parse_retry_after
from mirror.archive.listings import (
    FIRST_DAY,
    KEPT_REFUSALS,
    MAX_COUNT,
    IndexEntry,
    parse_index,
    parse_page,
    parse_sums,
    render_index,
    render_page,
)
from mirror.archive.manifest import read_claims, render_manifest
from mirror.archive.plan import DayRules
from mirror.archive.upstream import parse_upstream, render_upstream
from mirror.config.loading import load_config, render
from mirror.errors import ConfigError, IndexUnusableError, MirrorError, SpecError
from mirror.events.decoder import decode_blocks, pair_lines, read_blocks
from mirror.events.findings import remember_kinds
from mirror.events.launch import Launch
from mirror.events.spec import PROVIDERS, mask, parse_spec, repository_key
from mirror.web.answer import parse_range
from mirror.web.encodings import choose_coding
from tests.events.agreement import decode, require_agreement
from tests.making import record

_DAY = date(2021, 7, 2)
_KINDS = remember_kinds()
_TODAY = date(2024, 3, 10)
_NOW = datetime(2024, 3, 10, 12, tzinfo=UTC)
_DAYS = DayRules()
_RECORDS = tuple(record(date(2024, 3, day), lines=day) for day in range(1, 6))
_MANIFEST = render_manifest(_RECORDS)


def fuzz_lines(data: bytes) -> None:
    """Each line that is not blank is a launch or told, in order, however the body is divided."""
    found = []
    blocks = read_blocks(io.BytesIO(data))
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


def _require_entries(entries: Mapping[date, IndexEntry]) -> None:
    for day, entry in entries.items():
        assert entry.date == day
        assert FIRST_DAY <= day <= date(2024, 3, 11)
        assert entry.name == _DAYS.name_of(day)
        assert 0 <= entry.count <= MAX_COUNT


def _require_fit_to_show(error: MirrorError) -> None:
    assert all(map(str.isprintable, error.line().splitlines()))


def fuzz_index(data: bytes) -> None:
    """Each line is an entry or refused; what is accepted makes the round trip."""
    try:
        parsed = parse_index(data, name_template=_DAYS.name_template, today=_TODAY)
    except IndexUnusableError as error:
        _require_fit_to_show(error)
        return
    days = [entry.date for entry in parsed.entries]
    assert days == sorted(set(days))
    assert not set(days) & set(parsed.conflicts)
    _require_entries({entry.date: entry for entry in parsed.entries})
    assert len(parsed.refused) == min(parsed.refused_lines, KEPT_REFUSALS)
    assert all(str(one.line).isprintable() for one in parsed.refused)
    if parsed.entries:
        body = render_index(parsed.entries)
        again = parse_index(body, name_template=_DAYS.name_template, today=_TODAY)
        assert again.entries == parsed.entries


def fuzz_page(data: bytes) -> None:
    """What is found on a page makes the round trip."""
    try:
        found = parse_page(data, name_template=_DAYS.name_template, today=_TODAY)
    except IndexUnusableError as error:
        _require_fit_to_show(error)
        return
    _require_entries(found)
    if found:
        page = render_page(found.values())
        assert parse_page(page, name_template=_DAYS.name_template, today=_TODAY) == found


def fuzz_sums(data: bytes) -> None:
    """A name leads nowhere, a digest is one."""
    for name, digest in parse_sums(data).items():
        assert "/" not in name
        assert len(bytes.fromhex(digest)) == 32


def fuzz_manifest(data: bytes) -> None:
    """Of any bytes only whole records are believed; of a spoilt manifest only what was in it."""
    try:
        claimed = read_claims(data, None, _DAYS.name_of).claims
        replayed = read_claims(data, data, _DAYS.name_of).claims
    except ConfigError as error:
        _require_fit_to_show(error)
        return
    for day, claims in replayed.items():
        assert all((one.date, one.name) == (day, _DAYS.name_of(day)) for one in claims)
    body = render_manifest(claims[0] for claims in claimed.values())
    assert read_claims(body, None, _DAYS.name_of).claims == claimed
    spoilt = bytearray(_MANIFEST)
    for at in range(0, len(data) - 2, 3):
        spoilt[int.from_bytes(data[at : at + 2]) % len(spoilt)] ^= data[at + 2]
    try:
        left = read_claims(bytes(spoilt), None, _DAYS.name_of).claims.values()
    except ConfigError:
        return
    assert all(claims[0] in _RECORDS for claims in left)


def fuzz_upstream(data: bytes) -> None:
    """What is believed of what is kept of upstream makes the round trip."""
    try:
        upstream = parse_upstream(data, "")
    except ConfigError as error:
        _require_fit_to_show(error)
        return
    assert parse_upstream(render_upstream(upstream), "") == upstream


def fuzz_settings(data: bytes) -> None:
    """A file is settings that make the round trip, or is refused in lines fit to show."""
    with tempfile.NamedTemporaryFile(suffix=".toml") as file:
        file.write(data)
        file.flush()
        try:
            text = render(load_config(Path(file.name), {}))
        except ConfigError as error:
            _require_fit_to_show(error)
            return
        Path(file.name).write_text(text)
        assert render(load_config(Path(file.name), {})) == text


def fuzz_range(data: bytes) -> None:
    """A Range is bytes of the body, or no such bytes, or is ignored."""
    size, text = int.from_bytes(data[:2]), data[2:].decode("latin-1")
    part = parse_range(text, size)
    if part is not None:
        assert part.step == 1
        assert 0 <= part.start <= max(part.stop, part.start) <= size or not part
        assert text.strip().lower().startswith("bytes")


def fuzz_accept(data: bytes) -> None:
    """A coding is chosen that was named, or covered by an asterisk."""
    text = data.decode("latin-1")
    chosen = choose_coding(text, ("zstd", "gzip"))
    assert chosen is None or chosen in text.lower() or "*" in text


def fuzz_dates(data: bytes) -> None:
    """Dates of headers are aware times; a wait is a number of seconds."""
    text = data.decode("latin-1")
    when = parse_http_date(text)
    assert when is None or when.tzinfo is not None
    wait = parse_retry_after(text, _NOW)
    assert wait is None or (math.isfinite(wait) and wait >= 0)


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "lines": fuzz_lines,
    "findings": fuzz_findings,
    "spec": fuzz_spec,
    "index": fuzz_index,
    "page": fuzz_page,
    "sums": fuzz_sums,
    "manifest": fuzz_manifest,
    "upstream": fuzz_upstream,
    "settings": fuzz_settings,
    "range": fuzz_range,
    "accept": fuzz_accept,
    "dates": fuzz_dates,
}
