"""Choose the place and time of anomalies, and label them."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from shotwatch_shots.facility import ExpectedDevices, Facility
from shotwatch_shots.pulses import shot_id
from shotwatch_simulator.anomalies import GROSS, TRAITS, Injection, Kind, anomalous_pulses
from shotwatch_simulator.files import SnapshotFile, recorders, snapshot_files
from shotwatch_simulator.labels import Label
from shotwatch_simulator.noise import generator

Spans = NDArray[np.int64]
"""First and last pulses (epoch ms): (n, 2)."""

Files = Sequence[SnapshotFile]

_MILLISECOND = timedelta(milliseconds=1)


def inject(
    facility: Facility,
    expected: ExpectedDevices,
    kind: Kind,
    pulse: int,
    *,
    device: str | None = None,
    count: int = 1,
    severity: float | None = None,
) -> Injection:
    """Return an anomaly at a place from `pulse` (epoch ms) on, by default with the severity of its kind.

    It affects `device` (a group name) if one is given. Otherwise it affects every device that can measure a
    property of the pulse, if the kind is one, or the first device that it can affect.

    Raises:
        ValueError: the kind cannot affect the device, or any device of the place.
    """
    trait = TRAITS[kind]
    able = able_devices(facility, expected, kind)
    if not able or (device is not None and device not in able):
        raise ValueError(f"{kind} cannot happen to {device or f'any device of {expected.place}'}")
    devices = able if trait.everywhere else able[:1]
    return Injection(
        kind=kind,
        place=expected.place,
        interval=facility.interval(expected.interval),
        devices=devices if device is None else (device,),
        pulse=pulse,
        count=count,
        severity=trait.severity if severity is None else severity,
    )


def able_devices(facility: Facility, expected: ExpectedDevices, kind: Kind) -> tuple[str, ...]:
    """Return the devices of a place that anomalies of this kind can affect."""
    target = TRAITS[kind].target
    return tuple(
        group for group in expected.devices if target is None or facility.device_type(group).kind is target
    )


def plan_injections(
    facility: Facility,
    all_expected: Sequence[ExpectedDevices],
    start: datetime,
    duration: timedelta,
    *,
    seed: int = 0,
    kinds: Sequence[Kind] = GROSS,
    each: int = 1,
) -> tuple[Injection, ...]:
    """Return `each` anomalies of each kind, at random places and times, never close together at one place.

    The files are one-minute files from `start` on. An anomaly of single shots is not at the first or last
    pulses of its file. So a missing record lies inside the file, and so does the frame that a frozen one
    repeats.

    Raises:
        ValueError: the time is too short for so many, or a kind can affect no device of the places.
    """
    rng = generator(seed, "plan", start.isoformat())
    kinds = sorted(
        rng.permutation(np.repeat(kinds, each)), key=lambda kind: not TRAITS[Kind(kind)].whole_file
    )
    gap = duration // (4 * max(len(kinds), 1)) // _MILLISECOND
    files = {expected: _files(facility, expected, start, duration) for expected in all_expected}
    planned: list[Injection] = []
    for kind in map(Kind, kinds):
        rooms = [
            (expected, free)
            for expected in all_expected
            if able_devices(facility, expected, kind)
            and len(free := _free(_candidates(files[expected], kind), expected, planned, gap))
        ]
        if not rooms:
            raise ValueError(f"no room for {kind} within {duration} at the places given")
        expected, free = rooms[rng.integers(len(rooms))]
        planned.append(_choose(facility, expected, kind, free, rng))
    return tuple(sorted(planned, key=lambda injection: injection.pulse))


def labels(injections: Iterable[Injection], files: Files) -> Iterator[Label]:
    """Yield the labels of the injections that the files contain; an injection outside the files has none."""
    for injection in injections:
        concerned = [file for file in files if file.group in injection.devices]
        anomalous = anomalous_pulses(injection)
        held = [file for file in concerned if np.isin(anomalous, file.pulses).any()]
        pulses = [pulse for pulse in anomalous.tolist() if any(pulse in file.pulses for file in held)]
        if pulses:
            yield Label(
                kind=injection.kind,
                expected=TRAITS[injection.kind].expected,
                severity=injection.severity,
                shots=tuple(shot_id(injection.series, pulse) for pulse in pulses),
                devices=injection.devices,
                files=tuple(file.name for file in held),
            )


def _files(facility: Facility, expected: ExpectedDevices, start: datetime, duration: timedelta) -> Files:
    """Return the files of one device of the place. Those of its other devices cover the same times."""
    return snapshot_files(recorders(facility, [expected])[:1], start, duration)


def _candidates(files: Files, kind: Kind) -> Spans:
    """Return the first and last pulses that an anomaly can have: (n, 2)."""
    if TRAITS[kind].whole_file:
        return np.array([file.pulses[[0, -1]] for file in files], np.int64).reshape(-1, 2)
    inner = [file.pulses[2:-1] for file in files]
    pulses = np.concatenate([np.empty(0, np.int64), *inner])
    return np.column_stack([pulses, pulses])


def _free(spans: Spans, expected: ExpectedDevices, planned: Iterable[Injection], gap: int) -> Spans:
    """Return the spans that are further than `gap` (ms) and two pulses from all injections at the place."""
    free = np.ones(len(spans), np.bool_)
    for injection in planned:
        if injection.place == expected.place:
            apart = max(gap, 2 * injection.interval.period_ms)
            free &= (spans[:, 0] > injection.pulses[-1] + apart) | (spans[:, 1] < injection.pulse - apart)
    return spans[free]


def _choose(
    facility: Facility, expected: ExpectedDevices, kind: Kind, spans: Spans, rng: np.random.Generator
) -> Injection:
    first, last = rng.choice(spans).tolist()
    count = 1 + (last - first) // facility.interval(expected.interval).period_ms
    device = None if TRAITS[kind].everywhere else str(rng.choice(able_devices(facility, expected, kind)))
    return inject(facility, expected, kind, first, device=device, count=count)
