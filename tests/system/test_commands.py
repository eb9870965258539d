"""Each command by its outside: exit code, standard output, standard error."""

import asyncio
import json
import re
import socket
from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest

from mirror.config.loading import load_config
from mirror.store.aside import Quarantined
from mirror.sync.wiring import open_mirror
from tests.command import Shell
from tests.upstream.faults import SignIn, Status
from tests.upstream.server import ArchiveServer

COMMANDS = ("sync", "status", "verify", "history", "restore", "prune", "report", "config", "demo")
SLOW = {
    *("aiohttp", "apscheduler", "asyncio", "duckdb", "jinja2", "numpy", "prometheus_client"),
    *("pyarrow", "rich", "structlog"),
}
"""What takes longer to import than a quick command may take."""


async def replaced(shell: Shell) -> date:
    """Sync, let upstream replace a final day, sync again; return the day."""
    await shell.synced()
    day = shell.days[2]
    at = shell.archive["index.jsonl"].last_modified + timedelta(minutes=30)
    shell.archive.put_day(day, 55, at)
    shell.archive.write_index(at)
    await shell.synced()
    return day


async def test_help_goes_to_standard_output(shell: Shell) -> None:
    commands = [(), *((name,) for name in COMMANDS), ("config", "check")]

    for done in await asyncio.gather(*(shell.run(*command, "--help") for command in commands)):
        assert (done.code, done.err) == (0, "")
        assert done.out.startswith("Usage: binder-mirror")


@pytest.mark.parametrize(
    ("command", "used"),
    [
        ("--help", set()),
        ("status", set()),
        ("health", set()),
        ("history", set()),
        # structlog imports rich where there is one
        ("sync", {"aiohttp", "asyncio", "rich", "structlog"}),
    ],
)
async def test_a_command_imports_nothing_slow_that_it_does_not_use(
    shell: Shell, command: str, used: set[str]
) -> None:
    await shell.synced()
    shell.environ["PYTHONPROFILEIMPORTTIME"] = "1"

    done = await shell.run(command)

    imported = set(re.findall(r"^import time:.*\| +(\w+)$", done.err, re.MULTILINE))
    assert done.code == 0
    assert "click" in imported
    assert imported & SLOW == used


@pytest.mark.parametrize("command", [(), ("config",)])
async def test_a_group_without_a_command_shows_its_help_on_standard_error(
    shell: Shell, command: tuple[str, ...]
) -> None:
    done = await shell.run(*command)

    assert (done.code, done.out) == (2, "")
    assert "\nCommands:\n" in done.err


async def test_a_sync_says_in_one_glance_what_it_came_to(shell: Shell) -> None:
    done = await shell.run("sync")

    assert done.code == 0
    assert done.out.startswith("In step with upstream: 6 days held, ")
    assert "published 6; 7 requests" in done.out
    assert done.said == []
    shell.assert_complete()


async def test_each_poll_is_a_line_in_the_log_a_short_one_where_nothing_changed(
    shell: Shell,
) -> None:
    first = await shell.run("sync")
    second = await shell.run("sync")

    (changed,), (quiet,) = first.logs, second.logs
    assert list(quiet)[:3] == list(changed)[:3] == ["timestamp", "level", "event"]
    assert changed["event"] == quiet["event"] == "poll.finished"
    assert changed["level"] == quiet["level"] == "info"
    assert (changed["published"], changed["requests"]) == (6, 7)
    assert quiet.keys() == {
        *("timestamp", "level", "event", "poll"),
        *("exit_code", "held", "index_state", "duration_s"),
    }


async def test_what_is_wrong_is_a_warning_in_the_log_and_says_why(shell: Shell) -> None:
    shell.server.fail(f"events-{shell.days[0]}.jsonl", Status(503), times=None)
    incomplete = await shell.run("sync")
    shell.server.fail("index.jsonl", Status(403))
    unusable = await shell.run("sync")

    failed, ended = incomplete.logs
    assert (failed["event"], failed["level"]) == ("file.failed", "warning")
    assert (ended["event"], ended["level"]) == ("poll.finished", "warning")
    assert (ended["exit_code"], ended["problems"]) == (3, 1)
    assert ended["problem"].startswith(f"{shell.days[0]}: upstream answered 503")
    assert ended["failed_tries"] == "http_5xx 2"
    (ended,) = unusable.logs
    assert (ended["exit_code"], ended["level"]) == (4, "warning")
    assert "upstream answered 403" in ended["problem"]


async def test_each_day_is_a_line_of_json_in_the_log_of_who_looks_closer(shell: Shell) -> None:
    done = await shell.run("sync", "-v")

    published = [event for event in done.logs if event["event"] == "file.published"]
    assert {event["file"] for event in published} == {f"events-{day}.jsonl" for day in shell.days}
    assert [event["event"] for event in done.logs[-2:]] == ["poll.finished", "inspect.finished"]
    assert len({event["poll"] for event in done.logs}) == 1
    assert all(event["level"] and event["timestamp"] for event in done.logs)


async def test_json_is_one_object_on_standard_output(shell: Shell) -> None:
    await replaced(shell)

    for command in ("sync", "status", "verify", "history"):
        done = await shell.run(command, "--json")

        assert done.code == 0
        assert done.json
        assert done.said == []


async def test_json_of_a_dry_run_lists_every_day_with_its_reason(shell: Shell) -> None:
    done = await shell.run("sync", "--dry-run", "--json")

    assert done.code == 0
    assert [(one["date"], one["reason"]) for one in done.json["due"]] == [
        (str(day), "new") for day in reversed(shell.days)
    ]
    assert done.json["reasons"] == {"new": 6}


async def test_a_dry_run_writes_nothing_not_even_the_directory(shell: Shell) -> None:
    done = await shell.run("sync", "--dry-run")

    assert done.code == 0
    assert done.out.startswith("Would ask for 6 of 6 listed days")
    assert not shell.data.root.exists()


async def test_a_dry_run_on_a_copy_changes_no_file_of_it(shell: Shell) -> None:
    await shell.synced()
    before = {path: path.stat().st_mtime_ns for path in shell.data.root.rglob("*")}

    done = await shell.run("sync", "--dry-run")

    assert done.code == 0
    assert "nothing is due" in done.out
    assert {path: path.stat().st_mtime_ns for path in shell.data.root.rglob("*")} == before


async def test_a_day_that_fails_costs_that_day_and_exit_3(shell: Shell) -> None:
    bad = shell.days[3]
    shell.server.fail(f"events-{bad}.jsonl", Status(500), times=None)

    done = await shell.run("sync")

    assert done.code == 3
    assert done.out.startswith("Incomplete: 5 days held")
    assert f"problem: {bad}: " in done.out
    shell.server.calm()
    await shell.synced()
    shell.assert_complete()


async def test_an_unusable_upstream_is_exit_4_and_changes_nothing(shell: Shell) -> None:
    await shell.synced()
    published = {
        path: path.read_bytes() for path in shell.data.archive.rglob("*") if path.is_file()
    }
    shell.server.fail("index.jsonl", SignIn(), times=None)

    done = await shell.run("sync", "--json")

    assert done.code == done.json["exit_code"] == 4
    assert {
        path: path.read_bytes() for path in shell.data.archive.rglob("*") if path.is_file()
    } == published


async def test_an_upstream_that_is_not_there_is_told_as_such(shell: Shell) -> None:
    done = await shell.run("sync", "--upstream", "http://127.0.0.1:1/")

    assert done.code == 4
    assert "cannot connect to 127.0.0.1:1: Connection refused (is upstream.url right?)" in done.out


async def test_a_dry_run_without_an_index_is_one_line_and_exit_4(shell: Shell) -> None:
    done = await shell.run("sync", "--dry-run", "--upstream", "http://127.0.0.1:1/")

    assert "cannot connect" in done.refused(4)


async def test_a_range_judges_only_its_days(shell: Shell) -> None:
    first, last = shell.days[1], shell.days[2]
    shell.server.fail(f"events-{shell.days[4]}.jsonl", Status(500), times=None)

    done = await shell.run("sync", "--since", str(first), "--until", str(last))

    assert done.code == 0
    assert sorted(path.name for path in shell.data.archive.glob("events-*")) == [
        f"events-{first}.jsonl",
        f"events-{last}.jsonl",
    ]


async def test_final_days_are_asked_about_again_where_that_is_wanted(shell: Shell) -> None:
    await shell.synced()
    shell.asked()

    done = await shell.run("sync", "--recheck", "2")

    assert done.code == 0
    assert len(shell.asked()) == 3


async def test_status_says_first_how_it_stands(shell: Shell) -> None:
    await shell.synced()

    done = await shell.run("status")

    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("In step with upstream as of ")
    assert str(shell.data.root) in done.out
    assert shell.server.url in done.out


async def test_a_final_day_that_upstream_replaces_is_told_by_every_command(shell: Shell) -> None:
    await shell.synced()
    day, before = shell.days[2], len(shell.body(shell.days[2]).splitlines())
    at = shell.archive["index.jsonl"].last_modified + timedelta(minutes=30)
    shell.archive.put_day(day, 5, at)
    shell.archive.write_index(at)

    done = await shell.run("sync")
    quiet = await shell.run("sync")
    status = await shell.run("status")
    facts = (await shell.run("status", "--json")).json

    assert (done.code, quiet.code, status.code) == (0, 0, 0)
    text = f"{day}: upstream shrank this final day from {before} lines to 5; before, its digest "
    assert f"\n  warning: {text}" in done.out
    assert "`binder-mirror history`" in done.out
    (event,) = [one for one in done.logs if one["event"] == "final_day.changed"]
    assert (event["level"], event["day"], event["how"]) == ("warning", str(day), "shrunk")
    assert "warning" not in quiet.out
    assert "Upstream has changed 1 final day, last noticed " in status.out.splitlines()[0]
    assert f"\n  changed       {day} shrunk\n" in status.out
    assert f"\n  ! {text}" in status.out
    (change,) = facts["final_changes"]
    assert (change["lines_before"], change["lines_after"]) == (before, 5)
    assert facts["final_changes_total"] == {"shrunk": 1, "grown": 0, "rewritten": 0}
    assert facts["problems"][0]["kind"] == "final-changed"
    digest = change["sha256_before"][:12]
    assert digest in (await shell.run("history", str(day))).out
    assert (await shell.run("restore", str(day), digest)).code == 0
    assert "final day" not in (await shell.run("status")).out


async def test_history_lists_predecessors_and_restore_puts_one_back_for_good(shell: Shell) -> None:
    old = shell.body(shell.days[2])
    day = await replaced(shell)

    listed = await shell.run("history", str(day), "--json")
    digest = listed.json["versions"][0]["sha256"]
    done = await shell.run("restore", str(day), digest[:12])

    assert done.code == 0
    lines = len(old.splitlines())
    assert done.out == f"{day}: {digest[:12]} is published again, {lines} lines\n"
    assert shell.path(day).read_bytes() == old
    shell.asked()
    await shell.synced()
    assert shell.asked() == ["index.jsonl"]
    assert shell.path(day).read_bytes() == old
    assert (await shell.run("verify")).code == 0


async def test_a_digest_that_no_predecessor_has_is_refused(shell: Shell) -> None:
    day = await replaced(shell)

    done = await shell.run("restore", str(day), "0000")

    assert "no predecessor" in done.refused(2)


async def test_prune_deletes_what_it_is_told_to_and_nothing_else(shell: Shell) -> None:
    await replaced(shell)
    published = {
        path: path.read_bytes() for path in shell.data.archive.rglob("*") if path.is_file()
    }

    tried = await shell.run("prune", "--history", "--dry-run")
    young = await shell.run("prune", "--history", "--older-than", "9999999d")
    kept = await shell.run("prune", "--history", "--keep", "1")
    assert len(list(shell.data.history.glob("*.gz"))) == 1
    done = await shell.run("prune", "--history", "--all")

    assert tried.out.startswith("Would delete 1 predecessor (1 of final days) ")
    assert str(shell.days[2]) in tried.out.splitlines()[1]
    assert ", was final, just now" in tried.out.splitlines()[1]
    assert young.out.startswith("Deleted 0 predecessors ")
    assert kept.out.startswith("Deleted 0 predecessors ")
    assert done.out.startswith("Deleted 1 predecessor (1 of final days) ")
    assert done.out.splitlines()[1:] == tried.out.splitlines()[1:]
    assert list(shell.data.history.glob("*.gz")) == []
    assert {
        path: path.read_bytes() for path in shell.data.archive.rglob("*") if path.is_file()
    } == published


async def test_prune_asks_what_to_delete(shell: Shell) -> None:
    await shell.synced()

    assert "--history, --quarantine or both" in (await shell.run("prune")).refused(2)


@pytest.mark.parametrize("what", ["--history", "--quarantine"])
async def test_prune_deletes_nothing_without_being_told_how_much(shell: Shell, what: str) -> None:
    day = await replaced(shell)
    why = Quarantined(day, "a" * 64, 7, "of no use", datetime.now(UTC), "body")
    shell.data.quarantine.joinpath("body").write_bytes(b"nothing")
    shell.data.quarantine.joinpath("body.reason.json").write_bytes(msgspec.json.encode(why))

    unbounded = (await shell.run("prune", what)).refused(2)
    bare = (await shell.run("prune", what, "--older-than", "5")).refused(2)
    both = (await shell.run("prune", what, "--older-than", "0s", "--all")).refused(2)

    assert len(list(shell.data.history.glob("*.gz"))) == 1
    assert len(list(shell.data.quarantine.iterdir())) == 2
    goes = "1 predecessor (1 of final days)" if what == "--history" else "1 from quarantine, 7 B"
    assert goes in unbounded
    assert "say --all, or how much by --older-than TIME" in unbounded
    assert """'5' has no unit: say "5d" for days""" in bare
    assert "--all leaves nothing" in both
    tried = await shell.run("prune", what, "--dry-run")
    assert goes in tried.out
    assert len(tried.out.splitlines()) == 2
    done = await shell.run("prune", what, "--older-than", "0s")
    assert done.out == tried.out.replace("Would delete", "Deleted")


async def test_keep_says_nothing_of_the_quarantine(shell: Shell) -> None:
    await shell.synced()

    for what in (("--quarantine",), ("--history", "--quarantine")):
        assert "--older-than" in (await shell.run("prune", *what, "--keep", "1")).refused(2)


async def test_refused_bodies_can_be_pruned(shell: Shell) -> None:
    day = shell.days[0]
    shell.archive.claims[day] = 1
    shell.archive.write_index(shell.archive["index.jsonl"].last_modified)
    shell.archive.objects[f"events-{day}.jsonl"].meta.pop("events-count")  # type: ignore[attr-defined]
    assert (await shell.run("sync")).code == 3
    assert len(list(shell.data.quarantine.iterdir())) == 2

    done = await shell.run("prune", "--quarantine", "--all")

    assert done.code == 0
    assert list(shell.data.quarantine.iterdir()) == []


async def test_the_data_directory_can_be_named_after_the_command(shell: Shell) -> None:
    del shell.environ["BINDER_MIRROR_STORAGE__DATA_DIR"]
    elsewhere = shell.data.root.with_name("else where ☃")

    synced = await shell.run("sync", "--data-dir", elsewhere)
    status = await shell.run("status", "--json", "--data-dir", elsewhere)
    checked = await shell.run("config", "check", "--data-dir", elsewhere)

    assert synced.code == 0
    assert status.json["data_dir"] == str(elsewhere)
    assert str(elsewhere) in checked.out
    assert not shell.data.root.exists()


async def test_what_config_show_prints_is_a_file_of_settings(shell: Shell) -> None:
    shell.set(http__concurrency="3", storage__min_free="5MiB")
    shown = await shell.run("config", "show")
    file = shell.data.root.with_name("mirror.toml")
    file.write_text(shown.out)
    shell.environ = {k: v for k, v in shell.environ.items() if not k.startswith("BINDER_MIRROR_")}

    again = await shell.run("--config", file, "config", "show")
    checked = await shell.run("--config", file, "config", "check")

    head, _, settings = again.out.partition("\n")
    assert head == f"# The settings in force with {file}."
    assert settings == shown.out.partition("\n")[2]
    assert "concurrency = 3\n" in shown.out
    assert checked.out == f"The settings are right. Data directory: {shell.data.root}\n"


async def test_the_demo_shows_its_scenes_without_a_network(shell: Shell) -> None:
    shell.cwd = shell.data.root.parent

    done = await shell.run("demo", "--days", "5")
    again = await shell.run("demo", "--days", "5")

    assert (done.code, done.err) == (0, "")
    assert [line[:2] for line in done.out.splitlines() if line[1:2] == "."] == [
        f"{number}." for number in range(1, 9)
    ]
    assert again.code == 0
    assert shell.server.requests == []
    assert (await shell.run("verify", "--data-dir", "demo-data")).code == 0


async def test_a_sync_of_some_days_makes_nobody_ready(shell: Shell) -> None:
    assert (await shell.run("sync", "--since", "2090-01-01")).code == 0
    assert (await shell.run("sync", "--until", str(shell.days[0]))).code == 0
    assert (await shell.run("health")).code == 3
    assert "complete, of some days alone" in (await shell.run("status")).out
    assert (await shell.run("sync", "--since", str(shell.days[-2]), "--remember")).code == 0
    assert (await shell.run("health")).code == 0
    assert (await shell.run("sync")).code == 0
    assert (await shell.run("health", "-q")).out == ""


async def test_what_is_published_already_is_not_offered_and_not_published_again(
    shell: Shell,
) -> None:
    day = await replaced(shell)
    (version,) = (await shell.run("history", "--json")).json["versions"]
    offered = f"restore {day} {version['sha256'][:12]}` publishes that body again"
    assert offered in (await shell.run("history", str(day))).out
    assert "again" in (await shell.run("restore", str(day), version["sha256"])).out

    assert offered not in (await shell.run("history", str(day))).out
    again = await shell.run("restore", str(day), version["sha256"])
    assert (again.code, "is published already" in again.out) == (0, True)


async def test_a_restore_that_was_killed_before_the_listings_is_ended_by_the_next(
    shell: Shell,
) -> None:
    day = await replaced(shell)
    listings = (shell.data.sums, shell.data.index)
    before = [path.read_bytes() for path in listings]
    (version,) = (await shell.run("history", "--json")).json["versions"]
    assert (await shell.run("restore", str(day), version["sha256"])).code == 0
    after = [path.read_bytes() for path in listings]
    for path, content in zip(listings, before, strict=True):
        path.write_bytes(content)

    assert (await shell.run("restore", str(day), version["sha256"])).code == 0

    assert after != before
    assert [path.read_bytes() for path in listings] == after


async def test_a_poll_counts_its_own_requests(shell: Shell) -> None:
    async with open_mirror(load_config(None, shell.environ), shell.data) as mirror:
        first, second = await mirror.poll(), await mirror.poll()
    assert first.requests == 1 + len(shell.days)
    assert (second.requests, second.downloaded_bytes) == (1, 0)


async def test_the_demo_says_that_its_port_is_taken_before_it_touches_anything(
    shell: Shell,
) -> None:
    shell.cwd = shell.data.root.parent
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = await shell.run("demo", "--serve", "--port", str(port))

    assert done.refused(2) == (
        f"cannot serve the demo's archive on port {port}: Address already in use "
        "(name another port with --port)"
    )
    assert not (shell.cwd / "demo-data").exists()


async def test_the_demo_leaves_a_folder_alone_that_is_not_its_own(shell: Shell) -> None:
    await shell.synced()

    done = await shell.run("demo", "--data-dir", shell.data.root)

    assert "not from an earlier demo" in done.refused(2)
    shell.assert_complete()


async def test_the_log_on_a_small_level_is_silent(shell: Shell) -> None:
    shell.set(log__level="error")

    done = await shell.run("sync", "--json")

    assert done.err == ""
    assert json.loads(done.out)["exit_code"] == 0


async def test_another_upstream_is_another_story(shell: Shell) -> None:
    await shell.synced()
    async with ArchiveServer(shell.archive) as other:
        done = await shell.run("sync", "--upstream", other.url)

        assert done.code == 0
        assert other.requests[0].headers.get("if-none-match") is None
    assert len(shell.days) == 6


async def test_a_quiet_sync_says_nothing_unless_something_is_wrong(shell: Shell) -> None:
    shell.set(log__level="info")
    done = await shell.run("sync", "-q")
    assert (done.code, done.out, done.err) == (0, "", "")
    done = await shell.run("verify", "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")

    with shell.path(shell.days[0]).open("ab") as file:
        file.write(b"x")
    done = await shell.run("-q", "verify")
    assert done.code == 3
    assert "1 damaged" in done.out
    assert (await shell.run("status", "-q")).out


async def test_hints_repeat_the_options_that_were_given(shell: Shell) -> None:
    await shell.synced()
    shell.path(shell.days[0]).unlink()
    file = shell.data.root.with_name("my settings.toml")
    file.write_text("")

    bare = await shell.run("verify")
    given = await shell.run("--config", file, "verify", "--data-dir", shell.data.root)
    error = await shell.run("status", "--data-dir", "no such", "--config", file)
    secret = await shell.run(
        "--upstream", "https://me:word@host/", "status", "--data-dir", "nowhere"
    )

    assert "`binder-mirror verify --repair`" in bare.out
    options = f"--config '{file}' --data-dir {shell.data.root}"
    assert f"`binder-mirror {options} verify --repair`" in given.out
    assert f"`binder-mirror --config '{file}' --data-dir 'no such' sync`" in error.refused(2)
    assert "`binder-mirror --upstream" in secret.refused(2)
    assert "word" not in secret.err


async def test_hints_have_the_upstream_of_the_copy_where_the_settings_have_another(
    shell: Shell,
) -> None:
    await shell.synced()
    shell.path(shell.days[0]).unlink()
    del shell.environ["BINDER_MIRROR_UPSTREAM__URL"]

    found = await shell.run("verify")
    same = await shell.run("verify", "--upstream", shell.server.url.rstrip("/"))

    assert f"`binder-mirror --upstream {shell.server.url} verify --repair`" in found.out
    assert f"`binder-mirror --upstream {shell.server.url.rstrip('/')} verify --rep" in same.out


async def test_history_says_what_publishes_a_predecessor_again(shell: Shell) -> None:
    day = await replaced(shell)

    listed = await shell.run("history", str(day))
    match = re.search(r"^`binder-mirror (restore .*)` publishes", listed.out, re.MULTILINE)
    assert match is not None
    done = await shell.run(*match[1].split())

    assert done.code == 0
    assert "is published again" in done.out
