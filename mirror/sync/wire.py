"""One connection to upstream, held to bounds that aiohttp does not set.

aiohttp waits for the next byte, whatever it is worth: here a head has to be whole within one such
wait, answers before the answer (1xx) included, and heads and the framing of bodies (chunk sizes and
extensions, trailers) have a bound of bytes. What RFC 9110 and 9112 let pass and aiohttp's parser
does not, is put into the form that it takes.
"""

import re
from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import HttpProcessingError

HEAD_BYTES = 512 * 1024  # most that the head of an answer may take, 1xx answers before it included
_FRAMING_BYTES = 1024 * 1024
_FRAMING_SHARE = 8  # what framing may take beside `_FRAMING_BYTES`: a chunk of a byte has 5 of it
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_LINE_END = re.compile(rb"\r?\n")
_FOLD = re.compile(rb"\r?\n[ \t]+")
_NOT_MODIFIED = re.compile(rb"HTTP/1\.[01] 304\b")
_INTERIM = re.compile(rb"HTTP/1\.[01] 1(?!01)[0-9]{2}\b")


class Connector(aiohttp.TCPConnector):
    """aiohttp's connector, with connections of this kind."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = partial(_Connection, loop=self._loop)  # type: ignore[assignment]


class _Connection(ResponseHandler):
    _head: bytearray | None = None  # what came of a head not whole yet; None where none is due
    _taken = 0  # bytes of this answer: of its heads until one is whole, then of what follows

    def set_response_params(self, **params: Any) -> None:
        self._head, self._taken = bytearray(), 0
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        if self._head is not None and data:
            try:
                data = self._take_head(self._head, data)
            except ValueError as error:
                self._fail(str(error))
            if self._head is not None:
                return  # not handed on, it does not count as a sign of life either
        self._taken += len(data)
        payload = self._payload
        super().data_received(data)
        payload = self._payload or payload
        if payload is None or payload.is_eof():
            return
        if (problem := self.exception()) is not None:
            # aiohttp's parser in C tells nobody who waits for the body
            payload.set_exception(aiohttp.ClientPayloadError(str(problem)))
        elif self._taken > _FRAMING_BYTES + (1 + _FRAMING_SHARE) * payload.total_bytes:
            self._fail("next to nothing but chunk framing came")

    def resume_reading(self, resume_parser: bool = True) -> None:
        super().resume_reading(resume_parser)
        # aiohttp waits for upstream also where it is our turn, or nothing more is to come
        if self._reading_paused or self._payload is None or self._payload.is_eof():
            self._drop_timeout()

    def _take_head(self, head: bytearray, data: bytes) -> bytes:
        """Take what came; return the bytes for the parser once the head is whole."""
        start = max(0, len(head) - 3)
        head += data if head else data.lstrip(b"\r\n")
        self._taken += len(data)
        while (end := _HEAD_END.search(head, start)) and _INTERIM.match(head):
            del head[: end.end()]
            start = 0
        is_http, at = b"HTTP/".startswith(head[:5]), end.end() if end is not None else 0
        if is_http and (at or self._taken) > HEAD_BYTES:
            raise ValueError(f"a head of more than {HEAD_BYTES:,} bytes")
        if is_http and not at:
            return b""
        self._head, self._taken = None, 0
        if not is_http:
            return bytes(head)  # for the parser to say what is wrong with it
        return tidy_head(bytes(head[:at])) + bytes(head[at:])

    def _fail(self, text: str) -> None:
        payload = self._payload
        self.close()
        self.set_exception(HttpProcessingError(message=text))
        if payload is not None:
            payload.set_exception(aiohttp.ClientConnectionError(text))


def tidy_head(head: bytes) -> bytes:
    """Return the head of an answer in the strictest form that says the same.

    A `Content-Length` that is given several times is given once (RFC 9110, 8.6), and not at all
    beside a `Transfer-Encoding`, which overrides it (RFC 9112, 6.3), or in a 304, which may have a
    body all the same: then the connection is not used again. No line is folded, and no name has
    blanks behind it.

    Raises:
        ValueError: its lengths differ.
    """
    first, *fields = _LINE_END.split(_FOLD.sub(b" ", head).rstrip(b"\r\n"))
    kept, lengths, is_coded = [first], set[bytes](), False
    for field in fields:
        name, colon, value = field.partition(b":")
        name = name.rstrip(b" \t")
        if name.lower() == b"content-length":
            lengths |= {length.strip() for length in value.split(b",")}
        elif name.lower() != b"transfer-encoding" or value.strip().lower() != b"identity":
            is_coded |= name.lower() == b"transfer-encoding"
            kept.append(name + colon + value)
    if len(lengths) > 1:
        raise ValueError(f"lengths that differ: {b' and '.join(sorted(lengths)).decode('latin-1')}")
    if lengths:
        is_doubtful = is_coded or (_NOT_MODIFIED.match(first) and lengths != {b"0"})
        kept.append(b"Connection: close" if is_doubtful else b"Content-Length: " + lengths.pop())
    return b"\r\n".join(kept) + b"\r\n\r\n"
