"""Shots and frames as files for other tools: NeXus, openPMD, TIFF, CSV, HDF5, and notebooks."""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from shotwatch_client.errors import InvalidArgument
from shotwatch_client.rest import Rest, Value
from shotwatch_client.times import Time, optional_ms

MOST_BYTES = 512 * 2**20
"""Maximum size of a file: the server makes smaller ones."""
FORMATS = {".csv": "csv", ".h5": "hdf5", ".hdf5": "hdf5", ".npz": "npz", ".tif": "tiff", ".tiff": "tiff"}
"""Suffix of a file of frames → its format."""


class Exports:
    """Files that the server makes. Each method returns the path of the file, and replaces a file there.

    Each may raise NoData if there is no such shot, device or event, NotAccepted if the server refuses the
    arguments, and UnexpectedAnswer if the server lacks a package; the message names it.
    """

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def nexus(self, shot: str, path: Path | str, devices: Sequence[str] = ()) -> Path:
        """Write a shot as a NeXus file: beam, frames, spectra and features, of all devices or of some."""
        return self._write(path, f"/shots/{_quoted(shot)}/nexus", device=list(devices))

    def lasy(
        self,
        shot: str,
        path: Path | str,
        *,
        pixel_um: float,
        first_nm: float | None = None,
        last_nm: float | None = None,
        camera: str | None = None,
        spectrometer: str | None = None,
        meter: str | None = None,
    ) -> Path:
        """Write a shot as an openPMD file, from which LASY and particle-in-cell codes start.

        The phase is flat, because it was not measured.

        Args:
            shot: id of the shot.
            path: the file.
            pixel_um: width and height of a pixel in the plane of the beam, in µm.
            first_nm: wavelength of the spectrum's first sample, unless the facility file has it.
            last_nm: that of its last sample.
            camera: device of the near field; by default the first one with a valid record.
            spectrometer: the same of the spectrum.
            meter: the same of the energy.
        """
        asked: dict[str, Value] = {
            "pixel_um": pixel_um,
            "first_nm": first_nm,
            "last_nm": last_nm,
            "camera": camera,
            "spectrometer": spectrometer,
            "meter": meter,
        }
        return self._write(path, f"/shots/{_quoted(shot)}/lasy", **asked)

    def frames(
        self,
        device: str,
        path: Path | str,
        start: Time | None = None,
        end: Time | None = None,
        *,
        newest: int = 100,
        kind: str | None = None,
        min_score: float | None = None,
    ) -> Path:
        """Write the valid frames of a camera as TIFF, CSV, HDF5 or NPZ, by the suffix of the path.

        Args:
            device: name of the camera.
            path: the file: `.tiff`, `.csv`, `.h5` or `.npz`.
            start: from this time on, at most a day before `end`.
            end: before this time; by default the end of the data.
            newest: of the newest so many shots, at most a thousand.
            kind: only shots with an anomaly of this kind.
            min_score: only shots that were scored this high or higher.

        Raises:
            InvalidArgument: the suffix is none of these.
        """
        suffix = Path(path).suffix.lower()
        if suffix not in FORMATS:
            raise InvalidArgument("path", f"{path} has none of the suffixes {', '.join(FORMATS)}")
        asked: dict[str, Value] = {
            "format": FORMATS[suffix],
            "from": optional_ms(start, "start"),
            "to": optional_ms(end, "end"),
            "shots": newest,
            "kind": kind,
            "min_score": min_score,
        }
        return self._write(path, f"/devices/{_quoted(device)}/frames", **asked)

    def _write(self, path: Path | str, address: str, **asked: Value) -> Path:
        data = self._rest.get_bytes(address, MOST_BYTES, **asked)
        Path(path).write_bytes(data)
        return Path(path)


def _quoted(name: str) -> str:
    return quote(name, safe="")
