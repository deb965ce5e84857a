"""The results of the benchmark, and the figures derived from them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from shotwatch_benchmark.anomalies import BY_NAME, Target
from shotwatch_benchmark.delays import DelayResult
from shotwatch_benchmark.metrics import RATES, Auroc, FalseAlarms, severity_found
from shotwatch_benchmark.rules import RuleResult
from shotwatch_benchmark.scorers import DETECTOR

MOST_OVER_SPECIALIST = 1.15
"""Largest severity that the detector may need, over that of the best specialist.

A detector that answers eight questions at the same total rate needs 1.11 times the severity, if each question
is as good as its specialist.
"""
ZERO_TOLERANCE = 0.03
"""Largest difference between 0.50 and the AUROC at severity zero."""


@dataclass(frozen=True, slots=True)
class ScorerResult:
    """The result of one scorer on one class at one severity."""

    laser: str
    anomaly: str
    severity: float
    scorer: str
    shots: int
    auroc: Auroc
    recalls: tuple[float, ...]
    """Recall at each of `RATES`."""
    recall_at_own_threshold: float | None
    """Recall of the detector at its own threshold; None for other scorers."""

    @property
    def recall(self) -> float:
        """Recall at one false alarm an hour."""
        return self.recalls[-1]


@dataclass(frozen=True, slots=True)
class LaserResult:
    """The detector's false alarms on one laser."""

    laser: str
    origin: str
    trained_on: bool
    """Whether the network saw earlier frames of it. Of another laser only references and thresholds were
    learned.
    """
    false_alarms: FalseAlarms


@dataclass(frozen=True, slots=True)
class TargetResult:
    """The detector's recall compared with a target, at the threshold of one false alarm an hour."""

    anomaly: str
    target: Target
    recall: float
    recall_at_own_threshold: float

    @property
    def met(self) -> bool:
        return self.recall >= self.target.recall


@dataclass(frozen=True, slots=True)
class BaselineComparison:
    """The detector compared with the best baseline for a class: mean recall over its severities."""

    anomaly: str
    detector: float
    baseline: str
    best: float


@dataclass(frozen=True, slots=True)
class SeverityComparison:
    """The severities of a class of which the detector and the best specialist find half."""

    anomaly: str
    detector: float | None
    """None: half of them are found at no severity."""
    specialist: str
    best: float | None

    @property
    def ratio(self) -> float | None:
        """The detector's over the specialist's; None if either of them never finds half."""
        return None if self.detector is None or self.best is None else self.detector / self.best

    @property
    def met(self) -> bool:
        """Whether no specialist is further ahead than the split over questions costs."""
        return self.best is None or (self.ratio is not None and self.ratio <= MOST_OVER_SPECIALIST)


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """All figures of a run."""

    setup: Mapping[str, str | int]
    lasers: tuple[LaserResult, ...]
    """The first is the laser that the network was trained on."""
    rows: tuple[ScorerResult, ...]
    rules: tuple[RuleResult, ...]
    delays: tuple[DelayResult, ...] = ()
    """On the first laser; empty if they were left out."""

    @property
    def leaks(self) -> list[ScorerResult]:
        """Rows of severity zero that differ from normal shots. If there are any, the benchmark is wrong."""
        return [row for row in self.rows if row.severity == 0 and abs(row.auroc.value - 0.5) > ZERO_TOLERANCE]

    @property
    def targets(self) -> list[TargetResult]:
        """The targets of the first laser."""
        found = ((row, BY_NAME[row.anomaly].target) for row in self.of(DETECTOR))
        return [
            TargetResult(row.anomaly, target, row.recall, row.recall_at_own_threshold or 0.0)
            for row, target in found
            if target and row.severity == target.severity
        ]

    @property
    def comparisons(self) -> list[BaselineComparison]:
        """The comparisons for the first laser, by class."""
        return [self._compared(anomaly) for anomaly in self.anomalies()]

    def severities(self, laser: str) -> list[SeverityComparison]:
        """Return the severities found half of the time on a laser, by class."""
        return [self._severities(laser, anomaly) for anomaly in self.anomalies(laser)]

    def anomalies(self, laser: str | None = None) -> list[str]:
        """Return the classes that were tried on a laser, the first laser by default."""
        return list(dict.fromkeys(row.anomaly for row in self.of(DETECTOR, laser)))

    def scorers(self) -> list[str]:
        """Return the names of the scorers, the detector first."""
        return list(dict.fromkeys(row.scorer for row in self.rows))

    def of(self, scorer: str, laser: str | None = None) -> list[ScorerResult]:
        """Return a scorer's rows of a laser, the first laser by default."""
        wanted = laser or self.lasers[0].laser
        return [row for row in self.rows if row.scorer == scorer and row.laser == wanted]

    def mean_recall(self, scorer: str, anomaly: str) -> float:
        """Return the mean recall at one false alarm an hour over all severities above zero (first laser)."""
        recalls = [row.recall for row in self.of(scorer) if row.anomaly == anomaly and row.severity > 0]
        return sum(recalls) / len(recalls)

    def figures(self) -> dict[str, float]:
        """Return the figures to compare models by, on the first laser.

        They are the recall at one false alarm an hour, and the alarms at the detector's own threshold.
        """
        alarms = self.lasers[0].false_alarms
        recalls = {
            f"benchmark/{row.anomaly.replace(' ', '_')}/{row.severity:g}": row.recall
            for row in self.of(DETECTOR)
            if row.severity > 0
        }
        return {"benchmark/normals": alarms.normals, "benchmark/alarms": alarms.alarms, **recalls}

    def record(self) -> dict[str, object]:
        """Return all results as JSON."""
        return {
            "setup": self.setup,
            "false_positive_rates": list(RATES),
            "lasers": [_of_laser(laser) for laser in self.lasers],
            "targets": [asdict(target) | {"met": target.met} for target in self.targets],
            "severities": {
                laser.laser: [
                    asdict(each) | {"ratio": each.ratio, "met": each.met}
                    for each in self.severities(laser.laser)
                ]
                for laser in self.lasers
            },
            "comparisons": [asdict(comparison) for comparison in self.comparisons],
            "leaks": [asdict(row) for row in self.leaks],
            "rules": [asdict(rule) for rule in self.rules],
            "delays": [asdict(each) | {"ratio": each.ratio, "met": each.met} for each in self.delays],
            "rows": [asdict(row) for row in self.rows],
        }

    def _severities(self, laser: str, anomaly: str) -> SeverityComparison:
        at = {
            scorer: found_at([row for row in self.of(scorer, laser) if row.anomaly == anomaly], 0.5)
            for scorer in self.scorers()
        }
        own = at.pop(DETECTOR)
        found = {scorer: severity for scorer, severity in at.items() if severity is not None}
        best = min(found, key=found.__getitem__, default="none")
        return SeverityComparison(anomaly, own, best, found.get(best))

    def _compared(self, anomaly: str) -> BaselineComparison:
        others = {name: self.mean_recall(name, anomaly) for name in self.scorers() if name != DETECTOR}
        best = max(others, key=others.__getitem__)
        return BaselineComparison(anomaly, self.mean_recall(DETECTOR, anomaly), best, others[best])


def found_at(rows: Sequence[ScorerResult], share: float) -> float | None:
    """Return the severity of which this share is found at one false alarm an hour, from a class's rows."""
    ordered = sorted(rows, key=lambda row: row.severity)
    return severity_found([row.severity for row in ordered], [row.recall for row in ordered], share)


def _of_laser(laser: LaserResult) -> dict[str, object]:
    alarms = laser.false_alarms
    return asdict(laser) | {"per_hour": alarms.per_hour, "at_most_per_hour": alarms.most_per_hour}
