"""Camera frames and spectra as files."""

import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shotwatch_query.domain.colours import BLUE_WHITE_RED, INFERNO

Frame = NDArray[np.uint16]
"""(h, w) counts."""
Residual = NDArray[np.float32]
"""(h, w), a frame minus its reconstruction."""
_IMAGE_DESCRIPTION = 270


def colour_png(frame: Frame) -> bytes:
    """Render the frame in 256 colours from its darkest to its brightest pixel."""
    low, high = int(frame.min()), int(frame.max())
    levels = (frame.astype(np.float64) - low) * (255 / max(high - low, 1))
    return _palette_png(levels, INFERNO)


def residual_png(residual: Residual) -> bytes:
    """Render excess light in red, missing light in blue, zero in white; full colour is the maximum."""
    signed = residual.astype(np.float64)
    largest = float(np.abs(signed).max()) or 1.0
    return _palette_png((signed / largest + 1) * (255 / 2), BLUE_WHITE_RED)


def grey_png(frame: Frame) -> bytes:
    """Return the counts themselves as PNG, 16 bits per pixel."""
    return png_bytes(Image.fromarray(frame))


def npy(array: NDArray[np.generic]) -> bytes:
    """Return a NumPy file."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def frames_npz(shots: Sequence[str], times: NDArray[np.int64], frames: NDArray[np.uint16]) -> bytes:
    """Return a NumPy file with shot ids (n,), times (n,) given in epoch ms, and frames (n, h, w)."""
    file = io.BytesIO()
    np.savez(file, shots=np.array(shots), times=times.astype("<M8[ms]"), frames=frames, allow_pickle=False)
    return file.getvalue()


def frames_tiff(shots: Sequence[str], frames: NDArray[np.uint16]) -> bytes:
    """Return a TIFF file with a page of 16-bit counts for each frame (n, h, w) of at least one.

    The description of a page (tag 270) is JSON with the id of the shot.
    """
    pages = [Image.fromarray(frame) for frame in frames]
    for page, shot in zip(pages, shots, strict=True):
        page.encoderinfo = {"tiffinfo": {_IMAGE_DESCRIPTION: json.dumps({"shot": shot})}}
    file = io.BytesIO()
    first, *others = pages
    first.save(file, "TIFF", save_all=True, append_images=others, compression="tiff_adobe_deflate")
    return file.getvalue()


def frames_csv(shots: Sequence[str], frames: NDArray[np.uint16]) -> Iterator[bytes]:
    """Yield lines `shot,y,0,1,…`: the counts of one row of pixels of a frame (n, h, w), frame after frame."""
    yield ",".join(["shot", "y", *map(str, range(frames.shape[2]))]).encode() + b"\n"
    for shot, frame in zip(shots, frames, strict=True):
        rows = (",".join([shot, str(y), *map(str, row)]) for y, row in enumerate(frame.tolist()))
        yield "\n".join(rows).encode() + b"\n"


def read_npy(data: bytes) -> NDArray[Any]:
    """Return the array of a NumPy file."""
    array: NDArray[Any] = np.load(io.BytesIO(data), allow_pickle=False)
    return array


def pixels_csv(pixels: Frame | Residual) -> bytes:
    """Return one line per row of pixels, separated by commas; nine digits preserve single precision."""
    return _csv(pixels, "%.9g", "")


def spectrum_csv(spectrum: NDArray[np.float32]) -> bytes:
    """Return lines `sample,intensity`; nine digits preserve single precision."""
    samples = np.arange(len(spectrum))
    return _csv(np.column_stack([samples, spectrum]), ["%d", "%.9g"], "sample,intensity")


def png_bytes(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _palette_png(levels: NDArray[np.float64], palette: NDArray[np.uint8]) -> bytes:
    image = Image.fromarray(np.round(levels).astype(np.uint8))
    image.putpalette(palette.tobytes())
    return png_bytes(image)


def _csv(table: NDArray[np.generic], form: str | list[str], header: str) -> bytes:
    file = io.BytesIO()
    np.savetxt(file, table, form, delimiter=",", header=header, comments="")
    return file.getvalue()
