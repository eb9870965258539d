"""The compose file by its structure: no engine that reads it is at hand where this is tested."""

from typing import Any

import pytest
import yaml

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
    assert mirror["security_opt"] == ["no-new-privileges:true"]
    assert mirror["volumes"] == ["archive:/data"]
    assert int(mirror["stop_grace_period"].removesuffix("s")) > 10


def test_what_is_mounted_is_there_and_cannot_be_written(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for mount in service["volumes"]:
            source, _, rest = mount.partition(":")
            if source.startswith("."):
                assert (CONFIG / source).exists(), mount
                assert rest.endswith(":ro"), mount
            else:
                assert source in compose["volumes"], mount


def test_ports_are_for_this_machine_alone(compose: dict[str, Any]) -> None:
    ports = [port for one in compose["services"].values() for port in one.get("ports", ())]

    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
