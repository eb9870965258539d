"""A process that counts findings: reads requests on standard input, answers on standard output.

One JSON array a line each way: day and path in, findings out (null where the file could not be
read). Ends with its input, so it cannot outlive whoever started it. Imports next to nothing, for it
is started where time matters.
"""

import signal
import sys
from datetime import date
from pathlib import Path

import msgspec

from mirror.events.findings import Inspector, Kinds, remember_kinds
from mirror.model import Findings

READ_BYTES = 1024 * 1024

_request_decoder = msgspec.json.Decoder(tuple[date, str])


def inspect_file(path: Path, day: date, kinds: Kinds | None = None) -> Findings:
    """Return the findings of a file of ours.

    Args:
        path: the file.
        day: the day that it is of.
        kinds: what is remembered of the lines of other days; never shared between threads.

    Raises:
        OSError: it cannot be read.
    """
    inspector = Inspector(day, kinds)
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(READ_BYTES):
            inspector.feed(chunk)
    return inspector.finish()


def serve() -> None:
    """Answer requests until there are no more."""
    # Ctrl-C reaches every process of a terminal; when to end is for our input to say
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    kinds = remember_kinds()
    for line in sys.stdin.buffer:
        day, path = _request_decoder.decode(line)
        try:
            answer = msgspec.json.encode(inspect_file(Path(path), day, kinds))
        except OSError:
            answer = b"null"
        sys.stdout.buffer.write(answer + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    serve()
