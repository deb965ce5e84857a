"""Conversion between the messages of validate and the arrays that it judges."""

import numpy as np

from shotwatch_shots.records import (
    DeviceRecords,
    Digest,
    EnergyDigest,
    ImageDigest,
    JudgedRecords,
    SpectrumDigest,
)
from shotwatch_validate.domain.judge import Judgement
from shotwatch_validate.domain.records import Data, Energies, Floats, Frames, Problem, Records, Spectra


def to_records(message: DeviceRecords) -> Records:
    """Return the records of a device as arrays; null in the message becomes NaN."""
    return Records(
        message.device,
        tuple(message.states),
        np.array(message.state, np.int64),
        tuple(Problem(problem.row, problem.reason, problem.detail) for problem in message.problems),
        _data(message.digest),
    )


def to_message(message: DeviceRecords, judgement: Judgement) -> JudgedRecords:
    """Return the same records with their verdicts."""
    return JudgedRecords(
        device=message.device,
        kind=message.kind,
        series=message.series,
        block=message.block,
        times=message.times,
        states=message.states,
        state=message.state,
        reasons=list(judgement.reasons),
        verdict=judgement.verdict.tolist(),
    )


def _data(digest: Digest | None) -> Data | None:
    match digest:
        case ImageDigest():
            saturated = np.array(digest.saturated, np.int64)
            fingerprint = np.array(digest.fingerprint, np.int64)
            return Frames(_floats(digest.minimum), _floats(digest.maximum), saturated, fingerprint)
        case SpectrumDigest():
            return Spectra(_floats(digest.minimum), _floats(digest.maximum), _floats(digest.total))
        case EnergyDigest():
            return Energies(_floats(digest.energy1), _floats(digest.energy2))
        case None:
            return None


def _floats(values: list[float] | list[float | None]) -> Floats:
    return np.array(values, np.float64)
