"""The report of a run: tables in Markdown, all figures in JSON, recall over severity as a picture."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from matplotlib.figure import Figure

from shotwatch_benchmark.anomalies import BY_NAME
from shotwatch_benchmark.delays import BY_CHANGE, FOLLOWED_SHOTS, RUN_LENGTH
from shotwatch_benchmark.delays import MOST_OVER_SPECIALIST as MOST_SHOTS_OVER_SPECIALIST
from shotwatch_benchmark.metrics import ONE_AN_HOUR
from shotwatch_benchmark.results import MOST_OVER_SPECIALIST, BenchmarkResult, ScorerResult, found_at
from shotwatch_benchmark.scorers import DETECTOR

COLUMNS_OF_PLOTS = 3


@dataclass(frozen=True, slots=True)
class Table:
    """Figures for people; columns whose title ends in `#` hold numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """Return the table as Markdown, with its title above."""
        titles = [column.removesuffix("#") for column in self.columns]
        rule = ["---:" if column.endswith("#") else "---" for column in self.columns]
        lines = (f"| {' | '.join(cells)} |" for cells in (titles, rule, *self.rows))
        return "\n".join([f"## {self.title}", "", *lines, ""])


def write_report(outcome: BenchmarkResult, folder: Path) -> None:
    """Write report.md, report.json and recall.png into a folder, which is created."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(outcome.record(), indent=1), encoding="utf-8")
    (folder / "report.md").write_text(markdown(outcome), encoding="utf-8")
    plot_recalls(outcome, folder / "recall.png")


def markdown(outcome: BenchmarkResult) -> str:
    """Return the whole report as Markdown."""
    setup = [f"- {name}: {value}" for name, value in outcome.setup.items()]
    origins = [f"- {laser.laser}: {laser.origin}" for laser in outcome.lasers]
    text = "\n".join(["# Detection benchmark", "", *setup, *origins, *_remarks(outcome), ""])
    return "\n".join([text, *(table.markdown() for table in tables(outcome)), "![recall](recall.png)", ""])


def tables(outcome: BenchmarkResult) -> list[Table]:
    """Return the tables of the report."""
    return [
        _false_alarms(outcome),
        _targets(outcome),
        *(_recalls(outcome, laser.laser) for laser in outcome.lasers),
        *(_severities(outcome, laser.laser) for laser in outcome.lasers),
        *([_delays(outcome)] if outcome.delays else []),
        _comparisons(outcome),
        _scorers(outcome),
        _rules(outcome),
        _zero(outcome),
    ]


def plot_recalls(outcome: BenchmarkResult, path: Path) -> None:
    """Plot recall at one false alarm an hour over severity: one panel per class, one line per scorer."""
    anomalies = outcome.anomalies()
    rows = -(-len(anomalies) // COLUMNS_OF_PLOTS)
    figure = Figure(figsize=(5 * COLUMNS_OF_PLOTS, 3.2 * rows), layout="constrained")
    grid = figure.subplots(rows, COLUMNS_OF_PLOTS, squeeze=False).ravel()
    for axes, anomaly in zip(grid, anomalies, strict=False):
        for scorer in outcome.scorers():
            of = _of_class(outcome.of(scorer), anomaly)
            style = {"linewidth": 2.5, "color": "black"} if scorer == DETECTOR else {"linewidth": 1}
            axes.plot([row.severity for row in of], [row.recall for row in of], "o-", label=scorer, **style)
        axes.set(title=anomaly, xlabel=BY_NAME[anomaly].meaning, ylim=(-0.03, 1.03))
    for axes in grid[len(anomalies) :]:
        axes.set_axis_off()
    grid[0].set_ylabel("recall at one false alarm an hour")
    grid[0].legend(fontsize="x-small")
    figure.savefig(path, dpi=80)


def _remarks(outcome: BenchmarkResult) -> Iterator[str]:
    normals = outcome.lasers[0].false_alarms.normals
    if normals < 1 / ONE_AN_HOUR:
        yield f"- one alarm an hour is less than one in {normals} normals: recall is without any of them"
    if not outcome.of("report's autoencoder"):
        yield "- left out at this size: the report's autoencoder"
    yield "- one shot at a time; intervals resample the recorded frames that shots share"


def _false_alarms(outcome: BenchmarkResult) -> Table:
    rows = tuple(
        (
            laser.laser,
            "trained on earlier frames" if laser.trained_on else "never trained on, own calibration",
            str(laser.false_alarms.normals),
            str(laser.false_alarms.alarms),
            f"{laser.false_alarms.per_hour:.2f}",
            f"{laser.false_alarms.most_per_hour:.2f}",
        )
        for laser in outcome.lasers
    )
    columns = ("laser", "network", "normals#", "alarms#", "per hour#", "at most (95 %)#")
    return Table("False alarms at the detector's own threshold", columns, rows)


def _targets(outcome: BenchmarkResult) -> Table:
    rows = tuple(
        (
            found.anomaly,
            f"{found.target.severity:g}",
            f"{found.target.recall:.2f}",
            f"{found.recall:.3f}",
            f"{found.recall_at_own_threshold:.3f}",
            "yes" if found.met else "NO",
        )
        for found in outcome.targets
    )
    columns = ("class", "severity#", "wanted#", "recall at one an hour#", "at its own threshold#", "met")
    return Table("Targets", columns, rows)


def _recalls(outcome: BenchmarkResult, laser: str) -> Table:
    rows = tuple(
        _of_detector(anomaly, _of_class(outcome.of(DETECTOR, laser), anomaly))
        for anomaly in outcome.anomalies(laser)
    )
    columns = ("class", "severity: recall", "half found at#", "nine in ten at#")
    return Table(f"The detector on {laser}: recall at one false alarm an hour", columns, rows)


def _of_detector(anomaly: str, rows: Sequence[ScorerResult]) -> tuple[str, ...]:
    recalls = ", ".join(f"{row.severity:g}: {row.recall:.2f}" for row in rows if row.severity)
    return (
        f"{anomaly} ({BY_NAME[anomaly].meaning})",
        recalls,
        *(_severity(found_at(rows, at)) for at in (0.5, 0.9)),
    )


def _severities(outcome: BenchmarkResult, laser: str) -> Table:
    rows = tuple(
        (
            each.anomaly,
            _severity(each.detector),
            each.specialist,
            _severity(each.best),
            "" if each.ratio is None else f"{each.ratio:.2f}",
            "yes" if each.met else "NO",
        )
        for each in outcome.severities(laser)
    )
    columns = ("class", "detector#", "best specialist", "its#", "ratio#", f"at most {MOST_OVER_SPECIALIST:g}")
    return Table(f"Severity found half of the time on {laser}, at one false alarm an hour", columns, rows)


def _delays(outcome: BenchmarkResult) -> Table:
    rows = tuple(
        (
            f"{each.change} {'drift' if each.drift else 'step'} ({BY_CHANGE[each.change].meaning})",
            f"{each.size:g}",
            _shots(each.detector),
            each.specialist,
            _shots(each.best),
            "" if each.ratio is None else f"{each.ratio:.2f}",
            "yes" if each.met else "NO",
        )
        for each in outcome.delays
    )
    most = f"at most {MOST_SHOTS_OVER_SPECIALIST:g}"
    columns = ("change", "size#", "detector#", "best specialist", "its#", "ratio#", most)
    title = f"Median delay in shots, at one false alarm in {RUN_LENGTH:,} normal shots"
    return Table(f"{title}; a drift takes {FOLLOWED_SHOTS} shots", columns, rows)


def _shots(delay: float) -> str:
    return f"{delay:.0f}" if isfinite(delay) else "not found"


def _comparisons(outcome: BenchmarkResult) -> Table:
    rows = tuple(
        (
            each.anomaly,
            f"{each.detector:.3f}",
            each.baseline,
            f"{each.best:.3f}",
            _verdict(each.detector, each.best),
        )
        for each in outcome.comparisons
    )
    columns = ("class", "detector#", "best baseline", "its#", "detector is")
    return Table("Mean recall over all severities, at one false alarm an hour", columns, rows)


def _verdict(detector: float, best: float) -> str:
    return "ahead" if detector > best else "level" if detector == best else "BEHIND"


def _scorers(outcome: BenchmarkResult) -> Table:
    scorers = outcome.scorers()
    rows = tuple(
        (anomaly, *(f"{outcome.mean_recall(scorer, anomaly):.2f}" for scorer in scorers))
        for anomaly in outcome.anomalies()
    )
    return Table("The same, every scorer", ("class", *(f"{scorer}#" for scorer in scorers)), rows)


def _rules(outcome: BenchmarkResult) -> Table:
    rows = tuple(
        (rule.anomaly, str(rule.shots), f"{rule.found:.3f}", f"{rule.false:.3f}") for rule in outcome.rules
    )
    columns = ("class", "anomalous shots#", "found#", "false#")
    return Table("Found by rules (a corrupt file is refused by reading, not measured here)", columns, rows)


def _zero(outcome: BenchmarkResult) -> Table:
    zero = [row for row in outcome.rows if row.severity == 0]
    of_scorers = {
        scorer: [row.auroc.value for row in zero if row.scorer == scorer] for scorer in outcome.scorers()
    }
    rows = tuple((scorer, f"{min(of):.3f}", f"{max(of):.3f}") for scorer, of in of_scorers.items())
    columns = ("scorer", "lowest AUROC#", "highest#")
    return Table("Severity zero, all classes: 0.50 or the benchmark leaks", columns, rows)


def _of_class(rows: Sequence[ScorerResult], anomaly: str) -> list[ScorerResult]:
    return sorted((row for row in rows if row.anomaly == anomaly), key=lambda row: row.severity)


def _severity(value: float | None) -> str:
    return "never" if value is None else f"{value:.3g}"
