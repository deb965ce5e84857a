"""The severity of an anomaly: how soon an operator should react. This is the whole policy:

- critical: what can damage optics, if it is large enough: a hot spot, a spectrum that got narrower, or an
  energy that is too high; and a device that reports a fault;
- warning: every other deviation that is large enough, and data that is missing, black, frozen, saturated or
  in disagreement;
- info: a smaller deviation, and a record that could not be used.

What is large enough is in `shotwatch_shots.features.severities`, in physical units.
"""

from shotwatch_shots.features.severities import SEVERITY_LIMITS
from shotwatch_shots.vocabulary import AnomalyKind, Severity

_OF_RULES = {
    AnomalyKind.DEVICE_STATE: Severity.CRITICAL,
    AnomalyKind.MISSING_MEMBER: Severity.WARNING,
    AnomalyKind.BLACK_FRAME: Severity.WARNING,
    AnomalyKind.FROZEN_FRAME: Severity.WARNING,
    AnomalyKind.SATURATED_FRAME: Severity.WARNING,
    AnomalyKind.ENERGY_DISAGREEMENT: Severity.WARNING,
    AnomalyKind.BAD_RECORD: Severity.INFO,
}

RULE_KINDS = frozenset(_OF_RULES)
"""Kinds of anomaly that rules find, not models."""


def severity_of_rule(kind: AnomalyKind) -> Severity:
    """Return the severity of an anomaly that a rule found.

    Raises:
        KeyError: no rule finds that kind.
    """
    return _OF_RULES[kind]


def severity_of_deviation(feature: str, size: float) -> Severity:
    """Return the severity of a deviation of this size (`size_of`).

    Raises:
        KeyError: the feature raises no alarms.
    """
    return SEVERITY_LIMITS[feature].severity_of(size)
