"""What catalogues read beside the daily files, checked by their own validators."""

import json
import warnings
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace

from mirror.archive.metadata import render_croissant, render_datapackage
from mirror.store.inventory import load_inventory, open_daily
from mirror.store.layout import DataDir
from mirror.sync.count import count_days
from tests.command import open_shell
from tests.conftest import World
from tests.mirrors import make_mirror, of_all_eras


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    data = make_mirror(tmp_path / "data", of_all_eras(20))
    records = load_inventory(data).records.values()
    data.datapackage.write_bytes(render_datapackage(records))
    data.croissant.write_bytes(render_croissant(records))
    return data


def test_frictionless_finds_every_file_with_its_bytes_and_digest(data: DataDir):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frictionless = pytest.importorskip("frictionless")
        report = frictionless.validate(str(data.datapackage))
        assert report.valid, report.flatten(["type", "message"])
        assert len(report.tasks) == len(of_all_eras())
        package = frictionless.Package(str(data.datapackage))
        assert package.licenses[0]["name"] == "CC0-1.0"
        # and it does look into them
        path = data.archive / "events-2026-03-05.jsonl"
        path.write_bytes(path.read_bytes().replace(b"GitHub", b"GitHug"))
        assert not frictionless.validate(str(data.datapackage)).valid


def test_croissant_finds_nothing_amiss(data: DataDir):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlcroissant = pytest.importorskip("mlcroissant")
        dataset = mlcroissant.Dataset(jsonld=str(data.croissant))
    metadata = dataset.metadata
    assert not metadata.ctx.issues.errors
    assert not metadata.ctx.issues.warnings
    assert metadata.license == ["https://creativecommons.org/publicdomain/zero/1.0/"]
    assert metadata.cite_as.startswith("@misc{")
    named = {one.id for one in metadata.file_objects}
    assert named == {path.name for path in data.archive.glob("events-*")}


def test_croissant_reads_every_launch_with_the_fields_of_its_day(data: DataDir):
    records = list(load_inventory(data).records.values())
    counted = count_days(partial(open_daily, data.archive), records)
    records = [
        replace(record, findings=found) for record, found in zip(records, counted, strict=True)
    ]
    data.croissant.write_bytes(render_croissant(records))
    sets = [one["@id"] for one in json.loads(data.croissant.read_bytes())["recordSet"]]
    assert sets == [f"launches-v{version}" for version in (1, 3, 4, 5, 6)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlcroissant = pytest.importorskip("mlcroissant")
        dataset = mlcroissant.Dataset(jsonld=str(data.croissant))
        rows = {name: list(dataset.records(name)) for name in sets}
    assert sum(map(len, rows.values())) == sum(record.lines for record in records)
    assert len(rows["launches-v1"][0]) == 6
    newest = rows["launches-v6"][-1]
    assert newest["launches-v6/request_origin"] is not None
    assert newest["launches-v6/timestamp"].date() == max(record.date for record in records)


def test_they_follow_what_is_held_and_nothing_else(data: DataDir):
    records = list(load_inventory(data).records.values())
    assert render_croissant(reversed(records)) == render_croissant(records)
    assert render_datapackage(records[:-1]) != render_datapackage(records)
    for render in (render_croissant, render_datapackage):
        assert "0.0.0" in json.loads(render([]))["version"]


async def test_a_poll_publishes_them_and_a_quiet_one_leaves_them_be(world: World):
    await world.sync()
    held = {path.name for path in world.data.archive.glob("events-*")}
    package = json.loads(world.data.datapackage.read_bytes())
    assert {resource["path"] for resource in package["resources"]} == held
    world.assert_sound()
    listings = (world.data.datapackage, world.data.croissant)
    before = [path.stat().st_ino for path in listings]
    await world.sync()
    assert [path.stat().st_ino for path in listings] == before
    world.data.croissant.unlink()
    await world.sync()
    world.assert_sound()


async def test_verify_tells_of_one_that_was_altered(tmp_path: Path):
    async with open_shell(tmp_path / "data") as shell:
        await shell.synced()
        shell.data.datapackage.write_bytes(b"{}")
        done = await shell.run("verify")
        assert done.code == 3
        assert "datapackage.json: does not say what the manifest says" in done.out
        assert (await shell.run("verify", "--repair")).code == 0
