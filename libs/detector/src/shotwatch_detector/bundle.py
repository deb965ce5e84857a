"""The model bundle: a folder with all parts of a detector.

autoencoder.tflite   the network, (n, h, w, 1) → (n, h, w, 1), normalised images
autoencoder.keras    the same network for further training; scoring does not read it
bundle.json          `BundleManifest`: what it was made of, and the references of every device
cameras.npz          float32 (c, h, w), in the order of the manifest's `cameras`:
                     `reference`, `residual_centre`, `residual_sigma`, `pattern_mean`, `rest_centre`,
                     `rest_sigma`; `patterns` (c, k, h, w), `pattern_spread` (c, k); and `peak` (c,), float64
"""

import lzma
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, TypeAdapter, ValidationError

from shotwatch_common.bundle_files import CAMERAS, MANIFEST, NETWORK
from shotwatch_detector.decision import DeviceBaselines
from shotwatch_detector.frames import ReferenceFrame
from shotwatch_detector.patterns import Patterns
from shotwatch_detector.residuals import ResidualMap
from shotwatch_detector.scoring import CameraReference
from shotwatch_detector.statistics import Baseline
from shotwatch_shots.features.catalogue import INDICATORS

KERAS_MODEL = "autoencoder.keras"
_MAPS = (
    "reference",
    "residual_centre",
    "residual_sigma",
    "pattern_mean",
    "rest_centre",
    "rest_sigma",
)
_SIGMAS = ("residual_sigma", "rest_sigma")
LARGEST_UNPACKED = 2**30
"""Most bytes that all arrays of the cameras may take together."""
_ARRAY_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '<f[48]', 'fortran_order': False, "
    rb"'shape': \((?:\d{1,9}, )*(?:\d{1,9},?)?\), \} *\n",
    re.DOTALL,
)
"""The header with which `np.savez` begins an array of floating-point numbers."""
_LONGEST_HEADER = 256
"""In bytes. Headers of up to four dimensions take 128."""
_STRICT = ConfigDict(extra="forbid")


class BundleError(ValueError):
    """The folder is not a bundle that this version can read; the message names the file and the reason."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The data and code that a model was made of."""

    __pydantic_config__ = _STRICT

    facility: str
    architecture: str
    code_version: str
    trained_from: int
    """Epoch ms of the first shot it was trained on."""
    calibrated_from: int
    """Epoch ms: shots from here on set the thresholds."""
    until: int
    """Epoch ms of the last shot."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A trained and calibrated detector."""

    origin: Origin
    network: bytes
    cameras: Mapping[str, CameraReference]
    """Device → the reference data of its frames; all frames have the same shape."""
    baselines: DeviceBaselines


@dataclass(frozen=True, slots=True)
class BundleManifest:
    """The content of bundle.json."""

    __pydantic_config__ = _STRICT

    format: Literal[3, 4]
    """3: without `independent` in the baselines, which is then 1."""
    origin: Origin
    cameras: list[str]
    baselines: dict[str, dict[str, Baseline]]


_manifest = TypeAdapter(BundleManifest)


def save_bundle(bundle: Bundle, folder: Path) -> None:
    """Write a bundle into an existing folder."""
    manifest = BundleManifest(
        4, bundle.origin, list(bundle.cameras), {d: dict(u) for d, u in bundle.baselines.items()}
    )
    (folder / MANIFEST).write_bytes(_manifest.dump_json(manifest, indent=1))
    (folder / NETWORK).write_bytes(bundle.network)
    cameras = bundle.cameras.values()
    np.savez(
        folder / CAMERAS,
        reference=np.array([camera.reference.image for camera in cameras], np.float32),
        peak=np.array([camera.reference.peak for camera in cameras]),
        residual_centre=np.array([camera.residuals.centre for camera in cameras], np.float32),
        residual_sigma=np.array([camera.residuals.sigma for camera in cameras], np.float32),
        pattern_mean=np.array([camera.patterns.mean for camera in cameras], np.float32),
        patterns=_padded([camera.patterns.basis for camera in cameras], 0.0),
        pattern_spread=_padded([camera.patterns.spread for camera in cameras], 1.0),
        rest_centre=np.array([camera.patterns.left.centre for camera in cameras], np.float32),
        rest_sigma=np.array([camera.patterns.left.sigma for camera in cameras], np.float32),
    )


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle and check it.

    Raises:
        BundleError: a file is absent or is not what `save_bundle` writes.
    """
    try:
        manifest = _manifest.validate_json((folder / MANIFEST).read_bytes(), strict=True)
        network = (folder / NETWORK).read_bytes()
        _check_size(folder / CAMERAS)
        with zipfile.ZipFile(folder / CAMERAS) as archive:
            maps = {name: _array(archive, name) for name in (*_MAPS, "patterns", "pattern_spread", "peak")}
    except OSError as error:
        raise BundleError(f"{folder}: {error}") from error
    except ValidationError as error:
        raise BundleError(f"{folder / MANIFEST}: {error}") from error
    except (
        ValueError,
        KeyError,
        EOFError,
        MemoryError,
        RuntimeError,
        zlib.error,
        lzma.LZMAError,
        zipfile.BadZipFile,
    ) as error:
        raise BundleError(f"{folder / CAMERAS}: {error}") from error
    _check_baselines(folder, manifest.baselines)
    _check_maps(folder, maps, len(manifest.cameras))
    return Bundle(manifest.origin, network, _cameras(manifest.cameras, maps), manifest.baselines)


def read_baselines(manifest: bytes) -> DeviceBaselines:
    """Return the references of every device, from the content of bundle.json alone.

    Raises:
        BundleError: the content is not what `save_bundle` writes.
    """
    try:
        baselines = _manifest.validate_json(manifest, strict=True).baselines
    except ValidationError as error:
        raise BundleError(f"{MANIFEST}: {error}") from error
    _check_baselines(Path(), baselines)
    return baselines


def _check_size(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(each.file_size for each in archive.infolist())
    if unpacked > LARGEST_UNPACKED:
        raise ValueError(f"{unpacked} bytes unpacked are more than {LARGEST_UNPACKED}")


def _array(archive: zipfile.ZipFile, name: str) -> NDArray[np.float32]:
    """Return an array of floating-point numbers, as `np.savez` writes it.

    The header is checked first: NumPy parses it as Python source, and on other headers raises whatever
    Python's parser raises.

    Raises:
        ValueError: the member does not begin as `np.savez` begins such an array, or ends too early.
        KeyError: there is no such member.
    """
    with archive.open(f"{name}.npy") as member:
        start = member.read(_LONGEST_HEADER)
        member.seek(0)
        header = _ARRAY_HEADER.match(start)
        if header is None or header.end() != 10 + int.from_bytes(start[8:10], "little"):
            raise ValueError(f"{name} is not an array of floating-point numbers")
        array: NDArray[np.float32] = np.lib.format.read_array(member, allow_pickle=False)
        return array


def _cameras(names: list[str], maps: Mapping[str, NDArray[np.float32]]) -> dict[str, CameraReference]:
    return {
        name: CameraReference(
            ReferenceFrame(maps["reference"][n], float(maps["peak"][n])),
            ResidualMap(maps["residual_centre"][n], maps["residual_sigma"][n]),
            Patterns(
                maps["pattern_mean"][n],
                maps["patterns"][n],
                maps["pattern_spread"][n],
                ResidualMap(maps["rest_centre"][n], maps["rest_sigma"][n]),
            ),
        )
        for n, name in enumerate(names)
    }


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


def _check_baselines(folder: Path, baselines: DeviceBaselines) -> None:
    for device, features in baselines.items():
        for feature, reference in features.items():
            tails = (reference.tail, reference.run_tail)
            numbers = (
                reference.centre,
                reference.sigma,
                *(number for tail in tails for number in (tail.reach, tail.shape)),
            )
            if feature not in INDICATORS:
                raise BundleError(f"{folder / MANIFEST}: {device}: {feature} is not a feature that is judged")
            if not np.isfinite(numbers).all() or min(numbers[1:]) <= 0:
                raise BundleError(
                    f"{folder / MANIFEST}: {device}: {feature}: {numbers} cannot be a reference"
                )
            if reference.independent < 1:
                raise BundleError(
                    f"{folder / MANIFEST}: {device}: {feature}: learned from {reference.independent} shots"
                )


def _check_maps(folder: Path, maps: Mapping[str, NDArray[np.float32]], count: int) -> None:
    shape = (count, *maps["reference"].shape[1:])
    for name in _MAPS:
        if maps[name].dtype != np.float32 or maps[name].shape != shape or (count and len(shape) != 3):
            raise BundleError(
                f"{folder / CAMERAS}: {name} is {maps[name].shape} {maps[name].dtype}, not {shape}"
            )
    if maps["peak"].shape != (count,) or not (maps["peak"] > 0).all():
        raise BundleError(f"{folder / CAMERAS}: peak must be {count} positive numbers")
    patterns = maps["patterns"]
    if patterns.dtype != np.float32 or (count and (patterns.ndim != 4 or patterns.shape[2:] != shape[1:])):
        raise BundleError(f"{folder / CAMERAS}: patterns is {patterns.shape} {patterns.dtype}")
    spread = maps["pattern_spread"]
    if spread.dtype != np.float32 or spread.shape != patterns.shape[:2] or not (spread > 0).all():
        raise BundleError(f"{folder / CAMERAS}: pattern_spread must be positive, one for each pattern")
    finite = all(np.isfinite(maps[name]).all() for name in (*_MAPS, "patterns"))
    if not finite or not all((maps[name] > 0).all() for name in _SIGMAS):
        raise BundleError(f"{folder / CAMERAS}: not finite, or a standard deviation that is not positive")
