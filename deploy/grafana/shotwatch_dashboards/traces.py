"""Traces: where the time is spent, what failed, and the path of one object."""

from grafana_foundation_sdk.builders import dashboard as board

from shotwatch_dashboards.parts import Shown, field, found_traces, graph, one_trace, range_of, service_graph
from shotwatch_dashboards.parts import dashboard as empty_dashboard
from shotwatch_dashboards.promql import quantile

OURS = 'resource.service.name =~ "shotwatch-.+"'


def dashboard() -> board.Dashboard:
    shown = empty_dashboard("traces", "Traces", "Slow and failed traces, and the path of one object.")
    for variable in _variables():
        shown = shown.with_variable(variable)
    for panel in _panels():
        shown = shown.with_panel(panel)
    return shown


def _variables() -> list[board.TextBoxVariable]:
    return [
        field(
            "trace_id", "Trace", "", "The trace_id of an event, of a log line, or of `shotwatch dead list`."
        ),
        field("object", "Object", "", "A part of a file's name."),
        field("slow", "Slower than", "1s", "A duration: 500ms, 2s."),
    ]


def _panels() -> list[Shown]:
    return [
        found_traces(
            "Failed",
            "A stage dead-lettered a message, or retries it.",
            f"{{ {OURS} && status = error }}",
        ),
        found_traces(
            "Slow",
            "Duration of the whole trace, including pauses before a retry.",
            f"{{ {OURS} && traceDuration > $slow }}",
        ),
        found_traces(
            "The way of an object",
            "Traces of each version of the object.",
            '{ span.shotwatch.object =~ ".*$object.*" }',
        ),
        found_traces(
            "Files that were rejected",
            "Files that ingest could not read.",
            '{ span.shotwatch.state = "rejected" }',
        ),
        one_trace("The trace", "Enter a trace id above, or follow a link.", "$trace_id"),
        service_graph("Who sends to whom", "From the collector's service graph."),
        graph(
            "Spans, p99",
            "From the collector's span metrics; dots link to traces.",
            range_of(
                quantile(0.99, "traces_span_metrics_duration_milliseconds", "service_name, span_name"),
                "{{service_name}} {{span_name}}",
                exemplars=True,
            ),
            unit="ms",
        ).height(12),
    ]
