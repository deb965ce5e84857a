"""The columns of the shot table of a place: names, types, units, ranges and meanings.

A table has one row for each judged shot, and these columns: those of the whole shot (`score`, `kinds`), then
for each device of the place those of its record (`LA_A1_11_EM_1_EnergyMeter_1.verdict`) and one for each
feature and score (`LA_A1_11_EM_1_EnergyMeter_1.energy`). The columns follow from the facility file alone, so
every table of a place has the same.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from itertools import chain
from math import inf, isfinite
from typing import Self

import pyarrow as pa

from shotwatch_shots.device_kinds import DEVICE_KINDS, DeviceKind
from shotwatch_shots.facility import Facility
from shotwatch_shots.features.spec import FeatureSpec
from shotwatch_shots.place import Place

SCHEMA_VERSION = 1
"""Version of the columns. It grows when a column changes its name, type or meaning, not when one is added."""
METADATA_KEY = b"shotwatch"
"""The key of the description of all columns in the metadata of a file (JSON)."""
_NOT_IN_IDENTIFIERS = re.compile(r"[^A-Za-z0-9_]")
_WORDS = pa.dictionary(pa.int32(), pa.string())
"""Text that repeats from row to row."""
TEXTS = pa.list_(pa.field("element", pa.string()))
"""Several texts in a row. The field has the name that Parquet gives it."""
NO_BOUNDS = (-inf, inf)


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column of a shot table."""

    name: str
    """An identifier, or two with a point between: device and property."""
    type: pa.DataType
    description: str
    unit: str = ""
    """Empty for pure numbers and for what is not a number."""
    range: tuple[float, float] = NO_BOUNDS
    """Lowest and highest possible value; infinite if there is no bound."""
    device: str = ""
    """Group name of the device; empty for columns of the whole shot."""

    @property
    def of_device(self) -> str:
        """The part of the name after the device: the name of the feature or property."""
        return self.name.rpartition(".")[2]

    @property
    def field(self) -> pa.Field:
        """The column in an Arrow schema, with unit, description and range as metadata of the field."""
        about = {"unit": self.unit, "description": self.description, "range": json.dumps(_bounds(self.range))}
        return pa.field(self.name, self.type, metadata=about)


SHOT_COLUMNS = (
    TableColumn("shot", pa.string(), "Id of the shot."),
    TableColumn("time", pa.timestamp("ns", "UTC"), "Time of the pulse. Rows are sorted by it."),
    TableColumn("interval", _WORDS, "Interval of the series, such as 100ms."),
    TableColumn("revision", pa.int32(), "How often the shot was closed, from 1.", "", (1, inf)),
    TableColumn("complete", pa.bool_(), "Whether every kind of device of the place has a valid record."),
    TableColumn("missing", TEXTS, "Group names of the devices without a record."),
    TableColumn(
        "score",
        pa.float64(),
        "-log10 of the probability that a normal shot deviates as much anywhere. Missing without a model.",
    ),
    TableColumn("threshold", pa.float64(), "Scores above this are anomalies. Missing without a model."),
    TableColumn("anomalous", pa.bool_(), "Whether the shot has an anomaly of any kind."),
    TableColumn("severity", _WORDS, "Highest severity of its anomalies: info, warning or critical."),
    TableColumn("kinds", TEXTS, "Kinds of its anomalies."),
    TableColumn("events", TEXTS, "Ids of the events about the anomalies that it has."),
    TableColumn("incidents", TEXTS, "Ids of the incidents that the shot belongs to."),
    TableColumn("model", _WORDS, "Version of the model that scored it."),
    TableColumn("trace_id", pa.string(), "Trace in which it was judged."),
    TableColumn("judged_at", pa.timestamp("ms", "UTC"), "When it was judged."),
)
"""The columns of the whole shot."""
_MEMBER_COLUMNS = (
    TableColumn("verdict", _WORDS, "valid, missing, or the reason why its record was refused."),
    TableColumn("on", pa.bool_(), "Whether the device was last known to be ON."),
    TableColumn("raw_object", _WORDS, "Key of the file that its record came in."),
    TableColumn("block", _WORDS, "Key of the block that holds its record."),
    TableColumn("row", pa.int32(), "Row of its record in the block, from 0.", "", (0, inf)),
)
"""The columns of each device, beside its features; named after the device and this."""


@dataclass(frozen=True)
class ShotTableSchema:
    """The columns of the shot table of one place."""

    place: Place
    devices: Mapping[str, str]
    """Group name of each device → its name in the columns."""
    columns: tuple[TableColumn, ...]

    @classmethod
    def of(cls, facility: Facility, place: Place) -> Self:
        """Return the columns of a place; without devices if the facility file does not list the place."""
        groups = sorted({group for at in facility.places if at.place == place for group in at.devices})
        devices = identifiers(groups)
        of_devices = (_device_columns(facility, group, name) for group, name in devices.items())
        return cls(place, devices, (*SHOT_COLUMNS, *chain.from_iterable(of_devices)))

    @cached_property
    def by_name(self) -> Mapping[str, TableColumn]:
        return {column.name: column for column in self.columns}

    @cached_property
    def arrow(self) -> pa.Schema:
        """The Arrow schema of its tables and files.

        The metadata of the schema, not of each field, describe the columns: a place has up to a thousand,
        and a reader decodes those of each field in each file.
        """
        described = json.dumps(self.description, ensure_ascii=False, separators=(",", ":"))
        fields = [pa.field(column.name, column.type) for column in self.columns]
        return pa.schema(fields, {METADATA_KEY: described.encode()})

    @property
    def description(self) -> dict[str, object]:
        """The description of all columns, as files contain it: of a device's columns once for all devices."""
        return {
            "schema_version": SCHEMA_VERSION,
            "place": str(self.place),
            "devices": {name: group for group, name in self.devices.items()},
            "columns": {
                column.of_device: {
                    "unit": column.unit,
                    "range": _bounds(column.range),
                    "description": column.description,
                }
                for column in self.columns
            },
        }


def identifiers(groups: Sequence[str]) -> dict[str, str]:
    """Return a name for each device that is an identifier: each other character becomes `_`.

    Group names that differ in nothing else get a digest at the end, so a name never means two devices.
    """
    plain = {group: _identifier(group) for group in groups}
    shared = {name for name, count in Counter(plain.values()).items() if count > 1}
    return {group: f"{name}_{_digest(group)}" if name in shared else name for group, name in plain.items()}


def _identifier(group: str) -> str:
    name = _NOT_IN_IDENTIFIERS.sub("_", group)
    return f"_{name}" if name[:1].isdigit() else name


def _digest(group: str) -> str:
    return blake2b(group.encode(), digest_size=4).hexdigest()


def _device_columns(facility: Facility, group: str, name: str) -> Iterator[TableColumn]:
    for each in _MEMBER_COLUMNS:
        yield TableColumn(f"{name}.{each.name}", each.type, each.description, each.unit, each.range, group)
    device = facility.device(group)
    for spec in DEVICE_KINDS[DeviceKind.OTHER if device is None else device.kind].features:
        yield _feature_column(spec, group, name)


def _feature_column(spec: FeatureSpec, group: str, name: str) -> TableColumn:
    return TableColumn(
        f"{name}.{spec.name}", pa.float32(), spec.description, spec.unit, spec.range, device=group
    )


def _bounds(limits: tuple[float, float]) -> list[float | None]:
    """Return a range as JSON has it: null where there is no bound."""
    return [bound if isfinite(bound) else None for bound in limits]
