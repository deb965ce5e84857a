"""Common elements of panels: data sources, sizes, thresholds."""

from collections.abc import Sequence
from typing import Literal, TypeVar

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    logs,
    loki,
    nodegraph,
    prometheus,
    stat,
    table,
    tempo,
    timeseries,
)
from grafana_foundation_sdk.builders import dashboard as board
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    DataSourceRef,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    TooltipDisplayMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataTransformerConfig,
    Panel,
    Threshold,
    ThresholdsMode,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from grafana_foundation_sdk.models.tempo import SearchTableType

PROMETHEUS = DataSourceRef(type_val="prometheus", uid="prometheus")
TEMPO = DataSourceRef(type_val="tempo", uid="tempo")
LOKI = DataSourceRef(type_val="loki", uid="loki")
TAG = "shotwatch"
HEIGHT = 8

Shown = Builder[Panel]
"""The type of panels in dashboards."""
Query = prometheus.Dataquery | tempo.Dataquery | loki.Dataquery
Size = Literal[4, 6, 8, 12, 24]
AnyPanel = TypeVar(
    "AnyPanel", timeseries.Panel, stat.Panel, bargauge.Panel, table.Panel, logs.Panel, nodegraph.Panel
)


def dashboard(uid: str, title: str, what: str) -> board.Dashboard:
    """Return an empty dashboard with links to the others."""
    others = board.DashboardLink("shotwatch").type(DashboardLinkType.DASHBOARDS).tags([TAG]).keep_time(True)
    return (
        board.Dashboard(f"shotwatch: {title}")
        .uid(f"shotwatch-{uid}")
        .description(what)
        .tags([TAG])
        .time("now-1h", "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .readonly()
        .link(others)
    )


def range_of(expr: str, legend: str, exemplars: bool = False) -> prometheus.Dataquery:
    """Return a query for values over the shown time, with dots that link to traces if `exemplars` is set."""
    return (
        prometheus.Dataquery()
        .datasource(PROMETHEUS)
        .expr(expr)
        .range()
        .legend_format(legend)
        .exemplar(exemplars)
    )


def now_of(expr: str, legend: str = "") -> prometheus.Dataquery:
    """Return a query for the current values."""
    return prometheus.Dataquery().datasource(PROMETHEUS).expr(expr).instant().legend_format(legend)


def rows_of(expr: str) -> prometheus.Dataquery:
    """Return a query for the current values, one row each."""
    return now_of(expr).format(PromQueryFormat.TABLE)


def traces_of(query: str) -> tempo.Dataquery:
    """Return the traces that a TraceQL query finds, or one trace by its id."""
    return (
        tempo.Dataquery()
        .datasource(TEMPO)
        .query_type("traceql")
        .query(query)
        .limit(50)
        .table_type(SearchTableType.TRACES)
    )


def services_graph() -> tempo.Dataquery:
    return tempo.Dataquery().datasource(TEMPO).query_type("serviceMap")


def lines_of(query: str) -> loki.Dataquery:
    return loki.Dataquery().datasource(LOKI).expr(query).query_type("range")


def graph(title: str, why: str, *queries: Query, unit: str = "short", span: Size = 12) -> timeseries.Panel:
    legend = common.VizLegendOptions().show_legend(True).display_mode(LegendDisplayMode.LIST)
    tooltip = common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
    panel = timeseries.Panel().unit(unit).axis_soft_min(0).fill_opacity(5)
    panel = panel.legend(legend.placement(LegendPlacement.BOTTOM)).tooltip(tooltip)
    return _placed(panel, title, why, queries, span)


def number(title: str, why: str, query: Query, unit: str = "short", span: Size = 4) -> stat.Panel:
    panel = stat.Panel().unit(unit).color_mode(BigValueColorMode.BACKGROUND).no_value("none")
    return _placed(panel, title, why, [query], span).height(4)


def bars(title: str, why: str, query: Query, unit: str, span: Size = 8) -> bargauge.Panel:
    panel = bargauge.Panel().unit(unit).min(0).orientation(VizOrientation.HORIZONTAL)
    return _placed(panel, title, why, [query], span)


def rows(title: str, why: str, query: Query, hidden: Sequence[str] = (), span: Size = 12) -> table.Panel:
    leave_out = dict.fromkeys(("Time", "__name__", "instance", *hidden), True)
    options = {"excludeByName": leave_out, "renameByName": {}, "indexByName": {}}
    panel = table.Panel().with_transformation(DataTransformerConfig(id_val="organize", options=options))
    return _placed(panel, title, why, [query], span)


def found_traces(title: str, why: str, query: str, span: Size = 12) -> table.Panel:
    return _placed(table.Panel(), title, why, [traces_of(query)], span)


def one_trace(title: str, why: str, query: str) -> board.Panel:
    """Return a panel with a trace and all its spans."""
    shown = board.Panel().type("traces").title(title).description(why).datasource(TEMPO)
    return shown.with_target(traces_of(query)).span(24).height(14)


def service_graph(title: str, why: str) -> nodegraph.Panel:
    return _placed(nodegraph.Panel(), title, why, [services_graph()], 12).height(12)


def log_lines(title: str, why: str, query: str) -> logs.Panel:
    panel = logs.Panel().show_time(True).enable_log_details(True)
    return _placed(panel, title, why, [lines_of(query)], 24)


def bad_above(limit: float) -> board.ThresholdsConfig:
    return _steps(("green", None), ("red", limit))


def lines_at(panel: timeseries.Panel, limit: float) -> timeseries.Panel:
    """Return the graph with its objective as a dashed line."""
    dashed = common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED)
    return panel.thresholds(bad_above(limit)).thresholds_style(dashed)


def choice(name: str, label: str, values_of: str) -> board.QueryVariable:
    """Return a variable with the values of a label."""
    return (
        board.QueryVariable(name)
        .label(label)
        .datasource(PROMETHEUS)
        .query(f"label_values({values_of})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )


def field(name: str, label: str, value: str, why: str) -> board.TextBoxVariable:
    """Return a variable that users type."""
    return board.TextBoxVariable(name).label(label).default_value(value).description(why)


def _steps(*steps: tuple[str, float | None]) -> board.ThresholdsConfig:
    thresholds = [Threshold(color=color, value=value) for color, value in steps]
    return board.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(thresholds)


def _placed(panel: AnyPanel, title: str, why: str, queries: Sequence[Query], span: Size) -> AnyPanel:
    panel = panel.title(title).description(why).span(span).height(HEIGHT)
    for letter, query in zip("ABCDEF", queries, strict=False):
        panel = panel.with_target(query.ref_id(letter))
    return panel
