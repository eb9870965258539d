"""Takes in one body: wire bytes to published bytes, with the evidence for a judgement.

Wire bytes pass through once: digested as they are, where upstream offers digests of an encoded
body; decoded; scanned, which digests and counts what is published; and handed on. The evidence
says what was seen, and which of the offered digests are right: what to make of it is the judge's
business (`mirror.archive.judge`). It is fed, and runs on whatever thread feeds it.
"""

import hashlib
from collections.abc import Iterator

from mirror.archive.coding import make_decoder
from mirror.archive.headers import OfferedDigest, ReplyMeta
from mirror.archive.scan import Scanner
from mirror.model import Evidence

_IDENTITY = ("", "identity")
_BLANKS = b"\xef\xbb\xbf \t\r\n"


class Intake:
    """One body on its way from the wire to a file.

    Args:
        meta: the answer's headers; they say how the body is coded and what its digests should be.
        max_bytes: the cap for the decoded body.
    """

    def __init__(self, meta: ReplyMeta, *, max_bytes: int) -> None:
        self._decoder = make_decoder(meta.encoding)
        self._first = b""
        self._offered = applicable_digests(meta)
        wanted = {digest.algorithm for digest in self._offered}
        plain = meta.encoding in _IDENTITY
        self._scanner = Scanner({"sha256"} | (wanted if plain else set()), max_bytes=max_bytes)
        self._wire = {
            name: hashlib.new(name, usedforsecurity=False) for name in (set() if plain else wanted)
        }

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Take wire bytes, yield the decoded bytes to keep.

        Raises:
            BodyError: over the cap, or wrongly encoded.
        """
        for digest in self._wire.values():
            digest.update(chunk)
        for piece in self._decoder.feed(chunk):
            self._scanner.feed(piece)
            self._first = self._first or piece.lstrip(_BLANKS)[:1]
            yield piece

    def finish(self) -> Evidence:
        """Return what was seen, once the transfer is complete.

        Raises:
            BodyError: the encoded body does not end where it should.
        """
        self._decoder.finish()
        scan = self._scanner.finish()
        # over an encoded body, the digests to compare are those of the wire
        seen = scan.digests | {name: digest.hexdigest() for name, digest in self._wire.items()}
        return Evidence(
            size=scan.size,
            sha256=scan.digests["sha256"],
            lines=scan.lines,
            ends_with_newline=scan.ends_with_newline,
            is_page=self._first == b"<",
            right=tuple(d.source for d in self._offered if seen[d.algorithm] == d.value),
            wrong=tuple(d.source for d in self._offered if seen[d.algorithm] != d.value),
        )


def applicable_digests(meta: ReplyMeta) -> tuple[OfferedDigest, ...]:
    """Return the offered digests that are over the bytes we get.

    Digests of the stored object do not apply where it is stored as gzip and came plain
    (https://cloud.google.com/storage/docs/transcoding).
    """
    if meta.stored_encoding == "gzip" and meta.encoding in _IDENTITY:
        return tuple(d for d in meta.digests if d.source not in ("etag", "x-goog-hash"))
    return meta.digests
