"""Conditions: what is odd and lasts is told once, again when it gets worse, and when it is over.

A condition is one kind of anomaly at one place, from its first shot to its last. It is over once a while has
passed without another shot that shows it; so a fault that comes and goes is one condition, too.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from shotwatch_detector.finding import Finding
from shotwatch_shots.vocabulary import AnomalyKind, Phase, Severity

QUIET_MS = 10_000
QUIET_PULSES = 5
"""A condition is over after so long without it, whichever is longer."""
REMIND_MS = 60_000
"""A condition that lasts is told again so often."""

_SEVERITIES = tuple(Severity)


@dataclass(frozen=True, slots=True)
class Condition:
    """One kind of anomaly that lasts. Times are those of pulses, epoch ms."""

    id: str
    """The id of the event that opened it."""
    kind: AnomalyKind
    since: int
    until: int
    """The last shot that shows it, so far."""
    shots: int
    severity: Severity
    devices: tuple[str, ...]
    told_at: int
    """The last shot when it was told of."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A finding in a shot."""

    time: int
    """Of the pulse, epoch ms."""
    event_id: str
    """Which an event of this shot, kind and revision has."""
    finding: Finding


@dataclass(frozen=True, slots=True)
class Telling:
    """Something to tell of a condition."""

    phase: Phase
    condition: Condition
    sighting: Sighting | None
    """The shot that shows it best; None when it is over."""


@dataclass(frozen=True, slots=True)
class Watch:
    """The conditions of a place: those that last, and some that are over."""

    open: Mapping[AnomalyKind, Condition]
    over: tuple[Condition, ...] = ()
    """The last few, so that shots that are judged late or again are not told as something new."""

    def without(self, withdrawn: Collection[str]) -> "Watch":
        """The watch without conditions that were none after all, so that they hide nothing new."""
        still_open = {kind: each for kind, each in self.open.items() if each.id not in withdrawn}
        return Watch(still_open, tuple(each for each in self.over if each.id not in withdrawn))


REMEMBERED = 50


def quiet_ms(period_ms: int) -> int:
    """How long a condition of a place with this pulse period may be out of sight."""
    return max(QUIET_MS, QUIET_PULSES * period_ms)


def follow(watch: Watch, sightings: Iterable[Sighting], last: int, quiet: int) -> tuple[Watch, list[Telling]]:
    """What a batch of shots changes, and what is to be told of it: once per condition, in the order of time.

    Args:
        watch: before the batch.
        sightings: of the batch, in any order.
        last: the batch's last pulse, epoch ms.
        quiet: ms.
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
    """The sightings with no long pause between them."""
    pauses = [n for n, (one, other) in enumerate(pairwise(sightings), 1) if other.time - one.time > quiet]
    for start, end in pairwise([0, *pauses, len(sightings)]):
        if start < end:
            yield sightings[start:end]


def _admit(
    watch: Watch, kind: AnomalyKind, episode: Sequence[Sighting], quiet: int
) -> tuple[Watch, list[Telling]]:
    """Join an episode to the condition that it belongs to, or make one of it."""
    first, last = episode[0].time, episode[-1].time
    if any(old.kind is kind and _touches(old, first, last, quiet) for old in watch.over):
        return watch, []
    condition = watch.open.get(kind)
    if condition is not None and _touches(condition, first, last, quiet):
        return _prolonged(watch, condition, episode)
    made = Telling(Phase.OPENED, _condition_of(episode), _worst(episode))
    if condition is not None and last < condition.since:
        return _over(watch, made.condition), [replace(made, phase=Phase.PASSED)]
    watch, told = _close(watch, kind, first, quiet)
    return replace(watch, open={**watch.open, kind: made.condition}), [*told, made]


def _touches(condition: Condition, first: int, last: int, quiet: int) -> bool:
    return first <= condition.until + quiet and last >= condition.since - quiet


def _condition_of(episode: Sequence[Sighting]) -> Condition:
    worst = _worst(episode)
    return Condition(
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
    watch: Watch, condition: Condition, episode: Sequence[Sighting]
) -> tuple[Watch, list[Telling]]:
    """More shots; told when it got worse, shows on more devices, or the last telling is long ago."""
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


def _close(watch: Watch, kind: AnomalyKind, now: int, quiet: int) -> tuple[Watch, list[Telling]]:
    condition = watch.open.get(kind)
    if condition is None or now - condition.until <= quiet:
        return watch, []
    return _over(watch, condition), [Telling(Phase.CLOSED, condition, None)]


def _over(watch: Watch, condition: Condition) -> Watch:
    still_open = {kind: each for kind, each in watch.open.items() if each.id != condition.id}
    return Watch(still_open, (*watch.over, condition)[-REMEMBERED:])


def _with(told: Sequence[Telling], more: Sequence[Telling]) -> list[Telling]:
    """The tellings, of each condition only one: what it came to."""
    by_condition = {telling.condition.id: telling for telling in told}
    for telling in more:
        before = by_condition.get(telling.condition.id)
        by_condition[telling.condition.id] = telling if before is None else _joined(before, telling)
    return list(by_condition.values())


def _joined(before: Telling, after: Telling) -> Telling:
    """A condition that opened and closed in one batch has passed."""
    phase = Phase.PASSED if (before.phase, after.phase) == (Phase.OPENED, Phase.CLOSED) else after.phase
    return Telling(phase, after.condition, after.sighting or before.sighting)


def _worst(episode: Sequence[Sighting]) -> Sighting:
    """The gravest, of these the oddest, of these the first."""
    return max(
        episode, key=lambda sighting: (_SEVERITIES.index(sighting.finding.severity), sighting.finding.score)
    )


def _devices(known: tuple[str, ...], episode: Sequence[Sighting]) -> tuple[str, ...]:
    more = (device for sighting in episode for device in sighting.finding.devices)
    return tuple(dict.fromkeys((*known, *more)))
