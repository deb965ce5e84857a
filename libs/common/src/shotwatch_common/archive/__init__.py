"""The database. This package is the only one that knows the driver.

    async with Archive.of(settings) as archive:
        await archive.ledger.tally(start, end)

`TRANSIENT` lists the driver's errors after which the same call may succeed.
"""

from collections.abc import Container, Sequence
from types import TracebackType
from typing import Self, cast

import pymongo
from bson.raw_bson import RawBSONDocument
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.errors import OperationFailure

from shotwatch_common.archive.audit import Audit
from shotwatch_common.archive.batches import Batches
from shotwatch_common.archive.calibration_constants import CalibrationVersions
from shotwatch_common.archive.devices import Devices, LastFrames
from shotwatch_common.archive.drifts import Drifts
from shotwatch_common.archive.driver import TRANSIENT as TRANSIENT
from shotwatch_common.archive.driver import Database, Document, is_unknown_account
from shotwatch_common.archive.events import Events
from shotwatch_common.archive.feedback import Feedback
from shotwatch_common.archive.incidents import IncidentCollection
from shotwatch_common.archive.indexes import Indexed, missing_indexes
from shotwatch_common.archive.known_objects import KnownObjects
from shotwatch_common.archive.ledger import Ledger
from shotwatch_common.archive.levels import LevelCollection
from shotwatch_common.archive.measurements import Measurements
from shotwatch_common.archive.model_loads import ModelLoads
from shotwatch_common.archive.promotions import Promotions
from shotwatch_common.archive.reconciliations import Reconciliations
from shotwatch_common.archive.records import LONGEST_SILENCE_MS, Records
from shotwatch_common.archive.reprocessings import Reprocessings
from shotwatch_common.archive.retention import Retention
from shotwatch_common.archive.scored_hours import ScoredHours
from shotwatch_common.archive.searches import SearchCollection
from shotwatch_common.archive.shadows import Shadows
from shotwatch_common.archive.shots import Shots
from shotwatch_common.archive.tables import Tables
from shotwatch_common.archive.trends import Trends
from shotwatch_common.archive.windows import Windows
from shotwatch_common.settings import Settings
from shotwatch_common.subjects import subject_of
from shotwatch_shots.ledger import Entry
from shotwatch_shots.vocabulary import ObjectState

_ANSWER_S = 5.0

_INDEXED: tuple[type[Indexed], ...] = (
    Ledger,
    Records,
    CalibrationVersions,
    Windows,
    Batches,
    Measurements,
    Shots,
    Events,
    Feedback,
    Audit,
    Shadows,
    ScoredHours,
    Reconciliations,
    SearchCollection,
)


class Archive:
    """The contents of one database, with an attribute for each repository.

    A write succeeds only when it is in the journal of a majority of the database servers. So if a message is
    acknowledged after the write, the loss of one server does not lose the data.
    """

    def __init__(self, client: AsyncIOMotorClient[Document], name: str) -> None:
        self._client = client
        self._database = database = Database(client[name])
        self.ledger = Ledger(database)
        self.known_objects = KnownObjects(database)
        self.records = Records(database)
        self.calibration_constants = CalibrationVersions(database)
        self.trends = Trends(database)
        self.incidents = IncidentCollection(database)
        self.levels = LevelCollection(database)
        self.windows = Windows(database)
        self.batches = Batches(database)
        self.measurements = Measurements(database)
        self.shots = Shots(database)
        self.events = Events(database)
        self.feedback = Feedback(database)
        self.audit = Audit(database)
        self.drifts = Drifts(database)
        self.model_loads = ModelLoads(database)
        self.promotions = Promotions(database)
        self.reconciliations = Reconciliations(database)
        self.reprocessings = Reprocessings(database)
        self.retention = Retention(database)
        self.shadows = Shadows(database)
        self.scored_hours = ScoredHours(database)
        self.searches = SearchCollection(database)
        self.tables = Tables(database)
        self.devices = Devices(database)
        self.frames = LastFrames(database)

    @classmethod
    def at(cls, url: str, name: str) -> Self:
        """Return the database of this name on the server at this URL."""
        client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(
            url,
            document_class=cast(type[Document], RawBSONDocument),
            serverSelectionTimeoutMS=5000,
            tz_aware=True,
            w="majority",
            journal=True,
        )
        return cls(client, name)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls.at(settings.database_url.get_secret_value(), settings.database_name)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._client.close()

    async def dead_letter(self, stage: str, body: bytes, reason: str) -> None:
        """Mark the objects or batches of a message that a stage has dead-lettered."""
        about = subject_of(body)
        for obj in about.objects:
            await self.ledger.enter(obj, stage)
            entry = Entry(ObjectState.DEAD_LETTERED, stage, reason)
            await self.ledger.settle(obj.object_id, entry, "dead_lettered")
        for batch_id in about.batches:
            await self.batches.dead_letter(batch_id, stage, reason)

    async def states_before(self, devices: Sequence[str], time_ms: int) -> dict[str, str]:
        """Return the state of each device at its last record before a time (epoch ms).

        Devices that have no record in the LONGEST_SILENCE_MS before that time are left out. A single query
        covers all devices that have recorded nothing since that time (docs/adr/0018).
        """
        states: dict[str, str] = {}
        for device, newest in (await self.devices.last_states(devices)).items():
            if newest.time >= time_ms:
                state = await self.records.state_before(device, time_ms)
            else:
                state = newest.state if newest.time >= time_ms - LONGEST_SILENCE_MS else None
            if state is not None:
                states[device] = state
        return states

    async def ready(self) -> bool:
        """Return whether the server answers within 5 s and accepts our account."""
        try:
            with pymongo.timeout(_ANSWER_S):
                await self._client.admin.command("ping")
        except TRANSIENT:
            return False
        except OperationFailure as error:
            if is_unknown_account(error):
                return False
            raise
        return True

    async def ensure_indexes(self) -> None:
        """Create the indexes that queries need; existing indexes stay as they are.

        Only set-up calls this, because the accounts of services may not create indexes.
        """
        for part in _INDEXED:
            await part(self._database).ensure_indexes()

    async def missing_indexes(self, collections: Container[str] | None = None) -> list[str]:
        """Return the indexes that queries need and that do not exist, for example `shots: pulse`.

        With `collections`, check only these collections; otherwise check all.
        """
        return await missing_indexes(self._database, _INDEXED, collections)
