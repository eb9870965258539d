"""What is measured: six scenarios, each a function from a bench to a result."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import trustme

from tests.benchmarks.arena import Arena, Sample, Task, report_progress
from tests.benchmarks.contestants import SAME_WORK, Contestant
from tests.benchmarks.corpus import Corpus, Recipe, open_corpus, warm_up
from tests.benchmarks.gauge import gauge_relay
from tests.benchmarks.nginx import Nginx
from tests.benchmarks.relay import Relay
from tests.benchmarks.report import Result, Series, format_row

_HELD_BYTES_PER_FILE = 100_000
_CHANGED = 10
_POLLED_OVER_LINK = 1000
_LARGEST_BYTES = 200_000_000
_RTT_S, _LINK_MBIT = 0.040, 500
_MB = 1e6


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured.

    Attributes:
        rounds: how often each contestant runs.
        files, total_bytes: the archive that is fetched cold.
        held: the files held where little or nothing changes.
        link_bytes: about how much is fetched over the slow link.
    """

    rounds: int
    files: int
    total_bytes: int
    held: int
    link_bytes: int


@dataclass(frozen=True, slots=True)
class Bench:
    """All that a scenario needs."""

    sizes: Sizes
    contestants: list[Contestant]
    shelf: Path
    nginx: Nginx
    arena: Arena

    @property
    def ours(self) -> list[str]:
        return [contestant.name for contestant in self.contestants if contestant.is_ours]

    def open(self, recipe: Recipe) -> Corpus:
        report_progress(f"corpus {recipe.name}")
        corpus = open_corpus(self.shelf, recipe)
        warm_up(corpus)
        return corpus

    def open_main(self) -> Corpus:
        return self.open(Recipe(self.sizes.files, self.sizes.total_bytes))

    def open_held(self) -> Corpus:
        return self.open(Recipe(self.sizes.held, self.sizes.held * _HELD_BYTES_PER_FILE))

    def locate(self, corpus: Corpus) -> str:
        return self.arena.locate(corpus, self.nginx.url)

    def take_turns(self, title: str) -> Iterator[Contestant]:
        """Give A B C A B C … ; the trash is removed after each round."""
        for number in range(self.sizes.rounds):
            for contestant in self.contestants:
                report_progress(f"{title} {number + 1}/{self.sizes.rounds}: {contestant.name}")
                yield contestant
            self.arena.empty_trash()

    def fetch_cold(self, contestant: Contestant, corpus: Corpus, url: str) -> Sample:
        task = Task(corpus, url, self.arena.make_folder())
        sample = self.arena.run(contestant, task)
        self.arena.discard(task.out)
        return sample

    def fill(self, corpus: Corpus, url: str, case: str = "") -> dict[str, Task]:
        """Let every contestant fetch a corpus, untimed; return what they hold, by name."""
        tasks: dict[str, Task] = {}
        for contestant in self.contestants:
            report_progress(f"filling for {contestant.name}")
            task = tasks[contestant.name] = Task(corpus, url, self.arena.make_folder(), case)
            self.arena.run(contestant, task)
        return tasks

    def drop(self, tasks: dict[str, Task]) -> None:
        for task in tasks.values():
            self.arena.discard(task.out)
        self.arena.empty_trash()


def run_cold(bench: Bench) -> Result:
    """Everything is fetched, by all, over loopback."""
    corpus = bench.open_main()
    size = sum(corpus.sizes().values())
    series = Series()
    for contestant in bench.take_turns("cold"):
        series.samples.append(bench.fetch_cold(contestant, corpus, bench.locate(corpus)))
    result = Result(
        title=f"cold: {len(corpus.names)} files, {size / _MB:.0f} MB, nothing held",
        header=["", "MB/s durable", "durable s", "run s", "x rclone", "CPU s", "MB", "requests"],
        samples=series.samples,
        total_bytes=size,
    )
    for name in (contestant.name for contestant in bench.contestants):
        durable_s = series.median(name, "durable_s")
        ratio = series.speed_ratio(name, "rclone", "durable_s")
        cells = [(size / _MB / durable_s, ".0f"), (durable_s, ".2f")]
        cells += [(series.median(name, "run_s"), ".2f"), (ratio, ".2f"), *_costs(series, name)]
        result.rows.append(format_row(name, cells))
        if name in bench.ours:
            limit = {"mirror": 0.75}.get(name, 0.35)
            result.demand_at_least(f"{name}: speed of rclone", ratio, limit)
            same_work = series.speed_ratio(name, SAME_WORK, "durable_s")
            limit = {"mirror": 1.0}.get(name, 0.6)
            result.demand_at_least(f"{name}: speed of {SAME_WORK}", same_work, limit)
            limit = {"mirror": 2}.get(name, 1)
            over_aria2 = series.speed_ratio(name, "aria2", "durable_s")
            result.demand_at_least(f"{name}: speed of aria2", over_aria2, limit)
    return result


def run_doors(bench: Bench) -> Result:
    """The same, where upstream has the MD5 of each body as its ETag, and over TLS."""
    corpus = bench.open_main()
    root, size = bench.shelf.parent, sum(corpus.sizes().values())
    etags = {
        path.relative_to(root): hashlib.md5(path.read_bytes()).hexdigest()
        for path in map(corpus.folder.joinpath, corpus.names)
    }
    authority, bundle, certificate = trustme.CA(), root / "authority.pem", root / "server.pem"
    authority.cert_pem.write_to_path(bundle)
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    series = Series()
    with (
        Nginx(root, root / "nginx-etags", etags=etags) as named,
        Nginx(root, root / "nginx-tls", certificate=certificate) as secret,
    ):
        doors = {"plain": bench.nginx.url, "MD5": named.url, "TLS": secret.url}
        for one in bench.take_turns("doors"):
            environ = {**one.environ, "SSL_CERT_FILE": str(bundle)}
            for case, url in doors.items():
                out = bench.arena.make_folder()
                task = Task(corpus, bench.arena.locate(corpus, url), out, case)
                series.samples.append(bench.arena.run(replace(one, environ=environ), task))
                bench.arena.discard(out)
    result = Result(
        title=f"doors: {len(corpus.names)} files, {size / _MB:.0f} MB, durable seconds, CPU s a GB",
        header=["", *doors, *(f"CPU, {case}" for case in doors), "x rclone, TLS"],
        samples=series.samples,
    )
    for name in (contestant.name for contestant in bench.contestants):
        ratio = series.speed_ratio(name, "rclone", "durable_s", "TLS")
        cells = [(series.median(name, "durable_s", case), ".2f") for case in doors]
        cells += [(series.median(name, "cpu_s", case) / size * 1e9, ".2f") for case in doors]
        result.rows.append(format_row(name, [*cells, (ratio, ".2f")]))
        if name == "mirror":
            result.demand_at_least(f"{name}: speed of rclone over TLS", ratio, 0.7)
    return result


def run_quiet(bench: Bench) -> Result:
    """Nothing has changed, nothing is fetched."""
    corpus = bench.open_held()
    tasks = bench.fill(corpus, bench.locate(corpus))
    series = Series()
    for contestant in bench.take_turns("quiet"):
        series.samples.append(bench.arena.run(contestant, tasks[contestant.name]))
    bench.drop(tasks)
    result = _report_quiet(bench, series, f"quiet: nothing changed in {len(corpus.names)} files")
    for name in bench.ours:
        result.demand_at_most(f"{name}: seconds of a run", series.median(name, "run_s"), 0.5)
        result.demand_at_most(f"{name}: requests", series.median(name, "requests"), 1)
    return result


def run_changed(bench: Bench) -> Result:
    """Ten files have grown: among many held, and where these ten are all there is."""
    held = bench.open_held()
    ten = held.names[:: max(1, len(held.names) // _CHANGED)][:_CHANGED]
    cases = (f"10 of {len(held.names)}", "10 of 10")
    many, few = bench.arena.make_branch(held, held.names), bench.arena.make_branch(held, ten)
    tasks_of = {
        case: bench.fill(corpus, bench.locate(corpus), case)
        for case, corpus in zip(cases, (many, few), strict=True)
    }
    series = Series()
    for contestant in bench.take_turns("changed"):
        if contestant is bench.contestants[0]:
            many.grow(ten)
            few.grow(ten)
        for case in cases:
            series.samples.append(bench.arena.run(contestant, tasks_of[case][contestant.name]))
    for tasks in tasks_of.values():
        bench.drop(tasks)
    return _report_changed(bench, series, cases)


def run_link(bench: Bench) -> Result:
    """The same over a long, narrow link: cold, and with nothing changed."""
    main, held = bench.open_main(), bench.open_held()
    share = min(1, bench.sizes.link_bytes / sum(main.sizes().values()))
    part = bench.arena.make_branch(main, main.names[: max(1, round(len(main.names) * share))])
    polled = bench.arena.make_branch(held, held.names[:_POLLED_OVER_LINK])
    cold, quiet = Series(), Series()
    with Relay(bench.nginx.port, _RTT_S, _LINK_MBIT) as relay:
        url = bench.arena.locate(part, relay.url)
        paths = [f"{bench.locate(part)}{name}" for name in part.names[:32]]
        gauge = str(gauge_relay(bench.nginx, relay, paths))
        report_progress(gauge)
        for contestant in bench.take_turns("link"):
            cold.samples.append(bench.fetch_cold(contestant, part, url))
        tasks = bench.fill(polled, bench.arena.locate(polled, relay.url))
        for contestant in bench.take_turns("link, quiet"):
            quiet.samples.append(bench.arena.run(contestant, tasks[contestant.name]))
        bench.drop(tasks)
    return _report_link(bench, (part, polled), (cold, quiet), gauge)


def run_memory(bench: Bench) -> Result:
    """The most memory held, with 16 downloads at a time, of many files and of a large one."""
    large = Recipe(32, 32 * 5_000_000 + _LARGEST_BYTES, _LARGEST_BYTES)
    corpora = {f"{bench.sizes.held} files": bench.open_held(), "one of 200 MB": bench.open(large)}
    series = Series()
    for contestant in bench.take_turns("memory"):
        for case, corpus in corpora.items():
            out = bench.arena.make_folder()
            url = bench.locate(corpus)
            task = Task(corpus, url, out, case, concurrency=16, watch_memory=True)
            series.samples.append(bench.arena.run(contestant, task))
            bench.arena.discard(out)
    result = Result(
        title="memory: peak MB of all processes together, 16 downloads at a time, the worst round",
        header=["", *corpora],
        samples=series.samples,
    )
    for name in (contestant.name for contestant in bench.contestants):
        peaks = [_find_peak_mb(series.select(name, case)) for case in corpora]
        result.rows.append(format_row(name, [(peak, ".0f") for peak in peaks]))
        if name in bench.ours:
            for case, peak in zip(corpora, peaks, strict=True):
                result.demand_at_most(f"{name}: peak MB, {case}", peak, 120)
    return result


def _find_peak_mb(samples: list[Sample]) -> float:
    return max(max(sample.peak_mb, sample.family_mb) for sample in samples)


SCENARIOS: dict[str, Callable[[Bench], Result]] = {
    "cold": run_cold,
    "doors": run_doors,
    "quiet": run_quiet,
    "changed": run_changed,
    "link": run_link,
    "memory": run_memory,
}


def _costs(series: Series, name: str, case: str = "") -> list[tuple[float, str]]:
    return [
        (series.median(name, "cpu_s", case), ".2f"),
        (series.median(name, "peak_mb", case), ".0f"),
        (series.median(name, "requests", case), ".0f"),
    ]


def _report_quiet(bench: Bench, series: Series, title: str) -> Result:
    header = ["", "run s", "durable s", "x rclone", "CPU s", "MB", "requests"]
    result = Result(title=title, header=header, samples=series.samples)
    for name in (contestant.name for contestant in bench.contestants):
        cells = [(series.median(name, "run_s"), ".3f"), (series.median(name, "durable_s"), ".3f")]
        cells += [(series.speed_ratio(name, "rclone", "run_s"), ".2f"), *_costs(series, name)]
        result.rows.append(format_row(name, cells))
    return result


def _report_changed(bench: Bench, series: Series, cases: tuple[str, str]) -> Result:
    result = Result(
        title="changed: seconds to take in 10 changed files, durable",
        header=["", *cases, "difference", *(f"requests, {case}" for case in cases)],
        samples=series.samples,
    )
    for name in (contestant.name for contestant in bench.contestants):
        difference = series.median_difference(name, cases, "durable_s")
        times = [(series.median(name, "durable_s", case), ".3f") for case in cases]
        requests = [series.median(name, "requests", case) for case in cases]
        cells = [*times, (difference, ".3f"), *((number, ".0f") for number in requests)]
        result.rows.append(format_row(name, cells))
        if name in bench.ours:
            result.demand_at_most(f"{name}: seconds more than 10 of 10", difference, 0.5)
            result.demand_at_most(f"{name}: requests", max(requests), _CHANGED + 1)
    return result


def _report_link(
    bench: Bench, corpora: tuple[Corpus, Corpus], series: tuple[Series, Series], gauge: str
) -> Result:
    (part, polled), (cold, quiet) = corpora, series
    size = sum(part.sizes().values())
    at_best_s = size * 8 / (_LINK_MBIT * 1e6)
    result = Result(
        title=f"link: {_RTT_S * 1e3:.0f} ms, {_LINK_MBIT} Mbit/s, {size / _MB:.0f} MB in "
        f"{len(part.names)} files; then nothing changed in {len(polled.names)}",
        header=["", "of the link", "durable", "run s", "quiet s", "x rclone", "requests"],
        notes=[f"the relay: {gauge}"],
        samples=cold.samples + quiet.samples,
    )
    for name in (contestant.name for contestant in bench.contestants):
        used = at_best_s / cold.median(name, "durable_s")
        ratio = quiet.speed_ratio(name, "rclone", "run_s")
        cells = [(at_best_s / cold.median(name, "run_s"), ".1%"), (used, ".1%")]
        cells += [(cold.median(name, "run_s"), ".2f"), (quiet.median(name, "run_s"), ".3f")]
        cells += [(ratio, ".1f"), (quiet.median(name, "requests"), ".0f")]
        result.rows.append(format_row(name, cells))
        if name in bench.ours:
            result.demand_at_least(f"{name}: share of the link, durable", used, 0.9)
            result.demand_at_least(f"{name}: quiet poll, speed of rclone", ratio, 5)
    return result
