"""The detector with the interface that services use."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from shotwatch_common.bundle_files import NETWORK
from shotwatch_detector.arrays import Features, Frames, Image
from shotwatch_detector.bundle import Bundle, BundleError, load_bundle
from shotwatch_detector.decision import Judgement, judge
from shotwatch_detector.engine import Engine, LiteRtEngine
from shotwatch_detector.finding import Finding
from shotwatch_detector.scoring import FRAMES_AT_ONCE, residual_of, score_frames
from shotwatch_detector.series_levels import findings_in_batch, levels_after
from shotwatch_detector.thresholds import ONE_AN_HOUR, SeriesThresholds, Share
from shotwatch_shots.batch import ShotBatch
from shotwatch_shots.levels import SeriesLevels


@dataclass(frozen=True, slots=True, eq=False)
class Detector:
    """A bundle with the engine that runs its network."""

    bundle: Bundle
    engine: Engine = field(repr=False)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load a detector from a bundle's folder.

        Raises:
            BundleError: the folder holds no usable bundle.
        """
        bundle = load_bundle(folder)
        try:
            return cls(bundle, LiteRtEngine(bundle.network))
        except (ValueError, RuntimeError) as error:
            raise BundleError(f"{folder / NETWORK}: {error}") from error

    def warm_up(self) -> None:
        """Score frames once: the first time is the slowest, since kernels are compiled.

        Raises:
            Exception: the network does not run on the bundle's frames.
        """
        for device, camera in list(self.bundle.cameras.items())[:1]:
            self.score(device, np.zeros((FRAMES_AT_ONCE, *camera.reference.image.shape), np.uint16))

    def score(self, device: str, frames: Frames) -> Features:
        """Return the scores of frames (n, h, w) of one camera; none for a camera that training never saw."""
        camera = self.bundle.cameras.get(device)
        if camera is None or not len(frames):
            return {}
        return score_frames(frames, camera, self.engine)

    def judge(
        self,
        place: str,
        features: Mapping[str, Features],
        shots: int,
        thresholds: SeriesThresholds = ONE_AN_HOUR,
    ) -> Judgement:
        """Judge n shots of a place by their features and scores: device → name → (n,)."""
        return judge(place, features, self.bundle.baselines, shots, thresholds)

    def levels_after(
        self,
        stored: SeriesLevels,
        batch: ShotBatch,
        features: Mapping[str, Features],
        alone: Collection[Finding],
        share: Share,
    ) -> SeriesLevels | None:
        """Return the levels of a series after a batch (`series_levels.levels_after`)."""
        baselines = self.bundle.baselines
        return levels_after(stored, batch, features, alone, baselines, share)

    def findings_of_levels(
        self, levels: SeriesLevels, batch: ShotBatch, alone: Collection[Finding], share: Share
    ) -> list[Finding]:
        """Return the findings of the shifts of a batch (`series_levels.findings_in_batch`)."""
        return findings_in_batch(levels, batch, alone, self.bundle.baselines, share)

    def residual(self, device: str, frame: NDArray[np.uint16]) -> Image:
        """Return image minus reconstruction of a frame (h, w) of a known camera, over the reference's peak.

        Raises:
            KeyError: training never saw the camera.
        """
        return residual_of(frame, self.bundle.cameras[device], self.engine)
