"""Anomalies as arguments of the command line: `hot_spot`, `hot_spot:0.1`, `gross`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shotwatch_cli.failures import Failure, Misuse
from shotwatch_shots.facility import ExpectedDevices, Facility
from shotwatch_simulator.anomalies import GROSS, Injection, Kind
from shotwatch_simulator.injections import plan_injections

ALL_GROSS = "gross"


@dataclass(frozen=True, slots=True)
class InjectionRequest:
    """A requested anomaly; without a severity it has the default one of its kind."""

    kind: Kind
    severity: float | None = None


def read_wanted(words: Sequence[str]) -> list[InjectionRequest]:
    """Parse the arguments.

    Raises:
        Misuse: an argument names no kind, or has no number after its colon.
    """
    return [wanted for word in words for wanted in _read(word)]


def planned(
    facility: Facility,
    all_expected: Sequence[ExpectedDevices],
    start: datetime,
    duration: timedelta,
    seed: int,
    wanted: Sequence[InjectionRequest],
) -> tuple[Injection, ...]:
    """Return each requested anomaly once, at a random place and time.

    Raises:
        Failure: there is no room for all of them.
    """
    kinds = [each.kind for each in wanted]
    try:
        injections = plan_injections(facility, all_expected, start, duration, seed=seed, kinds=kinds)
    except ValueError as error:
        raise Failure(str(error), "give it more --minutes or more --places") from error
    severities = {kind: [each.severity for each in wanted if each.kind is kind] for kind in kinds}
    return tuple(_with_severity(injection, severities[injection.kind].pop()) for injection in injections)


def _with_severity(injection: Injection, severity: float | None) -> Injection:
    return injection if severity is None else replace(injection, severity=severity)


def _read(word: str) -> Iterator[InjectionRequest]:
    name, colon, number = word.partition(":")
    if name == ALL_GROSS and not colon:
        yield from map(InjectionRequest, GROSS)
        return
    try:
        yield InjectionRequest(Kind(name), float(number) if colon else None)
    except ValueError as error:
        kinds = ", ".join(Kind)
        raise Misuse(
            f"{word} is not an anomaly",
            f"write KIND or KIND:SEVERITY, or {ALL_GROSS}; KIND is one of {kinds}",
        ) from error
