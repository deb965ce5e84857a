"""Operations: whether every file is accounted for, how fast files are processed, and what delays them."""

from grafana_foundation_sdk.builders import dashboard as board
from grafana_foundation_sdk.builders import timeseries
from grafana_foundation_sdk.models.common import BigValueTextMode

from shotwatch_dashboards.parts import (
    Shown,
    bad_above,
    bars,
    graph,
    lines_at,
    now_of,
    number,
    range_of,
    rows,
    rows_of,
)
from shotwatch_dashboards.parts import (
    dashboard as empty_dashboard,
)
from shotwatch_dashboards.promql import quantile, rate, seconds_since

P50_OBJECTIVE_S, P99_OBJECTIVE_S = 0.25, 1.0
"""From the end of the upload of a shot's last file to its event."""
STAGE_QUEUES = 'job="broker", queue=~"shotwatch[.][a-z]+([.]express)?"'
DEAD_LETTER_QUEUES = 'job="broker", queue=~"shotwatch[.].+[.]dead_letters"'
WAITING_QUEUES = 'job="broker", queue=~"shotwatch[.].+[.]retry[.].+"'


def dashboard() -> board.Dashboard:
    shown = empty_dashboard("operations", "Operations", "Is every file accounted for, and how fast?")
    for title, panels in (
        ("Is every file accounted for?", [*_accounts(), *_ledger()]),
        ("How fast?", _latency()),
        ("What waits, and what fails?", _obstacles()),
        ("What goes through", [*_shots(), *_bulk()]),
    ):
        shown = shown.with_row(board.Row(title))
        for panel in panels:
            shown = shown.with_panel(panel)
    return shown


def _accounts() -> list[Shown]:
    return [
        number(
            "Unaccounted for",
            "Objects, shots and events on which two sources do not agree.",
            now_of("max(shotwatch_ledger_unaccounted)"),
        ).thresholds(bad_above(1)),
        _age(
            "Ledger checked",
            "Time since the last check by history.",
            "shotwatch_ledger_checked_timestamp_seconds",
            300,
        ),
        _age(
            "Last file",
            "Time since the arrival of the object that was settled last.",
            "shotwatch_last_file_timestamp_seconds",
            300,
        ),
        _age(
            "Last sweep",
            "Time since the inbox was last listed completely.",
            "shotwatch_sweep_last_success_timestamp_seconds",
            60,
        ),
        number(
            "Dead-lettered",
            "Messages in the dead-letter queues; see `shotwatch dead list`.",
            now_of(f"sum(rabbitmq_queue_messages{{{DEAD_LETTER_QUEUES}}})"),
        ).thresholds(bad_above(1)),
        number(
            "Alerts",
            "Number of firing alerts.",
            now_of('count(ALERTS{alertname=~"Shotwatch.+", alertstate="firing"}) or vector(0)'),
        ).thresholds(bad_above(1)),
    ]


def _ledger() -> list[Shown]:
    return [
        graph(
            "Ledger",
            "Objects that arrived in the last hour, by their state.",
            range_of("max by (state) (shotwatch_ledger_objects)", "{{state}}"),
        ),
        graph(
            "Files settled",
            "Files per second, by outcome and reason.",
            range_of(rate("shotwatch_files_total", "outcome, reason"), "{{outcome}} {{reason}}"),
        ),
        rows(
            "Firing alerts",
            "Firing alerts with severity and place; docs/runbook.md explains what to do.",
            rows_of('ALERTS{alertname=~"Shotwatch.+", alertstate="firing"}'),
            hidden=("Value", "alertstate", "job"),
            span=24,
        ).height(5),
    ]


def _age(title: str, why: str, timestamp: str, limit_s: float) -> Shown:
    return number(title, why, now_of(seconds_since(timestamp)), unit="s").thresholds(bad_above(limit_s))


def _latency() -> list[Shown]:
    event = "shotwatch_event_latency_seconds"
    return [
        _against_objective(
            "File to event, p50",
            f"Objective {P50_OBJECTIVE_S} s. Events about incomplete shots wait for the deadline.",
            quantile(0.5, event),
            "p50",
            P50_OBJECTIVE_S,
        ).span(6),
        _against_objective(
            "File to event, p99",
            f"Objective {P99_OBJECTIVE_S} s. Dots link to traces.",
            quantile(0.99, event),
            "p99",
            P99_OBJECTIVE_S,
        ).span(6),
        number(
            "Slowest stage now",
            "Mean time per message, waiting in the queue and being handled.",
            now_of(f"topk(1, {_time_per_message()})", "{{stage}}"),
            unit="s",
            span=6,
        )
        .height(8)
        .text_mode(BigValueTextMode.VALUE_AND_NAME),
        bars(
            "Time per message now",
            "Mean time per message, waiting in the queue and being handled.",
            now_of(f"sort_desc({_time_per_message()})", "{{stage}}"),
            unit="s",
            span=6,
        ),
        *(
            _against_objective(
                f"{title}, p{100 * q:g}",
                "The dashed line is the objective for all stages together.",
                quantile(q, metric, "stage"),
                "{{stage}}",
                objective,
            )
            for q, objective in ((0.5, P50_OBJECTIVE_S), (0.99, P99_OBJECTIVE_S))
            for title, metric in (
                ("Time in the queue", "shotwatch_message_wait_seconds"),
                ("Time in work", "shotwatch_message_work_seconds"),
            )
        ),
    ]


def _against_objective(title: str, why: str, expr: str, legend: str, objective_s: float) -> timeseries.Panel:
    return lines_at(graph(title, why, range_of(expr, legend, exemplars=True), unit="s"), objective_s)


def _time_per_message() -> str:
    """Return a query for the time per message.

    Messages that were published without a time count without a wait.
    """
    waited = rate("shotwatch_message_wait_seconds_sum", "stage")
    worked = rate("shotwatch_message_work_seconds_sum", "stage")
    return (
        f"({worked} + ({waited} or 0 * {worked})) / {rate('shotwatch_message_work_seconds_count', 'stage')}"
    )


def _obstacles() -> list[Shown]:
    return [
        graph(
            "Queues",
            "Messages that wait or are being handled.",
            range_of(f"sum by (queue) (rabbitmq_queue_messages{{{STAGE_QUEUES}}})", "{{queue}}"),
        ),
        graph(
            "In work",
            "Messages that are being handled.",
            range_of("sum by (stage) (shotwatch_messages_in_flight)", "{{stage}}"),
        ),
        graph(
            "Held",
            "Messages that a service holds until a server answers, or the next stage's queue is short again.",
            range_of("sum by (stage, why) (shotwatch_messages_held)", "{{stage}} {{why}}"),
        ),
        graph(
            "Waiting for another attempt",
            "Messages in the waiting queues.",
            range_of(f"sum by (queue) (rabbitmq_queue_messages{{{WAITING_QUEUES}}})", "{{queue}}"),
        ),
        graph(
            "Dead-lettered",
            "Messages in the dead-letter queues.",
            range_of(f"sum by (queue) (rabbitmq_queue_messages{{{DEAD_LETTER_QUEUES}}})", "{{queue}}"),
        ),
        graph(
            "Failures",
            "Attempts that failed, per second, by class and reason.",
            range_of(
                rate("shotwatch_failures_total", "stage, class, reason"), "{{stage}} {{class}} {{reason}}"
            ),
        ),
        graph(
            "Messages settled",
            "Messages per second, by outcome.",
            range_of(rate("shotwatch_messages_total", "stage, outcome"), "{{stage}} {{outcome}}"),
        ),
        graph(
            "Consumers",
            "Number of consumers as the services report it.",
            range_of("sum by (stage) (shotwatch_consumers)", "{{stage}}"),
        ),
        graph(
            "Consumers, as the broker counts",
            "Number of consumers as the broker reports it. If the two differ, the broker is right.",
            range_of(f"sum by (queue) (rabbitmq_queue_consumers{{{STAGE_QUEUES}}})", "{{queue}}"),
        ),
    ]


def _shots() -> list[Shown]:
    return [
        graph(
            "Shots closed",
            "Shots per second.",
            range_of(rate("shotwatch_shots_total", "completeness"), "{{completeness}}"),
            range_of("sum(rate(shotwatch_shots_revised_total[$__rate_interval]))", "closed again"),
            span=8,
        ),
        graph(
            "Open windows",
            "One-minute windows with open shots.",
            range_of("max(shotwatch_windows_open)", "windows"),
            span=8,
        ),
        graph(
            "Found by the sweep",
            "Objects per minute for which no notification arrived.",
            range_of("sum(increase(shotwatch_sweep_found_total[1m]))", "objects"),
            span=8,
        ),
    ]


def _bulk() -> list[Shown]:
    batch = "shotwatch_batch_records"
    return [
        graph(
            "Blocks",
            "Bytes per second.",
            range_of(rate("shotwatch_block_bytes_total", "direction"), "{{direction}}"),
            unit="Bps",
            span=8,
        ),
        graph(
            "Batches",
            "Records or shots in a message, on average.",
            range_of(
                f"{rate(f'{batch}_sum', 'stage')} / {rate(f'{batch}_count', 'stage')}",
                "{{stage}}",
            ),
            span=8,
        ),
        graph(
            "One sweep, p99",
            "Duration of one listing of the inbox.",
            range_of(quantile(0.99, "shotwatch_sweep_seconds"), "p99"),
            unit="s",
            span=8,
        ),
        rows(
            "What runs",
            "Processes by service and version.",
            rows_of("count by (service, version) (shotwatch_build_info)"),
        ),
        graph(
            "Memory",
            "Resident memory of the largest replica of each service.",
            range_of('max by (job) (process_resident_memory_bytes{job!~"broker|store"})', "{{job}}"),
            unit="bytes",
        ),
    ]
