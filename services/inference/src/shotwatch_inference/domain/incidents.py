"""Incidents: notify once of an anomaly that lasts, again when it gets worse, and when it is over.

An incident is one kind of anomaly at one place, from its first shot to its last. It is over when enough time
has passed without another shot that shows it. An intermittent fault is therefore one incident as well.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise

from shotwatch_detector.finding import Finding
from shotwatch_shots.incidents import REMEMBERED, Incident, Incidents
from shotwatch_shots.vocabulary import AnomalyKind, Phase, Severity

QUIET_MS = 10_000
QUIET_PULSES = 5
"""Time without an observation after which an incident is over: QUIET_MS or QUIET_PULSES, the longer one."""
REMIND_MS = 60_000
"""Period of the notifications of an incident that lasts, in ms."""
MOST_DEVICES = 256
"""Maximum number of devices of an incident; the first are kept.

All incidents of a place are one document, and the names of devices that the facility file does not list come
from files. An incident that lasts would collect them without end.
"""

_SEVERITIES = tuple(Severity)


@dataclass(frozen=True, slots=True)
class Observation:
    """A finding in a shot."""

    time: int
    """Time of the pulse, epoch ms."""
    event_id: str
    """The id of an event about this shot, kind and revision."""
    finding: Finding


@dataclass(frozen=True, slots=True)
class Notification:
    """A notification about an incident."""

    phase: Phase
    incident: Incident
    observation: Observation | None
    """The shot that shows the incident best; None if the incident is over."""


def quiet_ms(period_ms: int) -> int:
    """Return the time without an observation after which an incident is over, in ms."""
    return max(QUIET_MS, QUIET_PULSES * period_ms)


def follow(
    watch: Incidents, observations: Iterable[Observation], last: int, quiet: int
) -> tuple[Incidents, list[Notification]]:
    """Update the incidents with a batch of shots, and return one notification per incident, in order of time.

    Args:
        watch: the incidents before the batch.
        observations: those of the batch, in any order.
        last: the batch's last pulse, epoch ms.
        quiet: time without an observation after which an incident is over, in ms.
    """
    seen: dict[AnomalyKind, list[Observation]] = {kind: [] for kind in watch.open}
    for observation in sorted(observations, key=lambda observation: observation.time):
        seen.setdefault(observation.finding.kind, []).append(observation)
    notifications: list[Notification] = []
    for kind, of_kind in seen.items():
        for episode in _episodes(of_kind, quiet):
            watch, more = _admit(watch, kind, episode, quiet)
            notifications = _with(notifications, more)
        watch, more = _close(watch, kind, last, quiet)
        notifications = _with(notifications, more)
    return watch, sorted(notifications, key=lambda notification: notification.incident.since)


def _episodes(observations: Sequence[Observation], quiet: int) -> Iterator[Sequence[Observation]]:
    """Yield the observations in groups without a pause longer than `quiet`."""
    pauses = [n for n, (one, other) in enumerate(pairwise(observations), 1) if other.time - one.time > quiet]
    for start, end in pairwise([0, *pauses, len(observations)]):
        if start < end:
            yield observations[start:end]


def _admit(
    watch: Incidents, kind: AnomalyKind, episode: Sequence[Observation], quiet: int
) -> tuple[Incidents, list[Notification]]:
    """Add an episode to the incident that it belongs to, or open a new incident."""
    first, last = episode[0].time, episode[-1].time
    # Shots of an incident that is over, judged late or again: it was reported already.
    if any(old.kind is kind and _touches(old, first, last, quiet) for old in watch.over):
        return watch, []
    incident = watch.open.get(kind)
    if incident is not None and _touches(incident, first, last, quiet):
        return _prolonged(watch, incident, episode)
    made = Notification(Phase.OPENED, _incident_of(episode), _worst(episode))
    # An episode long before the open incident: it is over already.
    if incident is not None and last < incident.since:
        return _over(watch, made.incident), [replace(made, phase=Phase.PASSED)]
    watch, notifications = _close(watch, kind, first, quiet)
    return replace(watch, open={**watch.open, kind: made.incident}), [*notifications, made]


def _touches(incident: Incident, first: int, last: int, quiet: int) -> bool:
    return first <= incident.until + quiet and last >= incident.since - quiet


def _incident_of(episode: Sequence[Observation]) -> Incident:
    worst = _worst(episode)
    return Incident(
        id=worst.event_id,
        kind=worst.finding.kind,
        since=episode[0].time,
        until=episode[-1].time,
        shots=len(episode),
        severity=worst.finding.severity,
        devices=_devices((), episode),
        notified_at=episode[-1].time,
    )


def _prolonged(
    watch: Incidents, incident: Incident, episode: Sequence[Observation]
) -> tuple[Incidents, list[Notification]]:
    """Add shots to an incident.

    Notify if it got worse, affects more devices, or the last notification was long ago.
    """
    worst = _worst(episode)
    last = max(incident.until, episode[-1].time)
    worse = _SEVERITIES.index(worst.finding.severity) > _SEVERITIES.index(incident.severity)
    devices = _devices(incident.devices, episode)
    notify = worse or devices != incident.devices or last - incident.notified_at >= REMIND_MS
    incident = replace(
        incident,
        since=min(incident.since, episode[0].time),
        until=last,
        shots=incident.shots + len(episode),
        severity=worst.finding.severity if worse else incident.severity,
        devices=devices,
        notified_at=last if notify else incident.notified_at,
    )
    watch = replace(watch, open={**watch.open, incident.kind: incident})
    return watch, [Notification(Phase.UPDATED, incident, worst)] if notify else []


def _close(watch: Incidents, kind: AnomalyKind, now: int, quiet: int) -> tuple[Incidents, list[Notification]]:
    incident = watch.open.get(kind)
    if incident is None or now - incident.until <= quiet:
        return watch, []
    return _over(watch, incident), [Notification(Phase.CLOSED, incident, None)]


def _over(watch: Incidents, incident: Incident) -> Incidents:
    still_open = {kind: each for kind, each in watch.open.items() if each.id != incident.id}
    return Incidents(still_open, (*watch.over, incident)[-REMEMBERED:])


def _with(notifications: Sequence[Notification], more: Sequence[Notification]) -> list[Notification]:
    """Return the notifications, combined into one per incident."""
    by_incident = {notification.incident.id: notification for notification in notifications}
    for notification in more:
        before = by_incident.get(notification.incident.id)
        by_incident[notification.incident.id] = (
            notification if before is None else _joined(before, notification)
        )
    return list(by_incident.values())


def _joined(before: Notification, after: Notification) -> Notification:
    """Combine two notifications; an incident that opened and closed in one batch has passed."""
    phase = Phase.PASSED if (before.phase, after.phase) == (Phase.OPENED, Phase.CLOSED) else after.phase
    return Notification(phase, after.incident, after.observation or before.observation)


def _worst(episode: Sequence[Observation]) -> Observation:
    """Return the observation with the highest severity, then the strongest one, then the earliest one."""
    return max(
        episode,
        key=lambda observation: (
            _SEVERITIES.index(observation.finding.severity),
            observation.finding.strength,
        ),
    )


def _devices(known: tuple[str, ...], episode: Sequence[Observation]) -> tuple[str, ...]:
    more = (device for observation in episode for device in observation.finding.devices)
    return tuple(islice(dict.fromkeys((*known, *more)), MOST_DEVICES))
