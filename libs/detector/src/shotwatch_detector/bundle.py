"""The model bundle: a folder with all parts of a detector.

autoencoder.tflite   the network, (n, h, w, 1) → (n, h, w, 1), normalised images
autoencoder.keras    the same network for further training; scoring does not read it
bundle.json          `BundleManifest`: what it was made of, and the references of every device
cameras.npz          float32 (c, h, w), in the order of the manifest's `cameras`:
                     `reference`, `residual_centre`, `residual_sigma`, `pattern_mean`, `rest_centre`,
                     `rest_sigma`, `pixel_centre`, `pixel_sigma`; `column_…` (c, 1, w), `row_…` (c, 1, h);
                     `patterns` (c, k, h, w), `pattern_spread` (c, k); and `peak` (c,), float64
"""

import lzma
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, TypeAdapter, ValidationError

from shotwatch_common.bundle_files import CAMERAS, MANIFEST, NETWORK
from shotwatch_detector.camera_arrays import arrays_of, camera_arrays, cameras_of
from shotwatch_detector.columns import DeviceBaselines
from shotwatch_detector.scoring import CameraReference
from shotwatch_detector.statistics import Baseline
from shotwatch_detector.tails import tail_of_weibull
from shotwatch_shots.features.catalogue import INDICATORS

KERAS_MODEL = "autoencoder.keras"
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

    format: Literal[3, 4, 5]
    """3: without `independent` in the baselines, which is then 1. 3 and 4: without `members` and without the
    maps of fine structure, which is then not scored; tails have Weibull's form.
    """
    origin: Origin
    cameras: list[str]
    baselines: dict[str, dict[str, Baseline]]


_manifest = TypeAdapter(BundleManifest)


def save_bundle(bundle: Bundle, folder: Path) -> None:
    """Write a bundle into an existing folder."""
    manifest = BundleManifest(
        5, bundle.origin, list(bundle.cameras), {d: dict(u) for d, u in bundle.baselines.items()}
    )
    (folder / MANIFEST).write_bytes(_manifest.dump_json(manifest, indent=1))
    (folder / NETWORK).write_bytes(bundle.network)
    np.savez(folder / CAMERAS, allow_pickle=False, **camera_arrays([*bundle.cameras.values()]))


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
            arrays = {name: _array(archive, name) for name in arrays_of(manifest.format)}
        cameras = cameras_of(manifest.cameras, arrays)
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
    return Bundle(manifest.origin, network, cameras, _baselines(manifest))


def read_baselines(manifest: bytes) -> DeviceBaselines:
    """Return the references of every device, from the content of bundle.json alone.

    Raises:
        BundleError: the content is not what `save_bundle` writes.
    """
    try:
        read = _manifest.validate_json(manifest, strict=True)
    except ValidationError as error:
        raise BundleError(f"{MANIFEST}: {error}") from error
    _check_baselines(Path(), read.baselines)
    return _baselines(read)


def _baselines(manifest: BundleManifest) -> DeviceBaselines:
    """Return the references of every device, with the tails of older formats converted."""
    if manifest.format >= 5:
        return manifest.baselines
    return {
        device: {
            name: replace(
                of,
                tail=tail_of_weibull(of.tail, of.side),
                run_tail=tail_of_weibull(of.run_tail, of.side),
                members=None,
            )
            for name, of in baselines.items()
        }
        for device, baselines in manifest.baselines.items()
    }


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
            if reference.members is not None and not 1 <= reference.members < np.inf:
                raise BundleError(
                    f"{folder / MANIFEST}: {device}: {feature}: {reference.members} members of its question"
                )
            if reference.independent < 1:
                raise BundleError(
                    f"{folder / MANIFEST}: {device}: {feature}: learned from {reference.independent} shots"
                )
