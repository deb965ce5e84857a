"""The manifest of a training set: what is in it, where that came from, and how to make it again.

The set is named by the bucket's keys: `{name}/part-00000-of-00004.tfrecord` …, `{name}/manifest.json`. The
manifest is written last; without it there is no set.
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


class Query(Message):
    """Which shots a set is made of."""

    places: tuple[str, ...] = ()
    """Such as `LA-A1-11`; none = all of the facility."""
    start: int | None = None
    """Epoch ms; None = from the oldest shot."""
    end: int | None = None
    """Epoch ms, exclusive; None = to the newest shot."""
    incomplete: bool = False
    """Also shots that lack a kind of device."""
    include: tuple[AnomalyKind, ...] = ()
    """Only shots with an anomaly of one of these kinds; none = all shots."""
    exclude: tuple[AnomalyKind, ...] = ()
    """No shots with an anomaly of one of these kinds."""
    most: int | None = None
    """At most so many shots, spread evenly over those that match; None = all."""


class Feature(Message):
    """A feature of every example."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    description: str


class Column(Message):
    """The records of a group's examples: row `row[n]` of block `blocks[source[n]]`."""

    blocks: list[BlockRef]
    source: list[int]
    """ABSENT where the shot has no such record."""
    row: list[int]
    """0 where absent."""

    @classmethod
    def of(cls, records: Sequence[Record | None]) -> Self:
        """The column of these records, None where there is none."""
        blocks: dict[BlockRef, int] = {}
        source = [blocks.setdefault(r[0], len(blocks)) if r else ABSENT for r in records]
        return cls(blocks=list(blocks), source=source, row=[r[1] if r else 0 for r in records])

    @property
    def records(self) -> list[Record | None]:
        """What `of` was given."""
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
    """At which the shots were when the set was made."""
    kinds: list[list[AnomalyKind]]
    """The anomalies of the shots."""
    image: Column
    spectrum: Column
    energy: Column

    @property
    def blocks(self) -> Iterator[BlockRef]:
        """Every block that the group is made from."""
        for column in (self.image, self.spectrum, self.energy):
            yield from column.blocks


class RawObject(Message):
    """A file as it arrived, from which blocks can be made again, and where it lies."""

    object_id: str
    bucket: str
    key: str
    etag: str | None
    """When the set was made; None if it was gone already."""


class Shard(Message):
    """One file of the set."""

    key: str
    examples: int
    size: int
    """Bytes."""
    sha256: str


class Counts(Message):
    """How many shots and examples there are, and why there are not more."""

    matched: int
    """Shots that the query chose."""
    shots: int
    """Those of them with an example."""
    examples: int
    cameras: int
    expired: int
    """Examples left out because a block of theirs has expired."""


class Manifest(Message):
    """A training set, whole. The examples are those of `groups`, in that order, cut into `shards`."""

    name: str
    facility: str
    code_version: str
    made_at: int
    """Epoch ms."""
    query: Query
    counts: Counts
    features: list[Feature]
    shards: list[Shard]
    raw_objects: list[RawObject]
    groups: list[Group]

    def shape(self, feature: str) -> tuple[int, ...]:
        """The shape of a feature of every example."""
        return next(each.shape for each in self.features if each.name == feature)

    @property
    def blocks(self) -> list[BlockRef]:
        """Every block that the set is made from, once."""
        return list(dict.fromkeys(block for group in self.groups for block in group.blocks))


def features_of(image: tuple[int, ...], spectrum: tuple[int, ...]) -> list[Feature]:
    """What each feature is, for frames and spectra of these shapes."""
    told = (
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
        Feature(name=name, dtype=dtype, shape=shape, description=words) for name, dtype, shape, words in told
    ]
