"""The programs that read the archive, by the libraries they use: only the base URL is changed."""

import asyncio
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd
import pytest
import requests

from tests.command import Shell


@pytest.fixture
async def empty_day(shell: Shell, url: str) -> str:
    """Let a day be empty, as two days of the archive are; return its name."""
    day = shell.days[3]
    at = shell.archive["index.jsonl"].last_modified + timedelta(minutes=30)
    shell.archive.put_day(day, 0, at)
    shell.archive.write_index(at)
    await shell.synced()
    return f"events-{day}.jsonl"


async def run(program: Callable[..., Any], *arguments: object) -> Any:
    """Run a program on a thread, for the server has this one."""
    return await asyncio.to_thread(program, *arguments)


async def test_the_gallery_reads_index_and_days(shell: Shell, url: str, empty_day: str) -> None:
    def gallery(base: str) -> tuple[pd.DataFrame, dict[str, int]]:
        index = pd.read_json(f"{base}index.jsonl", lines=True)
        days = {name: pd.read_json(f"{base}{name}", lines=True) for name in index["name"]}
        return index, {name: len(day) for name, day in days.items()}

    index, events = await run(gallery, url)

    assert index["date"].iloc[0] == pd.Timestamp(shell.days[0])
    assert index["count"].dtype.kind == "i"
    assert events == dict(zip(index["name"], index["count"], strict=True))
    assert events[empty_day] == 0


async def test_the_weekly_data_set_is_made(shell: Shell, url: str, tmp_path: Path) -> None:
    def weekly(base: str) -> None:
        table = pd.read_html(base)[0]
        assert list(table.columns) == ["Date", "Filename", "Number of Events"]
        days = pd.to_datetime(table["Date"]).dt.strftime("%Y-%m-%d")
        frames = [pd.read_json(f"{base}events-{day}.jsonl", lines=True) for day in days]
        events = pd.concat(frames, ignore_index=True)
        events["timestamp"] = pd.to_datetime(events["timestamp"])
        wanted = ["origin", "provider", "spec", "timestamp"]
        events[wanted].to_parquet(tmp_path / "launches.parquet")

    await run(weekly, url)

    launches = pd.read_parquet(tmp_path / "launches.parquet")
    assert len(launches) == sum(shell.body(day).count(b"\n") for day in shell.days)
    assert {stamp.date() for stamp in launches["timestamp"]} == set(shell.days)


async def test_the_launch_database_reads_line_by_line(
    shell: Shell, url: str, empty_day: str
) -> None:
    def database(base: str) -> dict[str, int]:
        found = {}
        for line in requests.get(f"{base}index.jsonl", timeout=10).text.split("\n"):
            # no blank line is allowed for: not even a last one
            entry = json.loads(line)
            answer = requests.get(base + entry["name"], timeout=10, stream=True)
            answer.raise_for_status()
            stamps = [json.loads(event)["timestamp"] for event in answer.iter_lines()]
            assert not any(stamp.endswith("Z") for stamp in stamps)
            assert [datetime.fromisoformat(stamp).tzname() for stamp in stamps[:1]] in ([], ["UTC"])
            found[entry["name"]] = len(stamps)
        return found

    found = await run(database, url)

    assert found == {f"events-{day}.jsonl": shell.body(day).count(b"\n") for day in shell.days}
    assert found[empty_day] == 0


async def test_fsspec_seeks_in_a_file(shell: Shell, url: str) -> None:
    def seek(path: str) -> tuple[int, bytes, bytes]:
        files = fsspec.filesystem("http", skip_instance_cache=True)
        with files.open(path, block_size=1024) as file:
            file.seek(-100, 2)
            tail = file.read()
            file.seek(2000)
            return files.size(path), file.read(3000), tail

    body = shell.body(shell.days[0])
    found = await run(seek, f"{url}events-{shell.days[0]}.jsonl")
    assert found == (len(body), body[2000:5000], body[-100:])


async def test_a_missing_day_is_404_and_no_json(url: str) -> None:
    def script(base: str) -> requests.Response:
        return requests.get(f"{base}events-2018-11-02.jsonl", timeout=10)

    answer = await run(script, url)

    assert answer.status_code == 404
    with pytest.raises(requests.JSONDecodeError):
        answer.json()
    with pytest.raises(requests.HTTPError):
        answer.raise_for_status()
