"""The responses about features and energies over time."""

from pydantic import Field

from shotwatch_physics.history import Trend
from shotwatch_query.schema import DEVICE, Instant, Schema


class SeriesColumn(Schema):
    """A feature over time."""

    name: str = Field(examples=["centroid_x"])
    unit: str = Field(description="Empty for pure numbers.", examples=["px"])
    values: list[float | None] = Field(description="One per time; null where it could not be measured.")


class SeriesDocument(Schema):
    """Features of one device over time."""

    device: str = Field(examples=[DEVICE])
    times: list[Instant] = Field(description="Of the shots that have any of the features, ascending.")
    columns: list[SeriesColumn]


class DropOutSpan(Schema):
    """Consecutive shots with less than half of the usual energy, or none."""

    start: Instant = Field(validation_alias="start_ms")
    end: Instant = Field(validation_alias="end_ms", description="Time of the last of them.")
    shots: int


class MeterDisagreement(Schema):
    """|energy1 - energy2| over their mean, for the shots in which both are positive."""

    shots: int
    median: float | None
    largest: float | None
    limit: float = Field(description="Above it the two halves of a meter disagree.")
    above_limit: int = Field(description="Number of shots.")


class LightAgainstEnergy(Schema):
    """A camera's total intensity compared with the energy of the same shots; null for fewer than three."""

    camera: str = Field(examples=[DEVICE])
    shots: int
    ratio: float | None = Field(description="Median, counts/J.")
    spread: float | None = Field(description="Robust standard deviation of the ratio, relative to it.")
    correlation: float | None = Field(description="Spearman's; null when either did not vary.")


class EnergyDocument(Schema):
    """The energies of a meter over time, smoothed, with the results of their evaluation."""

    device: str = Field(examples=["LA_A1_11-EM_1-EnergyMeter-1"])
    unit: str = Field(examples=["J"])
    sigma_s: float = Field(description="Standard deviation of the Gaussian filter, s.")
    times: list[Instant]
    energy: list[float | None]
    smoothed: list[float | None] = Field(description="An outlier is left as it was measured.")
    outlier: list[bool] = Field(description="More than five robust standard deviations from the median.")
    drift: Trend | None = Field(description="Null for a series that is too short.")
    drop_outs: list[DropOutSpan]
    disagreement: MeterDisagreement
    light: LightAgainstEnergy | None = Field(description="When a camera was named.")
