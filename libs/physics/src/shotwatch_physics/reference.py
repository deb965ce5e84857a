"""The reference of a camera's beam, and the distance of a frame from it."""

import io
from dataclasses import dataclass
from functools import lru_cache
from zipfile import BadZipFile

import numpy as np

from shotwatch_physics.aperture import measure_spread
from shotwatch_physics.background import estimate_background
from shotwatch_physics.components import Components, fit_components, project
from shotwatch_physics.feature import Features, FloatArray, Light
from shotwatch_physics.gaussians import PARAMETER_NAMES, Fits, crop, fit_gaussians
from shotwatch_physics.moments import Images
from shotwatch_physics.noise import NoiseModel, light_of
from shotwatch_physics.npz import open_npz
from shotwatch_physics.wasserstein import Slices, distances_to, equispaced_angles, make_slices

SLICES = 32
"""Slices for the distance of a frame to its reference: the error of the mean over these is a thousandth."""
NOT_A_REFERENCE = (ValueError, KeyError, TypeError, OSError, EOFError, BadZipFile)
"""Exceptions that numpy raises on bytes that are not an .npz file, or one with other arrays."""


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """The reference of one camera.

    Raises:
        ValueError: the profile is not (h, w) float32 of finite light, or the other fields do not match it.
    """

    profile: Light
    """Mean of the frames, each normalised to the sum 1: (h, w)."""
    centroid: FloatArray
    """Median x and y of the frames' centroids, px: (2,)."""
    gaussians: FloatArray
    """Median parameters of three Gaussians, from which fits start: (15,)."""
    components: Components
    """Principal components of these parameters."""

    def __post_init__(self) -> None:
        if self.profile.ndim != 2 or self.profile.dtype != np.float32 or not self.profile.sum() > 0:
            raise ValueError(f"a profile must be (h, w) float32 with light, not {self.profile.shape}")
        if self.centroid.shape != (2,) or self.gaussians.shape != (len(PARAMETER_NAMES),):
            raise ValueError("a reference has a centroid (2,) and the parameters (15,) of three Gaussians")
        if not all(np.isfinite(a).all() for a in (self.profile, self.centroid, self.gaussians)):
            raise ValueError("a reference must be finite numbers")

    def to_npz(self) -> bytes:
        """Return the reference as an .npz file."""
        file = io.BytesIO()
        plane = self.components
        np.savez(
            file,
            profile=self.profile,
            centroid=self.centroid,
            gaussians=self.gaussians,
            mean=plane.mean,
            scale=plane.scale,
            axes=plane.axes,
            explained=plane.explained,
        )
        return file.getvalue()

    @staticmethod
    def from_npz(data: bytes) -> "Reference":
        """Return the reference that `to_npz` wrote.

        Raises:
            ValueError: the bytes are not such a file, or its content is not a reference.
        """
        try:
            with open_npz(data) as file:
                plane = Components(*(file[name] for name in ("mean", "scale", "axes", "explained")))
                return Reference(file["profile"], file["centroid"], file["gaussians"], plane)
        except NOT_A_REFERENCE as error:
            raise ValueError(f"not a stored reference: {error}") from error


def make_reference(images: Images, noise: NoiseModel | None) -> Reference:
    """Make the reference of a camera from frames (n, h, w) of a normal period.

    Raises:
        ValueError: fewer than 20 frames could be fitted.
    """
    background = estimate_background(images)
    light = light_of(images, noise or background)
    lit = light.sum(axis=(1, 2), dtype=np.float64)
    shares = light[lit > 0] / lit[lit > 0, None, None]
    fits = fit_gaussians(light).parameters
    components = fit_components(fits)
    return Reference(
        profile=shares.mean(axis=0, dtype=np.float64).astype(np.float32),
        centroid=np.nanmedian(measure_spread(images, background)[:2], axis=1),
        gaussians=np.nanmedian(fits, axis=0),
        components=components,
    )


def measure_in_detail(images: Images, noise: NoiseModel | None, reference: Reference | None) -> Features:
    """Return DETAILED_FEATURES of frames (n, h, w) in the order of time.

    Features that are relative to the reference are left out if there is none, or if it has another shape.
    """
    if reference is not None and reference.profile.shape != images.shape[1:]:
        reference = None
    light = light_of(images, noise or estimate_background(images))
    start = None if reference is None else reference.gaussians
    fits = fit_gaussians(light, start)
    cropped, corners = crop(light)
    return {
        **_named("gaussian_fit", fits),
        **_named("crop_fit", fit_gaussians(cropped, start, corners)),
        **({} if reference is None else _against(reference, light, fits)),
    }


def pointing(centroids: FloatArray, reference: Reference) -> Features:
    """Return how far centroids (n, 2) are from the reference's, px."""
    x, y = (centroids - reference.centroid).T
    return {"pointing_x": x, "pointing_y": y, "pointing": np.hypot(x, y)}


def _named(name: str, fits: Fits) -> Features:
    prefix = "" if name == "gaussian_fit" else "crop_"
    columns = {f"{prefix}{parameter}": fits.parameters[:, n] for n, parameter in enumerate(PARAMETER_NAMES)}
    return {**columns, f"{name}_error": fits.error, f"{name}_converged": fits.converged.astype(np.float64)}


def _against(reference: Reference, light: Light, fits: Fits) -> Features:
    points = project(reference.components, fits.parameters)
    return {
        "component1": points[:, 0],
        "component2": points[:, 1],
        "distance_to_reference": distances_to(reference.profile, light, _slices(light.shape[1:])),
    }


@lru_cache(maxsize=8)
def _slices(shape: tuple[int, int]) -> Slices:
    """Return the slices for a frame size.

    They are cached, because computing them takes as long as eighty distances.
    """
    return make_slices(shape, equispaced_angles(SLICES))
