"""The arrays of a bundle's cameras, by their names in the archive."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from shotwatch_detector.fine_structure import FineMaps, no_fine_maps
from shotwatch_detector.frames import ReferenceFrame
from shotwatch_detector.patterns import Patterns
from shotwatch_detector.residuals import ResidualMap
from shotwatch_detector.scoring import CameraReference

Arrays = Mapping[str, NDArray[np.float32]]
"""Name → the array of all cameras."""

_MAPS = (
    "reference",
    "residual_centre",
    "residual_sigma",
    "pattern_mean",
    "rest_centre",
    "rest_sigma",
)
_FINE = ("pixel", "column", "row")
_FINE_MAPS = tuple(f"{part}_{of}" for part in _FINE for of in ("centre", "sigma"))
_FINE_SINCE = 5
"""The first format with maps of fine structure."""
_SIGMAS = ("residual_sigma", "rest_sigma", *(f"{part}_sigma" for part in _FINE))


def arrays_of(bundle_format: int) -> tuple[str, ...]:
    """Return the names of the arrays in a bundle of this format."""
    fine = _FINE_MAPS if bundle_format >= _FINE_SINCE else ()
    return (*_MAPS, "patterns", "pattern_spread", "peak", *fine)


def camera_arrays(cameras: Sequence[CameraReference]) -> dict[str, NDArray[np.float32]]:
    """Return the arrays of all cameras."""
    references = [camera.reference for camera in cameras]
    patterns = [camera.patterns for camera in cameras]
    return {
        "reference": np.array([reference.image for reference in references], np.float32),
        "peak": np.array([reference.peak for reference in references]),
        "pattern_mean": np.array([pattern.mean for pattern in patterns], np.float32),
        "patterns": _padded([pattern.basis for pattern in patterns], 0.0),
        "pattern_spread": _padded([pattern.spread for pattern in patterns], 1.0),
        **_map_arrays("residual", [camera.residuals for camera in cameras]),
        **_map_arrays("rest", [pattern.left for pattern in patterns]),
        **_map_arrays("pixel", [pattern.fine.pixels for pattern in patterns]),
        **_map_arrays("column", [pattern.fine.columns for pattern in patterns]),
        **_map_arrays("row", [pattern.fine.rows for pattern in patterns]),
    }


def cameras_of(names: Sequence[str], arrays: Arrays) -> dict[str, CameraReference]:
    """Return the cameras of a bundle. Without maps of fine structure nothing deviates there.

    Raises:
        ValueError: an array is not of the cameras' number and shape, or holds what it cannot hold.
    """
    _check(arrays, len(names))
    return {
        name: CameraReference(
            ReferenceFrame(arrays["reference"][n], float(arrays["peak"][n])),
            _map(arrays, "residual", n),
            Patterns(
                arrays["pattern_mean"][n],
                arrays["patterns"][n],
                arrays["pattern_spread"][n],
                _map(arrays, "rest", n),
                _fine_maps(arrays, n),
            ),
        )
        for n, name in enumerate(names)
    }


def _map_arrays(name: str, maps: Sequence[ResidualMap]) -> dict[str, NDArray[np.float32]]:
    return {
        f"{name}_centre": np.array([each.centre for each in maps], np.float32),
        f"{name}_sigma": np.array([each.sigma for each in maps], np.float32),
    }


def _map(arrays: Arrays, name: str, camera: int) -> ResidualMap:
    return ResidualMap(arrays[f"{name}_centre"][camera], arrays[f"{name}_sigma"][camera])


def _fine_maps(arrays: Arrays, camera: int) -> FineMaps:
    if "pixel_sigma" in arrays:
        return FineMaps(*(_map(arrays, part, camera) for part in _FINE))
    return no_fine_maps(*arrays["reference"][camera].shape)


def _padded(of_cameras: Sequence[NDArray[np.float32]], filling: float) -> NDArray[np.float32]:
    """Return the arrays of all cameras, padded to the largest number of patterns.

    Cameras with fewer training frames have fewer patterns. The padding comes first, as the strongest pattern
    is the last.
    """
    most = max((len(of_camera) for of_camera in of_cameras), default=0)
    shape = of_cameras[0].shape[1:] if of_cameras else ()
    padded = np.full((len(of_cameras), most, *shape), filling, np.float32)
    for row, of_camera in zip(padded, of_cameras, strict=True):
        row[most - len(of_camera) :] = of_camera
    return padded


def _check(arrays: Arrays, count: int) -> None:
    shape = (count, *arrays["reference"].shape[1:])
    shapes = {
        **dict.fromkeys((*_MAPS, "pixel_centre", "pixel_sigma"), shape),
        **dict.fromkeys(("column_centre", "column_sigma"), (count, 1, *shape[2:])),
        **dict.fromkeys(("row_centre", "row_sigma"), (count, 1, *shape[1:2])),
    }
    for name in shapes.keys() & arrays.keys():
        array = arrays[name]
        fits = array.shape == shapes[name] if count else len(array) == 0
        if array.dtype != np.float32 or not fits or (count and len(shape) != 3):
            raise ValueError(f"{name} is {array.shape} {array.dtype}, not {shapes[name]}")
    if arrays["peak"].shape != (count,) or not (arrays["peak"] > 0).all():
        raise ValueError(f"peak must be {count} positive numbers")
    _check_patterns(arrays["patterns"], arrays["pattern_spread"], shape)
    finite = all(np.isfinite(array).all() for array in arrays.values())
    if not finite or not all((arrays[name] > 0).all() for name in arrays.keys() & set(_SIGMAS)):
        raise ValueError("not finite, or a standard deviation that is not positive")


def _check_patterns(
    patterns: NDArray[np.float32], spread: NDArray[np.float32], shape: tuple[int, ...]
) -> None:
    """Check the patterns of cameras with references of this shape: (c, h, w)."""
    fits = patterns.ndim == 4 and patterns.shape[2:] == shape[1:]
    if patterns.dtype != np.float32 or (shape[0] and not fits):
        raise ValueError(f"patterns is {patterns.shape} {patterns.dtype}")
    if spread.dtype != np.float32 or spread.shape != patterns.shape[:2] or not (spread > 0).all():
        raise ValueError("pattern_spread must be positive, one for each pattern")
