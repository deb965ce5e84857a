"""Incidents: notify once of an anomaly that lasts, again when it gets worse, and when it is over.

An incident is one kind of anomaly at one place, from its first shot to its last. It is over when enough time
has passed without another shot that shows it. An intermittent fault is therefore one incident as well.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from shotwatch_detector.finding import Finding
from shotwatch_shots.incidents import REMEMBERED, Incident, Incidents
from shotwatch_shots.vocabulary import AnomalyKind, Phase, Severity

QUIET_MS = 10_000
QUIET_PULSES = 5
"""Time without an observation after which an incident is over: QUIET_MS or QUIET_PULSES, the longer one."""
REMIND_MS = 60_000
"""Period of the notifications of an incident that lasts, in ms."""

_SEVERITIES = tuple(Severity)


@dataclass(frozen=True, slots=True)
class Sighting:
    """A finding in a shot."""

    time: int
    """Time of the pulse, epoch ms."""
    event_id: str
    """The id of an event about this shot, kind and revision."""
    finding: Finding


@dataclass(frozen=True, slots=True)
class Telling:
    """A notification about an incident."""

    phase: Phase
    condition: Incident
    sighting: Sighting | None
    """The shot that shows the incident best; None if the incident is over."""


def quiet_ms(period_ms: int) -> int:
    """Return the time without an observation after which an incident is over, in ms."""
    return max(QUIET_MS, QUIET_PULSES * period_ms)


def follow(
    watch: Incidents, sightings: Iterable[Sighting], last: int, quiet: int
) -> tuple[Incidents, list[Telling]]:
    """Update the incidents with a batch of shots, and return one notification per incident, in order of time.

    Args:
        watch: the incidents before the batch.
        sightings: the batch's observations, in any order.
        last: the batch's last pulse, epoch ms.
        quiet: time without an observation after which an incident is over, in ms.
    """
    seen: dict[AnomalyKind, list[Sighting]] = {kind: [] for kind in watch.open}
    for sighting in sorted(sightings, key=lambda sighting: sighting.time):
        seen.setdefault(sighting.finding.kind, []).append(sighting)
    told: list[Telling] = []
    for kind, of_kind in seen.items():
        for episode in _episodes(of_kind, quiet):
            watch, more = _admit(watch, kind, episode, quiet)
            told = _with(told, more)
        watch, more = _close(watch, kind, last, quiet)
        told = _with(told, more)
    return watch, sorted(told, key=lambda telling: telling.condition.since)


def _episodes(sightings: Sequence[Sighting], quiet: int) -> Iterator[Sequence[Sighting]]:
    """Yield the observations in groups without a pause longer than `quiet`."""
    pauses = [n for n, (one, other) in enumerate(pairwise(sightings), 1) if other.time - one.time > quiet]
    for start, end in pairwise([0, *pauses, len(sightings)]):
        if start < end:
            yield sightings[start:end]


def _admit(
    watch: Incidents, kind: AnomalyKind, episode: Sequence[Sighting], quiet: int
) -> tuple[Incidents, list[Telling]]:
    """Add an episode to the incident that it belongs to, or open a new incident."""
    first, last = episode[0].time, episode[-1].time
    # Shots of an incident that is over, judged late or again: it was reported already.
    if any(old.kind is kind and _touches(old, first, last, quiet) for old in watch.over):
        return watch, []
    condition = watch.open.get(kind)
    if condition is not None and _touches(condition, first, last, quiet):
        return _prolonged(watch, condition, episode)
    made = Telling(Phase.OPENED, _condition_of(episode), _worst(episode))
    # An episode long before the open incident: it is over already.
    if condition is not None and last < condition.since:
        return _over(watch, made.condition), [replace(made, phase=Phase.PASSED)]
    watch, told = _close(watch, kind, first, quiet)
    return replace(watch, open={**watch.open, kind: made.condition}), [*told, made]


def _touches(condition: Incident, first: int, last: int, quiet: int) -> bool:
    return first <= condition.until + quiet and last >= condition.since - quiet


def _condition_of(episode: Sequence[Sighting]) -> Incident:
    worst = _worst(episode)
    return Incident(
        id=worst.event_id,
        kind=worst.finding.kind,
        since=episode[0].time,
        until=episode[-1].time,
        shots=len(episode),
        severity=worst.finding.severity,
        devices=_devices((), episode),
        told_at=episode[-1].time,
    )


def _prolonged(
    watch: Incidents, condition: Incident, episode: Sequence[Sighting]
) -> tuple[Incidents, list[Telling]]:
    """Add shots to an incident.

    Notify if it got worse, affects more devices, or the last notification was long ago.
    """
    worst = _worst(episode)
    last = max(condition.until, episode[-1].time)
    worse = _SEVERITIES.index(worst.finding.severity) > _SEVERITIES.index(condition.severity)
    devices = _devices(condition.devices, episode)
    to_tell = worse or devices != condition.devices or last - condition.told_at >= REMIND_MS
    condition = replace(
        condition,
        since=min(condition.since, episode[0].time),
        until=last,
        shots=condition.shots + len(episode),
        severity=worst.finding.severity if worse else condition.severity,
        devices=devices,
        told_at=last if to_tell else condition.told_at,
    )
    watch = replace(watch, open={**watch.open, condition.kind: condition})
    return watch, [Telling(Phase.UPDATED, condition, worst)] if to_tell else []


def _close(watch: Incidents, kind: AnomalyKind, now: int, quiet: int) -> tuple[Incidents, list[Telling]]:
    condition = watch.open.get(kind)
    if condition is None or now - condition.until <= quiet:
        return watch, []
    return _over(watch, condition), [Telling(Phase.CLOSED, condition, None)]


def _over(watch: Incidents, condition: Incident) -> Incidents:
    still_open = {kind: each for kind, each in watch.open.items() if each.id != condition.id}
    return Incidents(still_open, (*watch.over, condition)[-REMEMBERED:])


def _with(told: Sequence[Telling], more: Sequence[Telling]) -> list[Telling]:
    """Return the notifications, combined into one per incident."""
    by_condition = {telling.condition.id: telling for telling in told}
    for telling in more:
        before = by_condition.get(telling.condition.id)
        by_condition[telling.condition.id] = telling if before is None else _joined(before, telling)
    return list(by_condition.values())


def _joined(before: Telling, after: Telling) -> Telling:
    """Combine two notifications; an incident that opened and closed in one batch has passed."""
    phase = Phase.PASSED if (before.phase, after.phase) == (Phase.OPENED, Phase.CLOSED) else after.phase
    return Telling(phase, after.condition, after.sighting or before.sighting)


def _worst(episode: Sequence[Sighting]) -> Sighting:
    """Return the observation with the highest severity, then the highest score, then the earliest time."""
    return max(
        episode, key=lambda sighting: (_SEVERITIES.index(sighting.finding.severity), sighting.finding.score)
    )


def _devices(known: tuple[str, ...], episode: Sequence[Sighting]) -> tuple[str, ...]:
    more = (device for sighting in episode for device in sighting.finding.devices)
    return tuple(dict.fromkeys((*known, *more)))
