"""A shot as a NeXus file: an entry with the beam, the data of each device, the features and the origin."""

import io
import re
from datetime import datetime

import h5py
import numpy as np

from shotwatch_query.exports.contents import Arrays, ExportedDevice, ExportedShot
from shotwatch_shots.device_kinds import DeviceKind

_VERSION = "2024.02"
"""The release of the NeXus definitions whose base classes are used."""


def nexus_file(content: ExportedShot, arrays: Arrays) -> bytes:
    """Return the file.

    `/entry/instrument/beam` (NXbeam) has the pulse energy. shotwatch measures no pulse duration, so the file
    has none. Each camera and spectrometer has a group of NXdata, with units and axes.
    """
    data = io.BytesIO()
    with h5py.File(data, "w") as file:
        entry = _group(file, "entry", "NXentry")
        file.attrs["default"] = "entry"
        file.attrs["creator"] = "shotwatch"
        file.attrs["NeXus_version"] = _VERSION
        _add_facts(entry, content)
        instrument = _group(entry, "instrument", "NXinstrument")
        instrument["name"] = content.facility
        _add_beam(instrument, content, arrays)
        for number, device in enumerate(content.devices):
            own = {
                name.partition(".")[2]: array
                for name, array in arrays.items()
                if name.partition(".")[0] == str(number)
            }
            _add_device(entry, instrument, device, own)
    return data.getvalue()


def _valid_name(device: str) -> str:
    """Return the name of a device as NeXus allows it: letters, digits and underscores."""
    return re.sub(r"\W", "_", device, flags=re.ASCII)


def _group(parent: h5py.Group, name: str, kind: str) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs["NX_class"] = kind
    return group


def _add_facts(entry: h5py.Group, content: ExportedShot) -> None:
    entry["title"] = f"shot {content.shot}"
    entry["entry_identifier"] = content.shot
    entry["start_time"] = _written(content.time)
    entry["program_name"] = "shotwatch"
    origin = _group(entry, "origin", "NXcollection")
    for name in ("place", "interval", "revision", "score", "threshold", "model", "trace_id", "energy_meter"):
        value = getattr(content, name)
        if value is not None:
            origin[name] = value
    origin["kinds_of_anomalies"] = ",".join(content.kinds)


def _add_beam(instrument: h5py.Group, content: ExportedShot, arrays: Arrays) -> None:
    beam = _group(instrument, "beam", "NXbeam")
    if content.energy is not None:
        beam["pulse_energy"] = content.energy
        beam["pulse_energy"].attrs["units"] = "J"
    for number, device in enumerate(content.devices):
        spectrum = arrays.get(f"{number}.spectrum")
        if spectrum is not None and device.wavelengths is not None:
            beam["incident_wavelength"] = np.linspace(*device.wavelengths, len(spectrum))
            beam["incident_wavelength"].attrs["units"] = "nm"
            beam["incident_wavelength_weights"] = spectrum.astype(np.float64)
            return


def _add_device(entry: h5py.Group, instrument: h5py.Group, device: ExportedDevice, own: Arrays) -> None:
    detector = _group(instrument, _valid_name(device.device), "NXdetector")
    detector["local_name"] = device.device
    detector["type"] = str(device.kind)
    record = _record_group(detector, device)
    _add_features(detector, device)
    if "image" in own:
        _add_image(entry, device, own)
    elif "spectrum" in own:
        _add_spectrum(entry, device, own)
    elif own:
        _add_energies(record, device, own)


def _record_group(detector: h5py.Group, device: ExportedDevice) -> h5py.Group:
    record = _group(detector, "record", "NXcollection")
    for name in ("verdict", "raw_object", "left_out"):
        record[name] = getattr(device, name)
    record["recorded_at"] = "" if device.time is None else _written(device.time)
    return record


def _add_features(detector: h5py.Group, device: ExportedDevice) -> None:
    if device.features:
        features = _group(detector, "features", "NXcollection")
        for each in device.features:
            features[each.name] = each.value
            features[each.name].attrs["units"] = each.unit


def _add_image(entry: h5py.Group, device: ExportedDevice, own: Arrays) -> None:
    image = own["image"]
    data = _data(entry, device, "counts", ["y", "x"])
    data.create_dataset("counts", data=image, compression="gzip", shuffle=True)
    data["counts"].attrs["units"] = device.unit
    for name, length in zip("yx", image.shape, strict=True):
        data[name] = np.arange(length, dtype=np.float64)
        data[name].attrs["units"] = "px"


def _add_spectrum(entry: h5py.Group, device: ExportedDevice, own: Arrays) -> None:
    spectrum = own["spectrum"]
    known = device.wavelengths
    axis = "sample" if known is None else "wavelength"
    data = _data(entry, device, "intensity", [axis])
    data["intensity"] = spectrum
    data["intensity"].attrs["units"] = device.unit
    data[axis] = np.arange(len(spectrum)) if known is None else np.linspace(*known, len(spectrum))
    data[axis].attrs["units"] = "" if known is None else "nm"


def _add_energies(record: h5py.Group, device: ExportedDevice, own: Arrays) -> None:
    for name, value in own.items():
        record[name] = float(value)
        record[name].attrs["units"] = device.unit


def _data(entry: h5py.Group, device: ExportedDevice, signal: str, axes: list[str]) -> h5py.Group:
    """Return a new group of NXdata for a device; the first one of a camera is what a viewer shows first."""
    data = _group(entry, _valid_name(device.device), "NXdata")
    data.attrs["signal"] = signal
    data.attrs["axes"] = axes
    if device.kind is DeviceKind.CAMERA and "default" not in entry.attrs:
        entry.attrs["default"] = _valid_name(device.device)
    return data


def _written(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds")
