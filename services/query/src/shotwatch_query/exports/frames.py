"""Frames of a camera as an HDF5 file, whose first axis is the shot."""

import io

import h5py
import numpy as np

from shotwatch_query.exports.contents import Arrays, ExportedFrames


def frames_file(content: ExportedFrames, arrays: Arrays) -> bytes:
    """Return a file with `frames` (n, h, w), `shots` (n,) and `times` (n,), in ms since 1970 in UTC."""
    frames, times = arrays["frames"], arrays["times"]
    data = io.BytesIO()
    with h5py.File(data, "w") as file:
        file.attrs["device"] = content.device
        one_by_one = (1, *frames.shape[1:])
        file.create_dataset("frames", data=frames, chunks=one_by_one, compression="gzip", shuffle=True)
        file["frames"].attrs["units"] = content.unit
        file["shots"] = np.array(content.shots, dtype=h5py.string_dtype())
        file["times"] = times
        file["times"].attrs["units"] = "ms since 1970-01-01T00:00:00Z"
    return data.getvalue()
