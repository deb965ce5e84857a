"""Models: the versions in use, the drift of the beam since training, and the feedback on alarms."""

from grafana_foundation_sdk.builders import dashboard as board

from shotwatch_dashboards.beam import ALARMS
from shotwatch_dashboards.parts import Shown, bars, field, graph, lines_at, now_of, range_of, rows, rows_of
from shotwatch_dashboards.parts import dashboard as empty_dashboard
from shotwatch_dashboards.promql import counted

PLACE = "place"
OF_PLACE = "{{place}}"
SHOTS_PER_HOUR = 36_000
"""At 10 Hz. The place with most shots shows for how long the laser fired."""
MODEL_IS_WRONG = 4.0
"""Robust standard deviations from which the history service reports drift as a warning."""


def dashboard() -> board.Dashboard:
    shown = empty_dashboard("models", "Models", "Versions, drift, alarms against their budget, feedback.")
    budget = field(
        "budget",
        "False alarms an hour",
        "1",
        "Accepted in the whole facility: SHOTWATCH_FALSE_ALARMS_PER_HOUR.",
    )
    shown = shown.with_variable(budget).time("now-24h", "now")
    for panel in (*_versions(), *_alarms()):
        shown = shown.with_panel(panel)
    return shown


def _versions() -> list[Shown]:
    loaded = "time() - max by (alias) (shotwatch_model_loaded_timestamp_seconds)"
    drift = f"max by ({PLACE}, device) (shotwatch_drift)"
    return [
        rows(
            "Versions",
            "Versions in use under each alias, and the number of replicas.",
            rows_of("count by (alias, version, run) (shotwatch_model_info)"),
        ),
        bars(
            "Loaded",
            "Time since a replica last loaded a version.",
            now_of(loaded, "{{alias}}"),
            unit="s",
            span=12,
        ),
        lines_at(
            graph(
                "Drift",
                "Largest shift of a feature from the champion's training, in robust standard deviations.",
                range_of(drift, "{{device}}"),
            ),
            MODEL_IS_WRONG,
        ),
        bars(
            "Furthest off now",
            "Devices with the largest drift.",
            now_of(f"topk(10, {drift})", "{{device}}"),
            unit="short",
            span=12,
        ),
    ]


def _alarms() -> list[Shown]:
    alarms = counted("shotwatch_events_total", PLACE, "1h", ALARMS)
    judged = counted("shotwatch_shots_judged_total", PLACE, "1h")
    budget = f"$budget * max({judged}) / {SHOTS_PER_HOUR}"
    opinions = counted("shotwatch_opinions_total", "opinion", "1d")
    return [
        graph(
            "Alarms in an hour",
            "New incidents, true and false ones.",
            range_of(alarms, OF_PLACE),
        ),
        graph(
            "Budget of false alarms in an hour",
            "False alarms that the thresholds allow by chance in the whole facility while the laser fires.",
            range_of(budget, "facility"),
        ),
        graph(
            "Alarms by kind",
            "New incidents in an hour, at all places.",
            range_of(counted("shotwatch_events_total", "kind", "1h", ALARMS), "{{kind}}"),
        ),
        graph(
            "Snoozed",
            "Events in an hour that were stored and not published.",
            range_of(counted("shotwatch_snoozed_events_total", "kind", "1h"), "{{kind}}"),
        ),
        graph(
            "Feedback",
            "Feedback in a day, by opinion.",
            range_of(opinions, "{{opinion}}"),
            span=24,
        ),
    ]
