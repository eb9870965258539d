"""The dashboard: its structure, and each of its queries against a real Prometheus."""

import asyncio
import json
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import combinations
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from tests.command import PATIENCE_S, ROOT, open_shell
from tests.running import running

CONFIG = ROOT / "config"
GRAFANA = CONFIG / "grafana"
DASHBOARD: dict[str, Any] = json.loads((GRAFANA / "dashboards" / "binder-mirror.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
PROMETHEUS = shutil.which("prometheus")
GRID_COLUMNS = 24


def expressions() -> Iterator[str]:
    for panel in PANELS:
        for target in panel.get("targets", ()):
            yield target["expr"].replace("$instance", ".*")


def provisioned(kind: str, name: str) -> dict[str, Any]:
    content = (GRAFANA / "provisioning" / kind / name).read_text()
    loaded: dict[str, Any] = yaml.safe_load(content)
    assert loaded["apiVersion"] == 1
    return loaded


def test_panels_have_ids_titles_and_queries_of_their_own() -> None:
    ids = [panel["id"] for panel in PANELS]
    assert len(set(ids)) == len(ids)
    for panel in PANELS:
        assert panel["title"]
        if panel["type"] == "row":
            continue
        assert panel["type"] in {"stat", "timeseries", "state-timeline"}
        letters = [target["refId"] for target in panel["targets"]]
        assert letters
        assert len(set(letters)) == len(letters), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]


def test_panels_lie_on_the_grid_and_not_on_each_other() -> None:
    places = [(panel["title"], panel["gridPos"]) for panel in PANELS]
    for title, at in places:
        assert at["h"] > 0, title
        assert at["w"] > 0, title
        assert at["x"] >= 0, title
        assert at["x"] + at["w"] <= GRID_COLUMNS, title
    for (one, a), (other, b) in combinations(places, 2):
        apart = (
            a["x"] + a["w"] <= b["x"]
            or b["x"] + b["w"] <= a["x"]
            or a["y"] + a["h"] <= b["y"]
            or b["y"] + b["h"] <= a["y"]
        )
        assert apart, (one, other)


def test_every_panel_reads_the_data_source_that_is_provisioned() -> None:
    (source,) = provisioned("datasources", "prometheus.yaml")["datasources"]
    wanted = {"type": source["type"], "uid": source["uid"]}

    for panel in PANELS:
        for part in (panel, *panel.get("targets", ())):
            assert part.get("datasource", wanted) == wanted, panel["title"]
    for variable in DASHBOARD["templating"]["list"]:
        assert variable["datasource"] == wanted
    scrape = yaml.safe_load((CONFIG / "prometheus" / "prometheus.yml").read_text())
    assert source["jsonData"]["timeInterval"] == scrape["global"]["scrape_interval"]


def test_dashboards_are_provisioned_from_where_they_are_mounted() -> None:
    (provider,) = provisioned("dashboards", "binder-mirror.yaml")["providers"]
    guide = (ROOT / "docs" / "operations.md").read_text()

    assert provider["type"] == "file"
    assert f"`config/grafana/dashboards` at `{provider['options']['path']}`" in guide
    assert DASHBOARD["uid"] == "binder-mirror"
    assert isinstance(DASHBOARD["schemaVersion"], int)
    assert "id" not in DASHBOARD  # Grafana gives it


@asynccontextmanager
async def scraping(folder: Path, target: str) -> AsyncIterator[str]:
    """Run a Prometheus by our settings, but for target and pace; gives its address."""
    settings = yaml.safe_load((CONFIG / "prometheus" / "prometheus.yml").read_text())
    settings["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    settings["scrape_configs"][0]["static_configs"][0]["targets"] = [target]
    folder.mkdir()
    shutil.copy(CONFIG / "prometheus" / "alerts.yaml", folder)
    (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    assert PROMETHEUS is not None
    process = await asyncio.create_subprocess_exec(
        PROMETHEUS,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield f"http://{address}"
    finally:
        process.terminate()
        await process.wait()


class Api:
    """Prometheus's own API."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def get(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer, once there is one."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    asking = self._session.get(f"{self._url}/api/v1/{path}", params=parameters)
                    async with asking as answer:
                        content = await answer.json()
                except (aiohttp.ClientError, json.JSONDecodeError):
                    await asyncio.sleep(0.1)
                    continue
                assert content["status"] == "success", (parameters, content)
                return content["data"]

    async def until_it_returns(self, query: str) -> None:
        """Wait for a query to have a result."""
        async with asyncio.timeout(PATIENCE_S):
            while not (await self.get("query", query=query))["result"]:
                await asyncio.sleep(0.2)


@pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is not installed")
async def test_each_query_returns_data_of_a_real_daemon(tmp_path: Path) -> None:
    async with open_shell(tmp_path / "data") as shell, running(shell) as daemon:
        target = (await daemon.url()).removeprefix("http://").rstrip("/")
        await daemon.logged("poll.finished", exit_code=0)
        async with (
            scraping(tmp_path / "prometheus", target) as address,
            aiohttp.ClientSession() as session,
        ):
            api = Api(address, session)
            await api.until_it_returns("rate(binder_mirror_loop_lag_seconds_count[5m])")
            empty = [
                query
                for query in expressions()
                if not (await api.get("query", query=query))["result"]
            ]
            groups = (await api.get("rules"))["groups"]

    assert len(list(expressions())) > 20
    assert empty == []
    states = {rule["name"]: (rule["state"], rule["health"]) for rule in groups[0]["rules"]}
    assert {state for state, _ in states.values()} == {"inactive"}, states
    assert {health for _, health in states.values()} <= {"ok", "unknown"}, states
