"""The baselines that the detector is compared with: common scores, each fitted to the same normal shots."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest  # type: ignore[import-untyped]

from shotwatch_benchmark.observing import CAMERA, Observed
from shotwatch_detector.arrays import Features, Frames, Images, Values
from shotwatch_detector.engine import LiteRtEngine
from shotwatch_detector.frames import ReferenceFrame, make_reference, normalise
from shotwatch_detector.residuals import smooth
from shotwatch_physics.wasserstein import Slices, distances_to, equispaced_angles, make_slices

POINTING = ("centroid_x", "centroid_y")
BEAM_FEATURES = (
    "total_intensity",
    "peak_intensity",
    "background",
    "centroid_x",
    "centroid_y",
    "d4sigma_major",
    "d4sigma_minor",
    "ellipticity",
    "effective_area",
    "fluence_uniformity",
    "flatness",
    "edge_steepness",
    "peak_to_average",
    "encircled_radius_50",
    "encircled_radius_86",
)
"""Without positions of spots, angles and counts: these jump and would hide everything else."""
COMPONENTS = 10
FRAMES_FOR_COMPONENTS = 800
TREES = 200
SLICES = 16
"""The error against 64 slices is below the noise of a frame."""
SIGMA_OF_MAD = 1.4826
DARK_QUANTILE = 0.05
"""This share of a frame's pixels is darker than its dark level."""
FRAMES_AT_ONCE = 32


@dataclass(frozen=True, slots=True, eq=False)
class LargestDeviation:
    """The largest |z| of some features of a device, computed from median and median absolute deviation."""

    name: str
    device: str
    centre: Mapping[str, float]
    sigma: Mapping[str, float]

    @classmethod
    def fit(cls, name: str, observed: Observed, features: Sequence[str], device: str = CAMERA) -> Self:
        measured = observed.features[device]
        centre = {feature: float(np.nanmedian(measured[feature])) for feature in features}
        spread = {f: float(np.nanmedian(np.abs(measured[f] - middle))) for f, middle in centre.items()}
        return cls(name, device, centre, {feature: SIGMA_OF_MAD * mad for feature, mad in spread.items()})

    def score(self, observed: Observed) -> Values:
        measured = observed.features[self.device]
        deviations = [np.abs(measured[f] - self.centre[f]) / sigma for f, sigma in self.sigma.items()]
        largest: Values = np.nan_to_num(np.array(deviations)).max(axis=0)
        return largest


@dataclass(frozen=True, slots=True, eq=False)
class PrincipalComponents:
    """Normalised frames minus their projection on the principal components of normal frames."""

    reference: ReferenceFrame
    mean: NDArray[np.float32]
    basis: NDArray[np.float32]
    """(k, h·w), orthonormal."""

    @classmethod
    def fit(cls, frames: Frames) -> Self:
        """Fit the components to normal frames.

        Raises:
            ValueError: there is no beam in the frames.
        """
        reference = make_reference(frames)
        if reference is None:
            raise ValueError("the frames to learn from show no beam")
        images = _images(frames[:: max(1, len(frames) // FRAMES_FOR_COMPONENTS)], reference)
        flat = images.reshape(len(images), -1)
        mean = flat.mean(axis=0)
        _, directions = np.linalg.eigh((flat - mean) @ (flat - mean).T)
        basis = directions[:, : -COMPONENTS - 1 : -1].T @ (flat - mean)
        return cls(reference, mean, basis / np.linalg.norm(basis, axis=1, keepdims=True))

    def residuals(self, frames: Frames) -> Images:
        """Return the residuals (n, h, w), in shares of the reference's peak."""
        flat = _images(frames, self.reference).reshape(len(frames), -1) - self.mean
        flat -= (flat @ self.basis.T) @ self.basis
        return flat.reshape(frames.shape)


def _images(frames: Frames, reference: ReferenceFrame) -> Images:
    return normalise(frames, reference).images


@dataclass(frozen=True, slots=True, eq=False)
class ComponentsMean:
    """The mean absolute residual of the principal components."""

    components: PrincipalComponents
    name: str = "PCA residual, mean"

    def score(self, observed: Observed) -> Values:
        residuals = self.components.residuals(observed.shots.frames)
        mean: Values = np.abs(residuals).mean(axis=(1, 2), dtype=np.float64)
        return mean


@dataclass(frozen=True, slots=True, eq=False)
class ComponentsMaximum:
    """The largest residual of the principal components, smoothed, in standard deviations of its pixel."""

    components: PrincipalComponents
    sigma: NDArray[np.float32]
    name: str = "PCA residual, smoothed maximum"

    @classmethod
    def fit(cls, components: PrincipalComponents, frames: Frames) -> Self:
        residuals = components.residuals(frames[:: max(1, len(frames) // FRAMES_FOR_COMPONENTS)])
        return cls(components, smooth(residuals).std(axis=0))

    def score(self, observed: Observed) -> Values:
        smoothed = smooth(self.components.residuals(observed.shots.frames))
        largest: Values = np.abs(smoothed / self.sigma).max(axis=(1, 2)).astype(np.float64)
        return largest


@dataclass(frozen=True, slots=True, eq=False)
class ComponentsPixel:
    """The largest residual of a single pixel, in root mean squares of its residuals."""

    components: PrincipalComponents
    sigma: NDArray[np.float32]
    name: str = "PCA residual, single pixel"

    @classmethod
    def fit(cls, components: PrincipalComponents, frames: Frames) -> Self:
        residuals = components.residuals(frames[:: max(1, len(frames) // FRAMES_FOR_COMPONENTS)])
        return cls(components, np.sqrt(np.square(residuals).mean(axis=0)))

    def score(self, observed: Observed) -> Values:
        residuals = self.components.residuals(observed.shots.frames)
        largest: Values = np.abs(residuals / self.sigma).max(axis=(1, 2)).astype(np.float64)
        return largest


@dataclass(frozen=True, slots=True, eq=False)
class ComponentsColumn:
    """The column whose mean residual differs most from the median column's, in standard deviations."""

    components: PrincipalComponents
    sigma: NDArray[np.float32]
    """Of the mean residual of each column: (w,)."""
    name: str = "PCA residual, columns"

    @classmethod
    def fit(cls, components: PrincipalComponents, frames: Frames) -> Self:
        residuals = components.residuals(frames[:: max(1, len(frames) // FRAMES_FOR_COMPONENTS)])
        return cls(components, residuals.mean(axis=1).std(axis=0))

    def score(self, observed: Observed) -> Values:
        columns = self.components.residuals(observed.shots.frames).mean(axis=1) / self.sigma
        differences = np.abs(columns - np.median(columns, axis=1, keepdims=True))
        largest: Values = differences.max(axis=1).astype(np.float64)
        return largest


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """An isolation forest on all features of the place."""

    forest: IsolationForest
    medians: Mapping[tuple[str, str], float]
    """(device, feature) → its median, which replaces values that are NaN."""
    name: str = "isolation forest"

    @classmethod
    def fit(cls, observed: Observed, seed: int) -> Self:
        medians = {
            (device, feature): float(np.median(values[np.isfinite(values)]))
            for device, measured in observed.features.items()
            for feature, values in measured.items()
            if np.isfinite(values).any()
        }
        forest = IsolationForest(n_estimators=TREES, random_state=seed)
        return cls(forest.fit(_table(observed.features, medians)), medians)

    def score(self, observed: Observed) -> Values:
        scores: Values = -self.forest.score_samples(_table(observed.features, self.medians))
        return scores


def _table(features: Mapping[str, Features], medians: Mapping[tuple[str, str], float]) -> Values:
    columns = [
        np.nan_to_num(features[device][feature], nan=middle) for (device, feature), middle in medians.items()
    ]
    return np.stack(columns, axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class Distance:
    """The sliced Wasserstein distance to the mean frame."""

    mean: Values
    slices: Slices
    name: str = "sliced Wasserstein"

    @classmethod
    def fit(cls, frames: Frames) -> Self:
        return cls(_light(frames).mean(axis=0), make_slices(frames.shape[1:], equispaced_angles(SLICES)))

    def score(self, observed: Observed) -> Values:
        distances = distances_to(self.mean, _light(observed.shots.frames), self.slices)
        return np.nan_to_num(distances)


def _light(frames: Frames) -> Images:
    dark = np.quantile(frames[:, ::4, ::4], DARK_QUANTILE, axis=(1, 2)).astype(np.float32)
    light: Images = np.maximum(frames - dark[:, None, None], 0)
    return light


class ReportMetric:
    """The report's anomaly metric: the integral of |input - reconstruction| of its autoencoder."""

    name = "report's autoencoder"

    def __init__(self, network: bytes, reference: ReferenceFrame) -> None:
        self._network, self._reference = network, reference
        self._engine = LiteRtEngine(network)

    def __reduce__(self) -> tuple[type["ReportMetric"], tuple[bytes, ReferenceFrame]]:
        """Return how to create the scorer in another process, because an engine cannot be pickled."""
        return ReportMetric, (self._network, self._reference)

    def score(self, observed: Observed) -> Values:
        frames = observed.shots.frames
        starts = range(0, len(frames), FRAMES_AT_ONCE)
        return np.concatenate([self._of(frames[start : start + FRAMES_AT_ONCE]) for start in starts])

    def _of(self, frames: Frames) -> Values:
        images = _images(frames, self._reference)
        integrals: Values = np.abs(images - self._engine.reconstruct(images)).sum(
            axis=(1, 2), dtype=np.float64
        )
        return integrals
