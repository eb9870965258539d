"""The compose file by its structure: no engine that reads it is at hand where this is tested."""

import re
from typing import Any

import pytest
import yaml

from mirror.config.settings import ServerConfig
from tests.command import ROOT

CONFIG = ROOT / "config"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    told = yaml.safe_load((CONFIG / "compose.yaml").read_text())
    assert isinstance(told, dict)
    return told


def test_the_mirror_is_built_here_and_as_caged_as_its_tests_run_it(compose: dict[str, Any]) -> None:
    mirror = compose["services"]["binder-mirror"]

    assert (CONFIG / mirror["build"]["context"] / "Dockerfile").is_file()
    assert mirror["read_only"] is True
    assert mirror["cap_drop"] == ["ALL"]
    assert mirror["mem_limit"] == "2g"
    assert mirror["ulimits"]["nofile"] >= 2 * ServerConfig().max_connections
    assert mirror["security_opt"] == ["no-new-privileges:true"]
    assert mirror["volumes"] == ["archive:/data"]
    assert int(mirror["stop_grace_period"].removesuffix("s")) > 10


def test_what_is_mounted_is_there_and_cannot_be_written(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for mount in service["volumes"]:
            source, _, rest = mount.partition(":")
            if source.startswith("."):
                assert (CONFIG / source).is_dir(), mount
                assert rest.endswith(":ro"), mount
            else:
                assert source in compose["volumes"], mount


def test_ports_are_for_this_machine_alone(compose: dict[str, Any]) -> None:
    ports = [port for one in compose["services"].values() for port in one.get("ports", ())]

    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_images_of_others_are_pinned(compose: dict[str, Any]) -> None:
    images = [one["image"] for one in compose["services"].values() if "build" not in one]

    assert len(images) == 2
    assert all(re.fullmatch(r"[a-z]+/[a-z]+:v?\d+\.\d+\.\d+", image) for image in images)


def test_prometheus_finds_the_mirror_and_its_rules(compose: dict[str, Any]) -> None:
    told = yaml.safe_load((CONFIG / "prometheus" / "prometheus.yml").read_text())
    targets = [
        target
        for job in told["scrape_configs"]
        for group in job.get("static_configs", ())
        for target in group["targets"]
    ]

    assert targets == ["binder-mirror:8080"]
    for name in told["rule_files"]:
        assert (CONFIG / "prometheus" / name.rpartition("/")[2]).is_file()


def test_grafana_finds_its_dashboards(compose: dict[str, Any]) -> None:
    provider = CONFIG / "grafana" / "provisioning" / "dashboards" / "binder-mirror.yaml"
    (told,) = yaml.safe_load(provider.read_text())["providers"]
    mounted = {mount.split(":")[1] for mount in compose["services"]["grafana"]["volumes"]}

    assert told["options"]["path"] in mounted
