"""Thresholds that the past of a place has moved away from those of the model version, step by step."""

import math

from shotwatch_detector.thresholds import CHANGE_PER_DAY
from shotwatch_shots.models import ScoredHour
from shotwatch_shots.vocabulary import AnomalyKind, Severity

_ROUNDING = 1e-6


def steps_of(hour: ScoredHour) -> dict[AnomalyKind, int]:
    """Return by how many steps the threshold of each question that moved is above the fitted one, or below.

    A step is as much as a threshold may change in a day. So a change at that limit is at least one step a
    day, and a slower one cannot add up to a step without being reported.
    """
    ratios = {kind: own / hour.thresholds.fitted for kind, own in hour.thresholds.own.items()}
    steps = {
        kind: math.trunc(math.log(ratio) / math.log1p(CHANGE_PER_DAY) * (1 + _ROUNDING))
        for kind, ratio in ratios.items()
        if ratio > 0
    }
    return {kind: step for kind, step in steps.items() if step}


def severity_of_step(step: int) -> Severity:
    """Return the severity of a step: above the fitted threshold, anomalies must be larger to be found."""
    return Severity.WARNING if step > 0 else Severity.INFO


def why_moved(hour: ScoredHour, kind: AnomalyKind, place: str) -> str:
    """Return one sentence for the person on shift."""
    own, fitted = hour.thresholds.own[kind], hour.thresholds.fitted
    side, more = ("above", "more") if own > fitted else ("below", "less")
    question, percent = kind.replace("_", " "), round(100 * abs(own / fitted - 1))
    return (
        f"the threshold of {question} at {place} is {percent} % {side} that of model version {hour.model}: "
        f"normal shots deviate {more} than those that the version learned from"
    )
