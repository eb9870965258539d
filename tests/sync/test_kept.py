"""What a poll keeps: facts of the index, records of days fetched and adopted, why one failed."""

import hashlib
from datetime import date, timedelta

import pytest
from msgspec.structs import replace

from mirror.archive.ports import PollEvent
from mirror.archive.upstream import ETags, IndexFacts
from mirror.model import Flag, IndexState, Outcome, OutcomeKind, Problem, ProblemKind
from mirror.sync.wiring import open_mirror
from tests.conftest import World
from tests.sync.answers import HTML, Body, Header, Raw
from tests.sync.test_index_rules import good_lines, line, serve
from tests.upstream import faults
from tests.upstream.archive import day_name
from tests.upstream.launches import make_day


def facts(world: World) -> IndexFacts:
    """Return what is kept of the index; there must be something."""
    index = world.upstream().index
    assert index is not None
    return index


class TestIndex:
    async def test_what_is_kept_of_it_is_what_came(self, world: World) -> None:
        stored = world.archive["index.jsonl"]
        header = Header({"x-goog-generation": "77"})
        world.server.fail("index.jsonl", header)
        await world.sync()

        first = world.clock()
        kept = IndexFacts(
            sha256=hashlib.sha256(stored.body).hexdigest(),
            first_seen_at=first,
            etag=f'"{stored.etag}"',
            last_modified=stored.last_modified,
            generation=77,
        )
        assert facts(world) == kept
        assert world.upstream().etags is ETags.DIGESTS
        # the same body under another date was seen first when it was seen first
        world.clock.advance(hours=1)
        world.archive.write_index(world.clock())
        world.server.fail("index.jsonl", Header({"etag": '"other"'}), times=None)
        await world.sync()
        assert facts(world).first_seen_at == first
        assert facts(world).last_modified == world.clock()

    async def test_one_with_a_bad_line_is_not_whole(self, world: World) -> None:
        world.configure("upstream", name_template="events-{date}.jsonl")
        serve(world, world.archive["index.jsonl"].body + b"\nhello\n")
        await world.sync()

        assert not facts(world).whole

    async def test_etags_that_contradict_it_make_it_doubtful_and_it_is_read_again(
        self, world: World
    ) -> None:
        header = Header({"etag": f'"{"0" * 32}"'})
        world.server.fail("index.jsonl", header, times=None)
        assert (await world.sync()).exit_code == 0

        assert facts(world).is_doubtful
        world.forget()
        await world.sync()
        first, again = world.server.requests
        assert "if-none-match" not in first.headers
        assert again.headers["cache-control"] == "no-cache"
        world.server.calm()
        world.archive.write_index(world.clock.advance(minutes=1))
        await world.sync()
        assert not facts(world).is_doubtful

    async def test_the_mirrors_that_it_is_a_copy_of_are_kept(self, world: World) -> None:
        world.server.fail("index.jsonl", Header({"x-binder-mirror": "aaaaaaaaaaaa"}), times=None)
        await world.sync()
        assert world.upstream().mirrors == ("aaaaaaaaaaaa",)
        await world.sync()
        assert world.upstream().mirrors == ("aaaaaaaaaaaa",)
        world.server.calm()
        await world.sync()
        assert world.upstream().mirrors == ()

    async def test_a_mirror_that_follows_itself_is_told_what_to_do(self, world: World) -> None:
        await world.sync()
        chain = Header({"x-binder-mirror": f"aaaaaaaaaaaa, {world.data.identity()}"})
        world.server.fail("index.jsonl", chain, times=None)
        world.forget()

        assert await unusable(world) == (
            "upstream is this mirror itself, or a mirror of it (set upstream.url to the archive's)"
        )
        assert world.server.count() == 1, "it will not be another at the next try"

    async def test_none_at_all_is_told_with_what_to_do(self, world: World) -> None:
        world.archive.remove("index.jsonl")

        assert await unusable(world) == (
            "upstream has no index.jsonl (404) (is upstream.url the folder that index.jsonl is in?)"
        )
        assert world.server.count() == 1

    async def test_one_that_is_too_large_is_told_with_what_to_do(self, world: World) -> None:
        world.server.fail("index.jsonl", Body(b"x" * 9_000_000, {}), times=None)
        told = await unusable(world)
        assert told.endswith(" (no listing may be larger; is upstream.url right?)")
        world.configure("http", max_file_size=100_000)
        told = await unusable(world)
        assert "is upstream.url right?" not in told

    async def test_one_with_a_wrong_digest_is_told_by_its_header(self, world: World) -> None:
        world.server.fail(
            "index.jsonl", Header({"content-md5": "AAAAAAAAAAAAAAAAAAAAAA=="}), times=None
        )

        assert await unusable(world) == ("a listing's digest is not that of its content-md5 header")
        assert world.server.count("index.jsonl") == 3

    async def test_one_that_is_older_is_told(self, world: World) -> None:
        world.archive.publish(world.clock())
        await world.sync()
        old = world.upstream()
        world.archive.publish(world.clock() - timedelta(hours=2))
        world.clock.advance(minutes=5)

        (problem,) = (await world.sync()).problems

        assert problem == Problem(
            ProblemKind.INDEX_ROLLED_BACK,
            "upstream's index is older than the one accepted, and refused: a stale cache?",
        )
        first = world.clock()
        assert world.upstream().index_older_since == first
        assert world.upstream().accepted == old.accepted
        world.clock.advance(hours=1)
        await world.sync()
        assert world.upstream().index_older_since == first

    async def test_lines_and_days_that_it_contradicts_are_told(self, world: World) -> None:
        good = good_lines(world)
        day = world.day(3)
        bad = ["x" * 10] * 70
        serve(world, "\n".join([*good, line(day_name(day), str(day), "999"), *bad]).encode())

        report = await world.sync()

        lines = [one.text for one in report.problems if one.kind is ProblemKind.INDEX_LINE]
        kept = len(world.upstream().refused)
        assert lines[0].startswith("index line 12 refused: ")
        assert lines[0].endswith(": xxxxxxxxxx")
        assert report.problems[-1].text.startswith("and ")
        assert 0 < kept < 70
        serve(world, "\n".join([*good, line(day_name(day), str(day), "999")]).encode())
        (conflict,) = (await world.sync()).problems
        assert conflict == Problem(
            ProblemKind.INDEX_CONFLICT,
            "the index lists it with different counts; what was accepted before stays",
            day,
        )


async def unusable(world: World) -> str:
    """Poll an upstream that is unusable; return what is said of it."""
    report = await world.sync()
    assert (report.exit_code, report.index_state) == (4, IndexState.UNUSABLE)
    (problem,) = report.problems
    assert (problem.kind, problem.day) == (ProblemKind.UPSTREAM_UNUSABLE, None)
    told = problem.text
    assert told.startswith("upstream is unusable, nothing changed: ")
    return told.removeprefix("upstream is unusable, nothing changed: ")


class TestAdopted:
    @pytest.mark.parametrize("proof", ["304", "digest", "SHA256SUMS"])
    async def test_it_is_on_record_as_if_it_had_been_fetched(
        self, world: World, proof: str
    ) -> None:
        if proof != "304":
            world.server.style.etag = "opaque"
        world.server.style.goog_hash = proof == "digest"
        world.configure("storage", findings=False)
        await world.sync()
        before = world.records()
        world.data.manifest.unlink()
        if proof != "SHA256SUMS":
            world.data.sums.unlink()
        world.clock.advance(hours=1)

        assert (await world.sync()).outcomes == {"adopted": 10}

        for day, record in world.records().items():
            told = replace(
                before[day],
                fetched_at=world.clock(),
                checked_at=world.clock(),
                flags=(Flag.ADOPTED,),
            )
            if proof == "SHA256SUMS":
                # it was published by us once, and upstream has not said of which of its own
                told = replace(told, etag=None, last_modified=None, generation=None)
            assert record == told

    async def test_one_that_upstream_contradicts_stays_due(self, world: World) -> None:
        await world.sync()
        day = world.day(3)
        old = world.records()[day]
        world.data.manifest.unlink()
        world.archive.put_day(day, make_day(day, old.lines, seed=1), world.clock.advance(hours=1))
        world.server.fail(day_name(day), faults.Status(500), times=None)
        world.configure("http", retries=0)

        # HEAD is answered 500 as well: it is not known what upstream has, and the count agrees
        assert (await world.sync()).exit_code == 0
        assert world.records()[day].index_count == old.lines
        world.data.manifest.unlink()
        world.server.calm()
        world.server.fail(day_name(day), Header(), times=1)
        world.server.fail(day_name(day), faults.Status(500), times=None)
        assert (await world.sync()).exit_code == 3
        assert world.records()[day].index_count is None
        assert world.records()[day].sha256 == old.sha256


def outcomes(seen: list[PollEvent]) -> dict[date, Outcome]:
    return {one.date: one for one in seen if isinstance(one, Outcome)}


class TestOutcomes:
    @pytest.mark.parametrize(
        ("fault", "kind"),
        [
            (faults.Redirect("http://other.invalid{path}"), ProblemKind.MOVED),
            (faults.Bomb(size=20_000_000), ProblemKind.TOO_LARGE),
            (faults.Status(403), ProblemKind.OTHER),
            (Raw(b"SSH-2.0\r\n"), ProblemKind.OTHER),
        ],
    )
    async def test_why_a_day_failed_has_a_kind_of_its_own(
        self, world: World, fault: faults.Fault, kind: ProblemKind
    ) -> None:
        world.configure("http", retries=0, max_file_size=1_000_000)
        day = world.day(3)
        world.server.fail(day_name(day), fault, times=None)
        seen: list[PollEvent] = []

        (problem,) = (await world.sync(observer=seen.append)).problems

        assert (problem.kind, problem.day) == (kind, day)
        assert outcomes(seen)[day] == Outcome(day, OutcomeKind.FAILED, problem)

    async def test_a_body_that_is_refused_is_told_as_it_is_kept_aside(self, world: World) -> None:
        day = world.day(3)
        world.server.fail(day_name(day), Body(HTML, {}), times=None)
        seen: list[PollEvent] = []

        (problem,) = (await world.sync(observer=seen.append)).problems

        what = "it is a web page, not JSON Lines (a sign-in or error page?)"
        assert problem == Problem(ProblemKind.MISMATCH, f"mismatch: {what}", day)
        assert outcomes(seen)[day] == Outcome(day, OutcomeKind.REFUSED, problem)
        (aside,) = world.quarantined(day)
        assert aside.reason == problem.text

    async def test_each_stale_answer_is_counted(self, world: World) -> None:
        days = [world.day(3), world.day(4)]
        old = [world.archive[day_name(day)] for day in days]
        await world.sync()
        for day, stored in zip(days, old, strict=True):
            world.archive.put_day(day, 99, world.clock.advance(hours=1))
            world.server.fail(day_name(day), faults.Stale(stored))
        world.archive.write_index(world.clock())
        async with open_mirror(world.config, world.data, now=world.clock) as mirror:
            seen: list[PollEvent] = []
            report = await mirror.poll(observer=seen.append)
            assert dict(mirror.traffic.failures) == {"rolled_back": 2}
        assert report.exit_code == 0

    async def test_a_day_that_is_as_it_was_has_its_size(self, world: World) -> None:
        world.archive.publish(world.clock())
        await world.sync()
        today = world.day(0)
        seen: list[PollEvent] = []

        await world.sync(observer=seen.append)

        size = world.records()[today].size
        assert outcomes(seen) == {today: Outcome(today, OutcomeKind.UNCHANGED, size=size)}

    async def test_what_is_not_believed_is_told_with_the_size_of_what_is_held(
        self, world: World
    ) -> None:
        await world.sync()
        world.clock.advance(days=5)
        held = world.day(0)
        world.archive.put_day(held, 20, world.clock())
        await world.sync()
        world.clock.advance(hours=7)
        error = Body(b'{"error": "not found"}\n', {"content-type": "text/plain"})
        world.server.fail("events-2024*", error, times=None)
        seen: list[PollEvent] = []

        report = await world.sync(observer=seen.append)

        size = world.records()[held].size
        why = "not believed: it has not one launch of its day, and no index lists it"
        found = outcomes(seen)
        absent = found.pop(world.day(1))
        problem = Problem(ProblemKind.SOFT_404, why, world.day(1))
        assert absent == Outcome(world.day(1), OutcomeKind.ABSENT, problem)
        problem = Problem(ProblemKind.SOFT_404, why, held)
        assert found[held] == Outcome(held, OutcomeKind.UNCHANGED, problem, size)
        soft = [one for one in report.warnings if one.kind is ProblemKind.SOFT_404]
        assert soft[0] == problem
        days = sorted({one.date for one in seen if isinstance(one, Outcome)} - {held})
        assert soft[1].text == (
            f"{len(days)} days that no listing has, asked for by name, came as something else than "
            f"a daily file, and count as not there: {', '.join(map(str, days[-3:]))}"
        )

    async def test_days_are_found_by_name_where_the_store_says_403_for_what_it_has_not(
        self, world: World
    ) -> None:
        await world.sync()
        world.clock.advance(days=5)
        found = world.day(2)
        world.archive.put_day(found, 20, world.clock())
        for name in ("events-2000-01-01.jsonl", *(day_name(world.day(n)) for n in (0, 1, 3, 4))):
            world.server.fail(name, faults.Status(403), times=None)

        report = await world.sync()

        assert (report.exit_code, report.held) == (0, 11)
        assert world.body(found) == world.archive[day_name(found)].body


async def test_what_is_kept_of_open_days_is_bounded_by_the_setting(world: World) -> None:
    world.configure("storage", history_versions=1)
    today = world.day(0)
    bodies = [make_day(today, lines) for lines in (40, 30, 20)]
    for body in bodies:
        world.archive.put_day(today, body, world.clock.advance(minutes=1))
        world.archive.write_index(world.clock())
        assert (await world.sync()).exit_code == 0

    (version,) = world.predecessors(today)
    assert version.sha256 == hashlib.sha256(bodies[1]).hexdigest()
