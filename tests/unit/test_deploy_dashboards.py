"""Grafana's dashboards and Prometheus' rules, held against the code and the files that they speak of."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from shotwatch_dashboards.__main__ import FOLDER, written
from shotwatch_dashboards.models import MODEL_IS_WRONG, SHOTS_PER_HOUR
from shotwatch_detector.thresholds import SHOTS_PER_HOUR as SHOTS_PER_HOUR_OF_THE_THRESHOLD
from shotwatch_history.domain.drift import CLEAR

ROOT = Path(__file__).parents[2]
RULES_FILE = ROOT / "deploy" / "prometheus" / "rules" / "shotwatch.yml"
RULES = [
    rule
    for group in yaml.safe_load(RULES_FILE.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
SUFFIXES = r"(_bucket|_sum|_count)?$"


@dataclass(frozen=True, slots=True)
class Asked:
    """A query of a panel, or of a dashboard's annotations."""

    dashboard: str
    panel: str
    source: str
    """prometheus, tempo or loki."""
    query: str


def asked() -> list[Asked]:
    """All queries of all dashboards, as they stand in the committed files."""
    return [found for path in sorted(FOLDER.glob("*.json")) for found in _of_dashboard(_read(path))]


def _of_dashboard(dashboard: Mapping[str, Any]) -> Iterator[Asked]:
    title = dashboard["title"].removeprefix("shotwatch: ")
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            query = target.get("expr") or target.get("query") or target["queryType"]
            yield Asked(title, panel["title"], target["datasource"]["type"], query)
    for annotation in dashboard.get("annotations", {}).get("list", ()):
        yield Asked(title, annotation["name"], annotation["datasource"]["type"], annotation["expr"])


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def documented_metrics() -> set[str]:
    return set(re.findall(r"^\| `(\w+)`", (ROOT / "docs" / "metrics.md").read_text("utf-8"), re.MULTILINE))


def test_the_dashboards_in_the_repository_are_those_of_the_code() -> None:
    committed = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
    assert committed == written(), "run `make dashboards`"


@pytest.mark.parametrize("name", sorted(written()))
def test_a_dashboard_holds_what_grafana_knows_and_nothing_else(name: str) -> None:
    found = _read(FOLDER / name)
    assert json.loads(JSONEncoder().encode(Dashboard.from_json(found))) == found


@pytest.mark.parametrize("name", sorted(written()))
def test_every_panel_explains_why_it_is_there_and_asks_a_source_that_is_provisioned(name: str) -> None:
    provisioned = yaml.safe_load((FOLDER.parent / "datasources" / "datasources.yml").read_text("utf-8"))
    sources = {each["uid"] for each in provisioned["datasources"]}
    for panel in _read(FOLDER / name)["panels"]:
        if panel["type"] != "row":
            assert panel["description"].endswith(".")
            assert {target["datasource"]["uid"] for target in panel["targets"]} <= sources


@pytest.mark.parametrize(
    ("what", "query"),
    [
        *((f"{each.dashboard}: {each.panel}", each.query) for each in asked() if each.source == "prometheus"),
        *((rule["alert"], rule["expr"]) for rule in RULES),
    ],
)
def test_every_metric_of_ours_that_is_asked_for_is_one_that_services_report(what: str, query: str) -> None:
    used = {re.sub(SUFFIXES, "", name) for name in re.findall(r"\bshotwatch_\w+", query)}
    assert used <= {re.sub(SUFFIXES, "", name) for name in documented_metrics()}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_states_how_bad_it_is_what_happened_and_where_to_read_on(rule: Mapping[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert rule["annotations"]["summary"]
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert anchor == rule["alert"].lower()
    assert f"\n## {rule['alert']}\n" in (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_takes_a_metric_from_the_service_that_writes_it(rule: Mapping[str, Any]) -> None:
    """Other services show metrics too, under their own job. Of stages, Prometheus drops those of others."""
    with_stage = set(
        re.findall(r"^\| `(\w+)` .*`stage`", (ROOT / "docs" / "metrics.md").read_text("utf-8"), re.MULTILINE)
    )
    for name, selector in re.findall(r"\b(shotwatch_\w+)(\{[^}]*\})?", rule["expr"]):
        by_job = 'job="' in selector or "by (job, " in rule["expr"]
        assert by_job or re.sub(SUFFIXES, "", name) in with_stage, name


def test_every_job_that_prometheus_scrapes_of_ours_and_the_broker_is_missed_when_it_is_down() -> None:
    scraped = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    services, broker, _store = scraped["scrape_configs"]
    (expr,) = (rule["expr"] for rule in RULES if rule["alert"] == "ShotwatchServiceDown")
    jobs = [*services["dns_sd_configs"][0]["names"], broker["job_name"]]
    assert sorted(re.findall(r'job="(\w+)"', expr)) == sorted(jobs)
    assert f'job=~"{"|".join(jobs)}"' in expr


def test_budget_and_drift_are_measured_as_the_services_do() -> None:
    expr = {rule["alert"]: rule["expr"] for rule in RULES}
    assert SHOTS_PER_HOUR == SHOTS_PER_HOUR_OF_THE_THRESHOLD
    assert f"/ {SHOTS_PER_HOUR} " in expr["ShotwatchFalseAlarms"]
    assert MODEL_IS_WRONG == CLEAR
    assert expr["ShotwatchDrift"].endswith(f"> {CLEAR:g}")
