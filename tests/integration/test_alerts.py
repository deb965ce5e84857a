"""Alert rules on made-up series (promtool): each fires for its fault, and not without."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from shotwatch_common.services import SERVICES
from tests.unit.test_deploy_dashboards import RULES, RULES_FILE

from .prometheus import promtool

Series = dict[str, str]
"""Selector → values a minute apart, in promtool's notation."""
REST = [*(each.name for each in SERVICES if not each.is_job and each.name != "ingest"), "broker"]
UP = {f'up{{job="{job}"}}': "1x90" for job in REST}
DEAD_LETTERS = 'rabbitmq_queue_messages{job="broker", queue="shotwatch.validate.dead_letters"}'
VALIDATE = 'rabbitmq_queue_messages{job="broker", queue="shotwatch.validate"}'
WAIT = "shotwatch_message_wait_seconds_bucket"
LA = 'place="LA-A2-00"'
LB = 'place="LB-A2-00"'
RECORDS = "shotwatch_records_total"
MALFORMED = "shotwatch_malformed_documents_total"


@dataclass(frozen=True, slots=True)
class Case:
    """An alert, series by which it fires, and series by which it does not, in the same minute."""

    alert: str
    fault: Series
    healthy: Series
    labels: str = ""
    """That the alert has."""
    minute: int = 30


def waits(below_half_a_second: int, all_: int) -> Series:
    """A stage's messages per minute."""
    return {
        f'{WAIT}{{stage="validate", le="0.5"}}': f"0+{below_half_a_second}x90",
        f'{WAIT}{{stage="validate", le="5"}}': f"0+{all_}x90",
        f'{WAIT}{{stage="validate", le="+Inf"}}': f"0+{all_}x90",
    }


def records(place: str, values: str, verdict: str = "valid") -> Series:
    return {f'{RECORDS}{{job="validate", {place}, kind="Camera", verdict="{verdict}"}}': values}


CASES = [
    Case(
        "ShotwatchLedgerDoesNotBalance",
        {'shotwatch_ledger_unaccounted{job="history"}': "0x20 2x70"},
        {'shotwatch_ledger_unaccounted{job="history"}': "0x90"},
    ),
    Case(
        "ShotwatchLedgerCheckStale",
        {'shotwatch_ledger_checked_timestamp_seconds{job="history"}': "0+60x10 600x80"},
        {'shotwatch_ledger_checked_timestamp_seconds{job="history"}': "0+60x90"},
    ),
    Case(
        "ShotwatchSweepFails",
        {'shotwatch_sweep_last_success_timestamp_seconds{job="ingest", instance="a"}': "0+60x10 600x80"},
        {
            'shotwatch_sweep_last_success_timestamp_seconds{job="ingest", instance="a"}': "0+60x10 600x80",
            'shotwatch_sweep_last_success_timestamp_seconds{job="ingest", instance="b"}': "0+60x90",
        },
    ),
    Case(
        "ShotwatchBackgroundFails",
        {'shotwatch_background_waiting{job="aggregate", work="Aggregator._close_window"}': "0x10 1x80"},
        {'shotwatch_background_waiting{job="aggregate", work="Aggregator._close_window"}': "0x28 1 0x60"},
        'job="aggregate", work="Aggregator._close_window"',
    ),
    Case(
        "ShotwatchServiceDown",
        {**UP, 'up{job="ingest", instance="a"}': "1x20 0x70", 'up{job="ingest", instance="b"}': "1x20 _x70"},
        {**UP, 'up{job="ingest", instance="a"}': "1x20 0x70", 'up{job="ingest", instance="b"}': "1x90"},
        'job="ingest"',
    ),
    Case(
        "ShotwatchServiceDown",
        {**UP, 'up{job="ingest"}': "1x20 _x70"},
        {**UP, 'up{job="ingest"}': "1x90"},
        'job="ingest"',
    ),
    Case(
        "ShotwatchNoConsumers",
        {'rabbitmq_queue_consumers{job="broker", queue="shotwatch.validate"}': "1x20 0x70"},
        {
            'rabbitmq_queue_consumers{job="broker", queue="shotwatch.validate"}': "1x90",
            'rabbitmq_queue_consumers{job="broker", queue="shotwatch.validate.dead_letters"}': "0x90",
        },
    ),
    Case(
        "ShotwatchServerAway",
        {'shotwatch_messages_held{stage="ingest", why="server"}': "0x20 4x70"},
        {'shotwatch_messages_held{stage="ingest", why="next_stage"}': "0x20 4x70"},
    ),
    Case(
        "ShotwatchMalformedDocuments",
        {f'{MALFORMED}{{job="history", collection="shots"}}': "_x20 1x69"},
        {f'{MALFORMED}{{job="history", collection="shots"}}': "1x90"},
        'job="history", collection="shots"',
        minute=75,
    ),
    Case(
        "ShotwatchMalformedDocuments",
        {f'{MALFORMED}{{job="history", collection="shots"}}': "1x40 5x49"},
        {f'{MALFORMED}{{job="history", collection="shots"}}': "0x5 1x84"},
        'job="history", collection="shots"',
        minute=75,
    ),
    Case("ShotwatchDeadLetters", {DEAD_LETTERS: "0x20 1x70"}, {DEAD_LETTERS: "0x90", VALIDATE: "3x90"}),
    Case("ShotwatchDeadLettersGrow", {DEAD_LETTERS: "0x10 0+1x80"}, {DEAD_LETTERS: "0x10 0+1x5 5x75"}),
    Case("ShotwatchLag", waits(90, 100), waits(100, 100)),
    Case(
        "ShotwatchBacklog",
        {VALIDATE: "7x90", 'shotwatch_messages_total{stage="validate", outcome="done"}': "5x90"},
        {VALIDATE: "7x90", 'shotwatch_messages_total{stage="validate", outcome="done"}': "0+60x90"},
    ),
    Case("ShotwatchNoFiles", records(LA, "0+60x22 1320x68"), records(LA, "0+60x90")),
    Case(
        "ShotwatchPlaceSilent",
        {**records(LA, "0+60x22 1320x68"), **records(LB, "0+60x90")},
        {**records(LA, "0+60x90"), **records(LB, "0+60x90")},
    ),
    Case(
        "ShotwatchFalseAlarms",
        {
            'shotwatch_opinions_total{job="query", opinion="false"}': "_x9 4x80",
            f'shotwatch_shots_judged_total{{job="inference", {LA}}}': "0+1000x90",
        },
        {
            'shotwatch_opinions_total{job="query", opinion="false"}': "_x9 4x80",
            f'shotwatch_shots_judged_total{{job="inference", {LA}}}': "0+9000x90",
        },
    ),
    Case(
        "ShotwatchModelNotLoaded",
        {
            'shotwatch_model_not_loaded{job="inference", alias="champion", instance="a"}': "0x20 1x70",
            'shotwatch_model_not_loaded{job="inference", alias="champion", instance="b"}': "0x90",
        },
        {'shotwatch_model_not_loaded{job="inference", alias="champion", instance="a"}': "0x20 1x1 0x68"},
        'alias="champion"',
    ),
    Case(
        "ShotwatchPromotionUnproven",
        {'shotwatch_promotion_differences{job="history", instance="a"}': "0x20 1x70"},
        {'shotwatch_promotion_differences{job="history", instance="a"}': "0x20 1x1 0x68"},
    ),
    Case(
        "ShotwatchDrift",
        {f'shotwatch_drift{{job="history", {LA}, device="meter"}}': "4.5x90"},
        {f'shotwatch_drift{{job="history", {LA}, device="meter"}}': "3.9x90"},
    ),
]


def fires(case: Case, series: Series, expected: bool) -> dict[str, Any]:
    """A promtool test: whether the alert fires in the case's minute."""
    firing = f'ALERTS{{alertname="{case.alert}", alertstate="firing", {case.labels}}}'
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f"count({firing}) or vector(0)",
                "eval_time": f"{case.minute}m",
                "exp_samples": [{"labels": "{}", "value": int(expected)}],
            }
        ],
    }


def check(folder: Path, tests: Sequence[dict[str, Any]]) -> None:
    file = folder / "tests.yml"
    written = {"rule_files": [str(RULES_FILE)], "evaluation_interval": "1m", "tests": list(tests)}
    file.write_text(yaml.safe_dump(written))
    promtool("test", "rules", file)


def test_prometheus_takes_the_rules() -> None:
    promtool("check", "rules", RULES_FILE)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_an_alert_fires_for_its_fault_and_not_without(case: Case, tmp_path: Path) -> None:
    check(tmp_path, [fires(case, case.fault, True), fires(case, case.healthy, False)])


FORGEABLE = [case for case in CASES if any("shotwatch_" in each and "job=" in each for each in case.fault)]


@pytest.mark.parametrize("case", FORGEABLE, ids=lambda case: case.alert)
def test_another_service_cannot_silence_an_alert_by_healthy_metrics_of_its_own(
    case: Case, tmp_path: Path
) -> None:
    forged = {re.sub('job="[a-z]+"', 'job="training"', name): values for name, values in case.healthy.items()}
    check(tmp_path, [fires(case, case.fault | forged, True)])


def test_devices_that_are_not_on_before_the_last_file_are_no_laser_that_runs(tmp_path: Path) -> None:
    ended = Case(
        "ShotwatchNoFiles", {}, {**records(LA, "0x90"), **records(LA, "0+60x22 1320x68", "state_not_on")}
    )
    check(tmp_path, [fires(ended, ended.healthy, False)])


def test_every_alert_has_a_case() -> None:
    assert {case.alert for case in CASES} == {rule["alert"] for rule in RULES}
