"""Lines with a checksum of their own: a flipped bit is noticed, and never believed. Pure.

The last member of such a JSON object is `"crc32"`: that of all bytes of the line before it, in
eight lower-case hex digits. A line is right only as a whole, to the last byte.
"""

import zlib

_MEMBER = b',"crc32":"'
_SEAL = _MEMBER + b'%08x"}'
_SEAL_BYTES = len(_SEAL % 0)


def seal(line: bytes) -> bytes:
    """Return a JSON object that has members with its checksum as one more."""
    body = line.removesuffix(b"}")
    return body + _SEAL % zlib.crc32(body)


def is_sealed(line: bytes) -> bool:
    """Return whether a line has its checksum, and the right one."""
    body = line[:-_SEAL_BYTES]
    return line[len(body) :] == _SEAL % zlib.crc32(body)


def is_unsealed(line: bytes) -> bool:
    """Return whether a line has no checksum, not even a wrong one: as was written before 0.2."""
    return _MEMBER not in line


def is_one_byte_off(line: bytes, right: bytes) -> bool:
    """Return whether a line differs from the right one in a single byte."""
    return len(line) == len(right) and sum(map(int.__ne__, line, right)) == 1
