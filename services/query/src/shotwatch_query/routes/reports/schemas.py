"""The responses about the state and the operation of devices."""

from collections.abc import Mapping

from pydantic import Field

from shotwatch_query.schema import DEVICE, Instant, Schema, Where
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.vocabulary import CalibrationKind


class CalibrationSummary(Schema):
    """The newest noise model or reference of a camera."""

    kind: CalibrationKind
    version: int
    made_at: Instant
    start: Instant = Field(description="Time of the first frame that it was made from.")
    end: Instant = Field(description="Time of the last one.")
    frames: int


class DeviceSummary(Where):
    """A device of the facility, and its last known state."""

    device: str = Field(examples=[DEVICE])
    kind: DeviceKind
    state: str | None = Field(description="At its newest record; null before the first.", examples=["ON"])
    time: Instant | None = Field(description="Time of its newest record.")
    calibration_constants: list[CalibrationSummary] = Field(description="The newest of each kind.")


class DeviceList(Schema):
    """The devices of the facility."""

    devices: list[DeviceSummary]


class StateTime(Schema):
    """The time that a device was in a state."""

    state: str | None = Field(description="Null where records have none.", examples=["ON"])
    seconds: float
    share: float = Field(description="Of the recorded time, 0 to 1.")


class GapSummary(Schema):
    """Gaps in the records: the next record came more than 1.5 intervals after the previous one."""

    count: int
    total_s: float
    longest_s: float


class ChatterSummary(Schema):
    """Changes of state."""

    changes: int
    per_hour: float | None = Field(description="Of recorded time; null without records.")
    bursts: int = Field(description="How often the state changed four times or more within ten seconds.")


class ClockComparison(Schema):
    """The difference between the device's clock and that of another one of its place; positive if ahead."""

    against: str = Field(examples=["LA_A1_11-Camera_2-Camera-2"])
    offset_ms: float | None = Field(description="Median; null without pairs.")
    spread_ms: float | None = Field(description="Robust standard deviation.")
    pairs: int = Field(description="Records of the one that have a record of the other within half a period.")


class StateSegment(Schema):
    """A period without a gap or a change of state."""

    state: str | None = Field(examples=["ON"])
    start: Instant
    end: Instant


class DeviceReport(Where):
    """The operation of a device in a span of time, as shown by its records."""

    device: str = Field(examples=[DEVICE])
    kind: DeviceKind
    start: Instant
    end: Instant
    records: int
    first: Instant | None = Field(description="Time of the first record.")
    last: Instant | None = Field(description="Time of the last one.")
    states: list[StateTime] = Field(description="The state in which it works first, then the longest.")
    gaps: GapSummary = Field(description="Between the first record and the last.")
    chatter: ChatterSummary
    refused: Mapping[str, int] = Field(
        description="Reason → records that do not count, of all files that reach into the span."
    )
    clock: ClockComparison | None = Field(description="Null at a place with one device.")
    segments: list[StateSegment] = Field(
        description="States over time. More than a thousand are given in slots of a thousandth of the span, "
        "each in the rarest state that it has."
    )


class DeviceReports(Schema):
    """Reports of the devices that recorded anything in a span of time."""

    start: Instant
    end: Instant
    devices: list[DeviceReport]
