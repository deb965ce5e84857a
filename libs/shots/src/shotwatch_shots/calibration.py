"""Calibration constants of cameras: noise models and references."""

from dataclasses import dataclass

from shotwatch_shots.vocabulary import CalibrationKind


@dataclass(frozen=True, slots=True)
class CalibrationConstants:
    """One version of one kind of calibration constants of a device. Its arrays are in the object store."""

    device: str
    kind: CalibrationKind
    version: int
    """Counts from 1 for each device and kind."""
    made_at: int
    """Epoch ms."""
    start: int
    """Time of the first frame used, epoch ms."""
    end: int
    """Time of the last frame used, epoch ms."""
    frames: int
    bucket: str
    key: str
    """Key of the NPZ file."""
