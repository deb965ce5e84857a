"""The severity of an anomaly: how soon an operator should react. This is the whole policy:

- critical: what can damage optics: a hot spot, a spectrum that got narrower, or an energy that is too high by
  at least twice the threshold; and a device that reports a fault;
- warning: every other deviation of twice its threshold, any change of energy, and data that is missing,
  black, frozen, saturated or in disagreement;
- info: a deviation of less than twice its threshold, and a record that could not be used.
"""

from shotwatch_shots.vocabulary import AnomalyKind, Severity

CLEAR = 2.0
"""A score of this many thresholds is beyond doubt."""

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


def severity_of_deviation(kind: AnomalyKind, exceedance: float, rises: bool) -> Severity:
    """Return the severity of a deviation of `exceedance` thresholds, upwards if it `rises`."""
    clear = exceedance >= CLEAR
    if kind in (AnomalyKind.HOT_SPOT, AnomalyKind.BANDWIDTH):
        return Severity.CRITICAL
    if kind is AnomalyKind.ENERGY:
        return Severity.CRITICAL if rises and clear else Severity.WARNING
    return Severity.WARNING if clear else Severity.INFO
