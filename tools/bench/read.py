"""CPU time from the bytes of a 10 Hz file to its columns, compared with a lower limit and the usual method.

    python -m tools.bench.read

Files are simulated: 600 timestamps of one device. The lower limit is libdeflate's inflate of every chunk and
a copy into one array, without searching for the chunks. The usual method is h5py's
`file[timestamp][group][dataset][()]`. Reading includes states, times and digests. Not included: fetching the
object, the transfer to the reader process and back, and storing the block; writing the block is measured
separately. All methods are measured alternately, in one process.
"""

import io
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import h5py
import numpy as np
from deflate import zlib_decompress
from numpy.typing import NDArray

from shotwatch_common.blocks import write_block
from shotwatch_common.facility_file import load_facility
from shotwatch_ingest.domain.snapshot import Snapshot, read_snapshot

FACILITY = load_facility(Path(__file__).parents[2] / "facilities" / "hpls.yaml")
KEY = "LA_Recorder01_100ms_snapshot_2022-07-01_07-33-00.h5"
PLACE = "LA_A1_11"
TIMESTAMPS = 600
REPEATS = 9
GZIP = {"compression": 1, "shuffle": True}
MARK = 3.0

Write = Callable[[h5py.Group, int], None]


@dataclass(frozen=True, slots=True)
class MeasuredFile:
    """A file to read."""

    title: str
    image: bytes

    def read(self) -> Snapshot:
        name = FACILITY.file_name(KEY)
        assert name is not None
        return read_snapshot(KEY, self.image, name, FACILITY, latest_ms=name.span_ms[1])

    def read_by_h5py(self) -> list[object]:
        with h5py.File(io.BytesIO(self.image)) as file:
            return [
                file[timestamp][group][dataset][()]
                for timestamp in file
                for group in file[timestamp]
                for dataset in file[timestamp][group]
            ]


def main() -> None:
    print_setup()
    frames = made_frames()
    cameras = {
        "camera": hdf5("Camera_1-Camera-1", camera(frames, **GZIP)),
        "camera, gzip 4, no shuffle": hdf5("Camera_1-Camera-1", camera(frames, compression=4)),
        "camera, HDF5's latest format": hdf5("Camera_1-Camera-1", camera(frames, **GZIP), libver="latest"),
    }
    for title, image in cameras.items():
        compare(MeasuredFile(title, image), floor_of(image))
    compare(MeasuredFile("energy meter", hdf5("EM_1-EnergyMeter-1", meter)))
    compare(MeasuredFile("spectrometer", hdf5("Spectro_1-Spectro-1", spectrometer)))


def compare(subject: MeasuredFile, floor: Callable[[], object] | None = None) -> None:
    """Print the median times for one file, and their ratios."""
    [device] = subject.read().devices
    ways = {
        "read": subject.read,
        "usual way": subject.read_by_h5py,
        "block": lambda: write_block(device.block),
    }
    if floor:
        ways["floor"] = floor
    spent = cpu_ms(ways)
    print(f"{subject.title} ({len(subject.image) / 1e6:.1f} MB)")
    print("  " + ", ".join(f"{way} {milliseconds:.1f} ms" for way, milliseconds in spent.items()))
    print(f"  usual way / read = {spent['usual way'] / spent['read']:.1f}")
    if floor:
        print(f"  read / floor = {spent['read'] / spent['floor']:.2f} (mark: {MARK:g} at most)")


def cpu_ms(ways: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the median CPU time of each method. The methods run alternately."""
    spent: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(REPEATS):
        for way, run in ways.items():
            start = time.process_time()
            run()
            spent[way].append(1000 * (time.process_time() - start))
    return {way: median(times) for way, times in spent.items()}


def floor_of(image: bytes) -> Callable[[], object]:
    """Return a function that inflates and copies the chunks of a camera file, given their positions."""
    with h5py.File(io.BytesIO(image)) as file:
        datasets = [record["ROIImageLow"] for moment in file.values() for record in moment.values()]
        chunks = [dataset.id.read_direct_chunk((0, 0))[1] for dataset in datasets]
        size = datasets[0].nbytes
    frames = np.empty((len(chunks), size), np.uint8)

    def inflate() -> None:
        for row, chunk in enumerate(chunks):
            frames[row] = np.frombuffer(zlib_decompress(chunk, size), np.uint8)

    return inflate


def hdf5(device: str, write: Write, **options: str) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", **options) as file:
        for n in range(TIMESTAMPS):
            record = file.create_group(f"07-33-{n // 10:02d}-{100 * (n % 10):03d}/{PLACE}-{device}")
            record["STATE"] = np.bytes_("ON")
            write(record, n)
    return buffer.getvalue()


def camera(frames: NDArray[np.uint16], **storage: Any) -> Write:
    def write(record: h5py.Group, n: int) -> None:
        record.create_dataset("ROIImageLow", data=frames[n], chunks=frames[n].shape, **storage)

    return write


def meter(record: h5py.Group, n: int) -> None:
    record["energy1Corrected"] = 1 + 1e-3 * n
    record["energy2Corrected"] = 1 - 1e-3 * n


def spectrometer(record: h5py.Group, n: int) -> None:
    wavelength = np.arange(2047)
    counts = np.random.default_rng(n).poisson(2000 * np.exp(-(((wavelength - 1000) / 200) ** 4)) + 20)
    record.create_dataset("intensityFitted", data=counts.astype(np.float64), chunks=counts.shape, **GZIP)


def made_frames() -> NDArray[np.uint16]:
    """Return frames of a flat-topped beam with photon and read noise.

    They compress to about the 5 MB of a real file.
    """
    random = np.random.default_rng(1)
    y, x = np.mgrid[:102, :128]
    beam = 3000 * np.exp(-((((x - 64) / 24) ** 2 + ((y - 51) / 20) ** 2) ** 3))
    energy = 1 + 0.02 * random.standard_normal((TIMESTAMPS, 1, 1))
    noise = random.standard_normal((TIMESTAMPS, 102, 128)) * np.sqrt(beam / 50 + 0.3)
    frames: NDArray[np.uint16] = np.clip(beam * energy + noise + 4, 0, 4092).astype(np.uint16)
    return frames


def print_setup() -> None:
    packages = ", ".join(f"{name} {version(name)}" for name in ("h5py", "numpy", "pyarrow", "deflate"))
    print(f"Python {platform.python_version()}, {packages}")
    print(f"{os.cpu_count()} cores ({platform.machine()}), load {os.getloadavg()[0]:.1f}")
    print(f"{TIMESTAMPS} timestamps a file; CPU time of the process, median of {REPEATS} turns")


if __name__ == "__main__":
    main()
