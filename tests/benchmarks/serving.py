"""The web side beside nginx: whole files over loopback, from one process each, taking turns.

The client throws bytes away in the kernel (MSG_TRUNC, tcp(7)), so that it is the servers that are
timed. What a server costs is told by its processor time, which other load changes less.
"""

import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple
from urllib.parse import urlsplit

from tests.benchmarks.arena import Task, report_progress
from tests.benchmarks.contestants import Contestant, Job
from tests.benchmarks.corpus import Corpus
from tests.benchmarks.nginx import Nginx, find_free_port
from tests.benchmarks.report import Result, format_row
from tests.benchmarks.scenarios import Bench

_CONNECTIONS = 4
_LEAST_SHARE = 0.5
# never written to: the kernel only wants to be told how much
_SINK = bytearray(1024 * 1024)
_START_TIMEOUT_S = 30
_TICKS = os.sysconf("SC_CLK_TCK")


class Turn(NamedTuple):
    """All files fetched once from one server."""

    run_s: float
    cpu_s: float
    size: int


def run_serving(bench: Bench) -> Result:
    """Fetch the main corpus from binder-mirror and from nginx with one worker, A B A B."""
    corpus = bench.open_main()
    ours = next(one for one in bench.contestants if one.is_ours)
    turns: dict[str, list[Turn]] = {"nginx": [], ours.name: []}
    task = Task(corpus, bench.locate(corpus), bench.arena.make_folder())
    bench.arena.run(ours, task)
    with (
        Nginx(task.out / "archive", bench.shelf.with_name("one-worker"), workers=1) as nginx,
        _serve(ours, task) as (url, pid),
    ):
        servers = {"nginx": (nginx.url, nginx.find_workers()), ours.name: (url, [pid])}
        for base, pids in servers.values():
            # each once untimed, so that all is in memory
            _fetch_all(base, corpus, pids)
        for number in range(bench.sizes.rounds):
            report_progress(f"serving {number + 1}/{bench.sizes.rounds}")
            for name, (base, pids) in servers.items():
                turns[name].append(_fetch_all(base, corpus, pids))
    return _make_result(turns, ours.name, corpus)


def _make_result(turns: dict[str, list[Turn]], ours: str, corpus: Corpus) -> Result:
    result = Result(
        f"serving: {len(corpus.counts):,} whole files, {_CONNECTIONS} connections",
        ["", "MB/s", "server CPU s/GB"],
    )
    for name, taken in turns.items():
        speed = median(turn.size / turn.run_s for turn in taken) / 1e6
        cost = median(turn.cpu_s / turn.size for turn in taken) * 1e9
        result.rows.append(format_row(name, [(speed, ",.0f"), (cost, ".2f")]))
    pairs = zip(turns["nginx"], turns[ours], strict=True)
    ratio = median(theirs.run_s / mine.run_s for theirs, mine in pairs)
    result.demand_at_least("speed beside nginx's", ratio, _LEAST_SHARE)
    return result


@contextmanager
def _serve(ours: Contestant, task: Task) -> Iterator[tuple[str, int]]:
    """Run binder-mirror's web side on what it holds; give its address and process."""
    port = find_free_port()
    sync = ours.make_arguments(Job(task.url, [], task.out, task.out))
    prefix = [str(ours.program), *sync[: sync.index("sync")]]
    command = [*prefix, "serve", "--data-dir", str(task.out)]
    environ = {**os.environ, "BINDER_MIRROR_SERVER__LISTEN": f"127.0.0.1:{port}"}
    with subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_until_open(port)
            yield f"http://127.0.0.1:{port}/", process.pid
        finally:
            process.terminate()


def _wait_until_open(port: int) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _fetch_all(base: str, corpus: Corpus, pids: list[int]) -> Turn:
    """Fetch every file once, and check that all bytes came."""
    cpu_before, started_at = _cpu_s(pids), time.perf_counter()
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        shares = [corpus.names[number::_CONNECTIONS] for number in range(_CONNECTIONS)]
        sizes = list(pool.map(_fetch, [base] * _CONNECTIONS, shares))
    run_s = time.perf_counter() - started_at
    size = sum(corpus.sizes().values())
    if sum(sizes) != size:
        raise ValueError(f"{base} sent {sum(sizes)} bytes of {size}")
    return Turn(run_s, _cpu_s(pids) - cpu_before, size)


def _fetch(base: str, names: list[str]) -> int:
    parts = urlsplit(base)
    received = 0
    with closing(socket.create_connection((parts.hostname or "", parts.port or 0))) as client:
        for name in names:
            client.sendall(f"GET {parts.path}{name} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            received += _discard_body(client)
    return received


def _discard_body(client: socket.socket) -> int:
    head = b""
    while b"\r\n\r\n" not in head:
        head += client.recv(4096)
    head, _, begun = head.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
    if not head.startswith(b"HTTP/1.1 200") or length is None:
        raise ValueError(f"unexpected answer: {head!r}")
    left = int(length[1]) - len(begun)
    while left > 0:
        got = client.recv_into(_SINK, min(left, len(_SINK)), socket.MSG_TRUNC)
        if not got:
            raise ValueError(f"{left} bytes are missing")
        left -= got
    return int(length[1])


def _cpu_s(pids: list[int]) -> float:
    """Return the processor time that processes have used so far, by proc(5)."""
    stats = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids)
    return sum(int(fields[11]) + int(fields[12]) for fields in stats) / _TICKS
