"""Beam: the measurements at a place, how anomalous they are, and the events about them."""

from grafana_foundation_sdk.builders import dashboard as board

from shotwatch_dashboards.parts import (
    PROMETHEUS,
    Shown,
    choice,
    graph,
    log_lines,
    now_of,
    number,
    range_of,
    rows,
    rows_of,
)
from shotwatch_dashboards.parts import dashboard as empty_dashboard
from shotwatch_dashboards.promql import counted, rate

PLACE = 'place="$place"'
ALARMS = 'phase=~"opened|passed"'
"""Events that report an incident for the first time."""


def dashboard() -> board.Dashboard:
    shown = empty_dashboard("beam", "Beam", "The measurements at a place, and the events about them.")
    for variable in _variables():
        shown = shown.with_variable(variable)
    shown = shown.annotation(_events())
    for panel in (*_judged(), *_measured(), *_reported()):
        shown = shown.with_panel(panel)
    return shown


def _variables() -> list[board.QueryVariable]:
    judged = "shotwatch_shots_judged_total"
    return [
        choice("place", "Place", f"{judged}, place"),
    ]


def _events() -> board.AnnotationQuery:
    """Return a mark at each minute with an event. It uses Prometheus and needs no log store."""
    labels = "kind, severity, phase"
    return (
        board.AnnotationQuery()
        .name("Events")
        .datasource(PROMETHEUS)
        .enable(True)
        .icon_color("red")
        .expr(f"round({counted('shotwatch_events_total', labels, '1m', PLACE)}) > 0")
        .step("60s")
        .title_format("{{kind}} {{phase}}")
        .text_format("{{severity}}")
        .tag_keys("kind,severity")
    )


def _judged() -> list[Shown]:
    return [
        graph(
            "Score",
            "Score of the last shot that a model judged; above the threshold the shot is anomalous.",
            range_of(f"max(shotwatch_score{{{PLACE}}})", "score"),
            range_of(f"max(shotwatch_threshold{{{PLACE}}})", "threshold"),
        ),
        graph(
            "Shots judged",
            "Shots per second.",
            range_of(f"sum(rate(shotwatch_shots_judged_total{{{PLACE}}}[$__rate_interval]))", "shots"),
            span=6,
        ),
        number(
            "Alarms in the last hour",
            "New incidents.",
            now_of(f"round(sum({counted('shotwatch_events_total', 'kind', '1h', f'{PLACE}, {ALARMS}')}))"),
            span=6,
        ).height(8),
    ]


def _measured() -> list[Shown]:
    return [
        _of_devices("Energy", "Energy of the last shot measured.", "shotwatch_energy_joules", "joule"),
        _of_devices(
            "Beam width, major",
            "D4σ of the last shot measured, in pixels.",
            "shotwatch_beam_size_major_pixels",
        ),
        _of_devices(
            "Beam width, minor",
            "D4σ of the last shot measured, in pixels.",
            "shotwatch_beam_size_minor_pixels",
        ),
        _of_devices(
            "Pointing, column",
            "Distance from the camera's reference, in pixels.",
            "shotwatch_pointing_x_pixels",
        ),
        _of_devices(
            "Pointing, row", "Distance from the camera's reference, in pixels.", "shotwatch_pointing_y_pixels"
        ),
        graph(
            "Records",
            "Records per second, by kind of device and verdict: valid, or the reason of the refusal.",
            range_of(rate("shotwatch_records_total", "kind, verdict", PLACE), "{{kind}} {{verdict}}"),
            span=8,
        ),
    ]


def _of_devices(title: str, why: str, metric: str, unit: str = "short") -> Shown:
    newest = range_of(f"max by (device) ({metric}{{{PLACE}}})", "{{device}}")
    return graph(title, why, newest, unit=unit, span=8)


def _reported() -> list[Shown]:
    return [
        rows(
            "Events of the last day",
            "Events by kind, severity and phase.",
            rows_of(f"round({counted('shotwatch_events_total', 'kind, severity, phase', '1d', PLACE)})"),
            span=24,
        ),
        log_lines(
            "Events",
            "Log lines of events. To see the trace of one, open its line, then `trace`.",
            '{service_name=~".+"} | event = "anomaly" | shot =~ "$place-.+"',
        ),
    ]
