"""The files of deploy/ and the Dockerfile name only what exists."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # PyYAML comes with uvicorn[standard] and publishes no types
from prometheus_client import CollectorRegistry

from monitoring.metrics import LineMetrics
from service.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
GRAFANA = DEPLOY / "grafana"
DASHBOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def settings_environment() -> set[str]:
    return {PREFIX + name.upper() for name in Settings.model_fields}


def copied() -> list[str]:
    """Sources of the COPY instructions that read from this folder."""
    lines = re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
    return [source for line in lines for source in line.split()[:-1]]


def metric_names() -> set[str]:
    """Every name that a query may use, as `/metrics` shows them."""
    registry = CollectorRegistry()
    LineMetrics(registry)
    return {metric.name + suffix for metric in registry.collect() for suffix in SUFFIXES[metric.type]}


def alert_rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries() -> list[str]:
    """PromQL of every panel, variable and alert rule."""
    found = [rule["expr"] for rule in alert_rules()]
    for path in DASHBOARDS:
        board = json.loads(path.read_text())
        found += [target["expr"] for panel in board["panels"] for target in panel["targets"]]
        found += [variable["query"]["query"] for variable in board["templating"]["list"]]
    return found


def test_image_copies_what_exists() -> None:
    assert copied()
    assert [source for source in copied() if not (ROOT / source).exists()] == []


def test_image_has_every_package_of_the_wheel() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/py.typed")}
    assert packages
    assert packages <= set(copied())


def test_build_context_is_what_the_image_copies() -> None:
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert sorted(kept) == sorted(copied())


def test_image_sets_settings_that_exist() -> None:
    named = set(re.findall(rf"\b{PREFIX}[A-Z_]+", DOCKERFILE))
    assert "LOUPE_DATA_DIR" in named
    assert named <= settings_environment()


def test_compose_sets_settings_that_exist() -> None:
    named = {name for service in COMPOSE["services"].values() for name in service.get("environment", {})}
    loupe = {name for name in named if name.startswith(PREFIX)}
    assert "LOUPE_DATABASE_URL" in loupe
    assert loupe <= settings_environment()


def test_compose_holds_no_secret() -> None:
    for name, service in COMPOSE["services"].items():
        for key, value in service.get("environment", {}).items():
            if "PASSWORD" in key or "://" in str(value):
                assert re.search(r"\$\{[A-Z_]+:\?", value), f"{name}: {key} must come from the environment"


def test_compose_mounts_what_exists() -> None:
    for service in COMPOSE["services"].values():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            assert source in COMPOSE["volumes"] or (DEPLOY / source).is_dir(), source


def test_every_process_has_a_service() -> None:
    commands = [service.get("command") for service in COMPOSE["services"].values()]
    assert all([process] in commands for process in ("serve", "console", "worker"))


@pytest.mark.parametrize("query", queries())
def test_queries_name_metrics_that_exist(query: str) -> None:
    named = set(re.findall(r"\bloupe_\w+", query))
    assert named <= metric_names()


def test_every_alert_says_what_to_do() -> None:
    for rule in alert_rules():
        assert {"summary", "remedy"} <= rule["annotations"].keys(), rule["alert"]
        assert rule["labels"]["severity"] in ("page", "ticket"), rule["alert"]


def test_prometheus_reads_the_rules_that_lie_beside_it() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    assert all((DEPLOY / "prometheus" / name).is_file() for name in config["rule_files"])
    jobs = {job["job_name"] for job in config["scrape_configs"]}
    up = {job for query in queries() for job in re.findall(r'up\{job="(\w+)"\}', query)}
    assert up <= jobs


def test_panels_use_the_provisioned_datasource() -> None:
    sources = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "prometheus.yml").read_text())["datasources"]
    uids = {source["uid"] for source in sources}
    assert DASHBOARDS
    for path in DASHBOARDS:
        board = json.loads(path.read_text())
        assert {target["datasource"]["uid"] for panel in board["panels"] for target in panel["targets"]} <= uids


def test_panels_do_not_overlap() -> None:
    for path in DASHBOARDS:
        cells = [
            (x, y)
            for panel in json.loads(path.read_text())["panels"]
            for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
            for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
        ]
        assert len(cells) == len(set(cells)), path.name


def test_service_unit_sets_settings_that_exist() -> None:
    unit = (DEPLOY / "systemd" / "loupe.service").read_text()
    named = set(re.findall(rf"\b({PREFIX}[A-Z_]+)=", unit))
    assert named == {"LOUPE_DATA_DIR"}
    assert named <= settings_environment()
