"""The levels of a series as they are stored: add a batch to them."""

from collections.abc import Collection, Mapping

import numpy as np

from shotwatch_detector.arrays import Features
from shotwatch_detector.columns import DeviceBaselines
from shotwatch_detector.finding import Finding
from shotwatch_detector.level_findings import findings_of_shifts, flagged_shots
from shotwatch_detector.level_states import StateError, States, states_of
from shotwatch_detector.levels import follow_levels, level_tests
from shotwatch_detector.thresholds import Share
from shotwatch_shots.batch import ShotBatch
from shotwatch_shots.errors import Bug
from shotwatch_shots.levels import DeviceFeature, SeriesLevels


def levels_after(
    stored: SeriesLevels,
    batch: ShotBatch,
    features: Mapping[str, Features],
    alone: Collection[Finding],
    baselines: DeviceBaselines,
    share: Share,
) -> SeriesLevels | None:
    """Return the levels after a batch, or None if they stay as they are.

    Shots that are not later than the last one that was entered are left out: those of a batch that is late or
    of a later revision. So a batch that another replica overtakes is lost as evidence, and raises no alarm.

    Args:
        stored: the levels before.
        batch: shots of the series.
        features: device → feature → (n,).
        alone: the findings in single shots of the batch.
        baselines: of the champion. The levels of devices that it does not know are dropped.
        share: the false alarms that the sequential tests of the series may raise.

    Raises:
        Bug: the stored levels cannot be read.
    """
    tests = level_tests(features, baselines, share.run_length)
    later = np.flatnonzero(batch.pulses > stored.until)
    later = later[np.argsort(batch.pulses[later], kind="stable")]
    if not len(later) or not tests.statistics:
        return None
    pulses = batch.pulses[later].astype(np.int64)
    chosen = {device: {name: values[later] for name, values in of.items()} for device, of in features.items()}
    flagged = {kind: shots[later] for kind, shots in flagged_shots(alone, batch.batch_size).items()}
    before = _states(stored)
    after, shifts = follow_levels(tests, before, chosen, pulses, flagged)
    kept = {name: state.tobytes() for name, state in {**before, **after}.items() if name[0] in baselines}
    return stored.after(int(pulses[-1]), kept, shifts)


def findings_in_batch(
    levels: SeriesLevels,
    batch: ShotBatch,
    alone: Collection[Finding],
    baselines: DeviceBaselines,
    share: Share,
) -> list[Finding]:
    """Return the findings of the shifts that the batch's shots completed and that no shot shows by itself.

    They are the same when the batch is delivered again, or some of its shots come as a later revision.
    """
    place, pulses = batch.series.place.in_words, batch.pulses.astype(np.int64)
    times = set(pulses.tolist())
    shifts = [shift for shift in levels.shifts if shift.time in times]
    flagged = flagged_shots(alone, batch.batch_size)
    return findings_of_shifts(shifts, place, pulses, baselines, share, flagged)


def _states(stored: SeriesLevels) -> dict[DeviceFeature, States]:
    try:
        states = states_of(list(stored.states.values()))
    except StateError as error:
        raise Bug(f"the levels of {stored.series} cannot be read: {error}") from error
    return {statistic: states[k : k + 1] for k, statistic in enumerate(stored.states)}
