"""The judgement of a model on a batch whose features and scores are known."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from shotwatch_detector.arrays import Features
from shotwatch_detector.decision import Judgement
from shotwatch_detector.detector import Detector
from shotwatch_detector.finding import Finding
from shotwatch_shots.batch import ShotBatch
from shotwatch_shots.vocabulary import AnomalyKind


def judge_batch(
    batch: ShotBatch, features: Mapping[str, Features], detector: Detector, false_alarms_per_hour: float
) -> Judgement:
    """Judge the shots of a batch by their features and scores."""
    return detector.judge(batch.series.place.spoken, features, len(batch.pulses), false_alarms_per_hour)


def kinds_of(findings: Iterable[Finding]) -> dict[int, Sequence[AnomalyKind]]:
    """Return shot → the kinds of its findings."""
    kinds: dict[int, set[AnomalyKind]] = defaultdict(set)
    for finding in findings:
        kinds[finding.shot].add(finding.kind)
    return {shot: sorted(of_shot) for shot, of_shot in kinds.items()}
