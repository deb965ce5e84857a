"""The manifest of a training set: its content, its sources, and how to make it again.

The keys in the bucket begin with the name of the set: `{name}/part-00000-of-00004.tfrecord` …,
`{name}/manifest.json`. The manifest is written last; a set without a manifest does not exist.
"""

from collections.abc import Iterator, Sequence
from typing import Self

from shotwatch_shots.batch import ABSENT
from shotwatch_shots.message import Message
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.records import BlockRef
from shotwatch_shots.vocabulary import AnomalyKind

Record = tuple[BlockRef, int]
"""A block and a row in it."""


class ShotQuery(Message):
    """The query that selects the shots of a set."""

    places: tuple[str, ...] = ()
    """Places such as `LA-A1-11`; empty = all of the facility."""
    start: int | None = None
    """Epoch ms; None = from the oldest shot."""
    end: int | None = None
    """Epoch ms, exclusive; None = to the newest shot."""
    incomplete: bool = False
    """Whether to include shots that lack a kind of device."""
    include: tuple[AnomalyKind, ...] = ()
    """Only shots with an anomaly of one of these kinds; empty = all shots."""
    exclude: tuple[AnomalyKind, ...] = ()
    """No shots with an anomaly of one of these kinds."""
    most: int | None = None
    """Maximum number of shots, spread evenly over those that match; None = all."""


class FeatureDescription(Message):
    """The description of a feature that every example has."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    description: str


class MemberColumn(Message):
    """The records of a group's examples: row `row[n]` of block `blocks[source[n]]`."""

    blocks: list[BlockRef]
    source: list[int]
    """ABSENT where the shot has no such record."""
    row: list[int]
    """0 where absent."""

    @classmethod
    def of(cls, records: Sequence[Record | None]) -> Self:
        """Return the column of these records; None stands for an absent record."""
        blocks: dict[BlockRef, int] = {}
        source = [blocks.setdefault(r[0], len(blocks)) if r else ABSENT for r in records]
        return cls(blocks=list(blocks), source=source, row=[r[1] if r else 0 for r in records])

    @property
    def records(self) -> list[Record | None]:
        """The records that were passed to `of`."""
        return [
            None if source == ABSENT else (self.blocks[source], row)
            for source, row in zip(self.source, self.row, strict=True)
        ]


class Group(Message):
    """The examples of one camera in one batch of shots; columns have one entry per example."""

    batch: str
    series: ShotSeries
    camera: str
    shots: list[str]
    pulses: list[int]
    """Epoch ms."""
    revisions: list[int]
    """Revisions of the shots when the set was made."""
    kinds: list[list[AnomalyKind]]
    """The anomalies of each shot."""
    image: MemberColumn
    spectrum: MemberColumn
    energy: MemberColumn

    @property
    def blocks(self) -> Iterator[BlockRef]:
        """Every block that the group is made from."""
        for column in (self.image, self.spectrum, self.energy):
            yield from column.blocks


class RawObject(Message):
    """A file as it arrived, from which blocks can be made again, and its location."""

    object_id: str
    bucket: str
    key: str
    etag: str | None
    """The etag when the set was made; None if the file did not exist any more."""


class Shard(Message):
    """One file of the set."""

    key: str
    examples: int
    size: int
    """Bytes."""
    sha256: str


class SetCounts(Message):
    """The numbers of shots and examples, and of those that were left out."""

    matched: int
    """Number of shots that match the query."""
    shots: int
    """Number of these that have an example."""
    examples: int
    cameras: int
    expired: int
    """Number of examples left out because one of their blocks has expired."""


class DatasetManifest(Message):
    """A complete training set. The examples are those of `groups`, in that order, cut into `shards`."""

    name: str
    facility: str
    code_version: str
    made_at: int
    """Epoch ms."""
    query: ShotQuery
    counts: SetCounts
    features: list[FeatureDescription]
    shards: list[Shard]
    raw_objects: list[RawObject]
    groups: list[Group]

    def shape(self, feature: str) -> tuple[int, ...]:
        """Return the shape of a feature, which is the same in every example."""
        return next(each.shape for each in self.features if each.name == feature)

    @property
    def blocks(self) -> list[BlockRef]:
        """Every block that the set is made from, once."""
        return list(dict.fromkeys(block for group in self.groups for block in group.blocks))


def features_of(image: tuple[int, ...], spectrum: tuple[int, ...]) -> list[FeatureDescription]:
    """Return the description of each feature, for frames and spectra of these shapes."""
    described = (
        ("image", "uint16", image, "a camera's frame, counts"),
        ("energymeter", "float32", (), "the shot's energy, J; NaN if it has none"),
        ("spectra", "float32", spectrum, "the shot's spectrum, counts; NaN if it has none"),
        ("amp", "string", (), "second level of the place: amplifier or diagnostics, such as A1"),
        ("arm", "string", (), "third level: arm, 00 where there is none"),
        ("front", "string", (), "first level: beam line, LA or LB"),
        ("timestamp", "int64", (), "the shot's pulse, epoch ms"),
        ("interval", "string", (), "sampling period of the recorders, such as 100ms"),
        ("date", "string", (), "UTC, such as 2022-07-01"),
    )
    return [
        FeatureDescription(name=name, dtype=dtype, shape=shape, description=words)
        for name, dtype, shape, words in described
    ]
