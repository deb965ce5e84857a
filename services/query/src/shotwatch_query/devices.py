"""Devices of the facility, as named in requests."""

from shotwatch_query.errors import NotFound
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.facility import ExpectedDevices, Facility


def find_expected(facility: Facility, device: str, kind: DeviceKind | None = None) -> ExpectedDevices:
    """Return the place and interval, with its expected devices, to which a device (of this kind) belongs.

    Raises:
        NotFound: the facility has no such device.
    """
    for expected in facility.places:
        if device in expected.devices and kind in (None, facility.device_type(device).kind):
            return expected
    raise NotFound(f"{facility.name} has no {kind or 'device'} {device}; /devices lists what it has")


def period_ms(facility: Facility, expected: ExpectedDevices) -> int:
    """Return the time between two records of these devices, in ms."""
    return facility.interval(expected.interval).period_ms
