"""A forged document in each collection, and every method of the archive that reads the collection.

An account that may add documents can add any. Beside good documents, a forged one changes nothing. In place
of a document that others depend on, it raises an error that names it.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from bson.datetime_ms import DatetimeMS

from shotwatch_common import metrics, rights
from shotwatch_common.archive import Archive
from shotwatch_common.archive.devices import LastFrame, LastState
from shotwatch_common.archive.measurements import Source, of_shot
from shotwatch_shots.batch import CompletedBatch, ShotBatch
from shotwatch_shots.calibration import CalibrationConstants
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.drift import Drift, FeatureDrift
from shotwatch_shots.errors import Bug, Retry
from shotwatch_shots.feedback import Statement
from shotwatch_shots.incidents import Incident, Incidents, SeriesIncidents
from shotwatch_shots.ledger import Entry
from shotwatch_shots.levels import LevelShift, SeriesLevels
from shotwatch_shots.models import BlockScores, ModelLoad, OwnThresholds, Promotion, ScoredHour
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.reconciliation.outcome import Imbalance, Outcome
from shotwatch_shots.reconciliation.sides import Tally
from shotwatch_shots.reconciliation.slices import Equality, Reconciled, Slice
from shotwatch_shots.records import BlockRef, JudgedRecords, ObjectRef
from shotwatch_shots.saved_search import NamedSearch, SavedSearch
from shotwatch_shots.shot import ShotFilter, ShotVerdict
from shotwatch_shots.vocabulary import (
    AnomalyKind,
    CalibrationKind,
    FeedbackAction,
    ModelAlias,
    ObjectState,
    Severity,
)
from shotwatch_shots.window import DeviceColumns, RecordSource, UnusedSource, Window
from tests.support.database import DatabaseClient
from tests.support.effects import Effects
from tests.support.world import LASER

from .test_cli_events import event as anomaly_event

NOW = 1_760_000_000_000 // 60_000 * 60_000
ALL = NOW - 3_600_000, NOW + 3_600_000
SERIES = ShotSeries.parse("LA-A3-31-60s")
INTERVAL = LASER.interval("60s")
DEVICE, KEY, ID = "LA_A3_31-EM_1-EnergyMeter-1", "key", "object"
OBJECT = ObjectRef(object_id=ID, bucket="inbox", key=KEY, etag="e", size=1, arrived_at=NOW)
BLOCK = BlockRef(bucket="blocks", key="block", object_id=ID, object_key=KEY)
WINDOW = Window.empty(SERIES.place, INTERVAL, NOW).id
SHOTS_SLICE = Slice.at(Equality.SHOTS, NOW)
FORGED = "forged"
WRONG: dict[str, Any] = {
    "text": "x",
    "number": 7,
    "huge": 2**62,
    "infinite": float("inf"),
    "nothing": None,
    "list": [7],
    "document": {"x": "y"},
    "bytes": b"x\x9c\xff",
    "date": DatetimeMS(2**60),
}
"""Values of which most are wrong for any field. Python has no value for the date, of the year 36 million."""
ONE_FOR_ALL = (
    "counters",
    "retention",
    "incidents",
    "levels",
    "windows",
    "reconciliations",
    "shot_counts",
    "tables",
)
"""Collections with documents on which others depend. A forged one in their place is refused with an error."""

NOT_COUNTED = ("promotions", "challengers", "incidents", "shadows")
"""Collections whose malformed documents become short texts, raise Bug, or are left out by the query."""

Reader = Callable[[Archive], Awaitable[Any]]


def _batch() -> ShotBatch:
    return ShotBatch(
        batch_id="batch",
        window_id=WINDOW,
        series=SERIES,
        pulses=[NOW],
        revisions=[1],
        complete=[True],
        members=[],
        last_arrival=NOW,
    )


def _window() -> Window:
    one = np.zeros(1, np.int32)
    source = RecordSource(BLOCK, NOW, "")
    columns = DeviceColumns(DeviceKind.ENERGY_METER, one, one, one, np.ones(1, bool), (source,), ())
    window = Window.empty(SERIES.place, INTERVAL, NOW)
    unused = (UnusedSource(DEVICE, BLOCK, 1),)
    return Window(
        window.place, INTERVAL, NOW, {DEVICE: columns}, one + 1, 1, outbox={"b": _batch()}, unused=unused
    )


async def _good(archive: Archive) -> None:
    """Store at least one document in each collection."""
    await archive.ledger.enter(OBJECT, "ingest")
    await archive.ledger.settle_at(ID, Entry(ObjectState.INGESTED, "ingest"), ("data", KEY))
    records = JudgedRecords(
        device=DEVICE,
        kind=DeviceKind.ENERGY_METER,
        series=SERIES,
        block=BLOCK,
        times=[NOW],
        states=["ON"],
        state=[0],
        reasons=[],
        verdict=[0],
    )
    await archive.records.keep(OBJECT, records)
    await archive.devices.saw(DEVICE, LastState(NOW, "ON"), NOW)
    await archive.frames.saw(DEVICE, LastFrame(NOW - 1, 2**62), NOW)
    await archive.windows.save(_window(), NOW)
    await archive.batches.add(_batch())
    await archive.measurements.keep(_batch(), Source.FEATURES, {DEVICE: {"energy": np.array([1.5])}})
    verdict = ShotVerdict(3.0, 5.0, (AnomalyKind.HOT_SPOT,), Severity.WARNING)
    await archive.shots.write(_batch(), [verdict], None, "")
    incident = Incident("i", AnomalyKind.HOT_SPOT, NOW, NOW, 1, Severity.WARNING, (DEVICE,), NOW)
    stored = SeriesIncidents(str(SERIES), 1, Incidents({incident.kind: incident}, (incident,)), ("batch",))
    await archive.incidents.save(stored)
    change = LevelShift(DEVICE, "energy", NOW, NOW, 5, 0.1, 1.0, 0.02, 6.0, 5.6, True, 1)
    levels = SeriesLevels(str(SERIES)).after(NOW, {(DEVICE, "energy"): b"state"}, (change,))
    await archive.levels.save(levels)
    event = anomaly_event(1)
    await archive.events.reserve([event.id, "another"])
    await archive.events.add([event])
    statement = Statement.about(event, action=FeedbackAction.CONFIRMED, who="amelie", at=NOW, caller="shift")
    await archive.feedback.add(statement)
    await archive.shadows.keep(_batch(), "4", np.array([1.0]), {})
    scores = BlockScores(frozenset({9}), frozenset(), frozenset(), {AnomalyKind.HOT_SPOT: {9: 1.5}})
    thresholds = OwnThresholds(5.7, {AnomalyKind.HOT_SPOT: 5.5}, 3, 9, 0.1)
    await archive.scored_hours.save(ScoredHour(str(SERIES), "3", 7, thresholds, scores=scores))
    await archive.model_loads.keep([ModelLoad("r", ModelAlias.CHAMPION, "3", "3", "")])
    for alias in ModelAlias:
        await archive.promotions.add(Promotion(NOW, "amelie", None, "3", "why", alias=alias, audit_line="l"))
    await archive.audit.note("promote", "3")
    constants = CalibrationConstants(DEVICE, CalibrationKind.NOISE, 1, NOW, NOW, NOW, 1, "data", "noise")
    await archive.calibration_constants.add(constants)
    await archive.trends.reported(DEVICE, "energy", NOW)
    await archive.drifts.keep(Drift(DEVICE, "3", NOW, NOW, {"energy": FeatureDrift(1.0, 1.0, 0.0, None)}))
    outcome = Outcome({"shots": 1}, (Imbalance("shot", "lost"),), tally=Tally({"ingested": 1}, {}, 1))
    await archive.reconciliations.note([SHOTS_SLICE], NOW)
    await archive.reconciliations.write(Reconciled(SHOTS_SLICE, outcome, NOW, 1, ()), NOW)
    await archive.reprocessings.note_reached("features", *ALL, NOW)
    await archive.retention.begin(NOW)
    await archive.retention.note_deleted(NOW)
    await archive.tables.lease("holder", 60_000)
    await archive.tables.note({(SERIES.place, NOW): [CompletedBatch("batch", WINDOW, NOW)]}, NOW)
    await archive.tables.check_later([KEY], SERIES.place, NOW, NOW)
    await archive.searches.save(
        "amelie", NamedSearch(name="spots", search=SavedSearch(place=(SERIES.place,)))
    )


async def _all(results: Any) -> list[Any]:
    return [each async for each in results]


async def _measured_of_shot(archive: Archive) -> Any:
    return of_shot(await archive.measurements.of_batch("batch"), 0)


READERS: Mapping[str, Mapping[str, Reader]] = {
    "objects": {
        "seen": lambda a: a.ledger.seen([ID, FORGED]),
        "places": lambda a: a.ledger.places([ID, FORGED]),
        "last_arrivals": lambda a: a.ledger.last_arrivals("no such key"),
        "newest": lambda a: a.ledger.newest([KEY]),
        "find": lambda a: a.ledger.find(ID),
        "find forged": lambda a: a.ledger.find(FORGED),
        "overdue": lambda a: a.ledger.overdue(ObjectState.INGESTED, ALL[1]),
        "tally": lambda a: a.ledger.tally(*ALL),
        "objects": lambda a: a.ledger.objects(*ALL),
        "located": lambda a: a.known_objects.located("", "zzz"),
        "end_of_part": lambda a: a.known_objects.end_of_part("", "zzz", 1),
        "located_at": lambda a: a.known_objects.located_at([KEY]),
        "in_bucket": lambda a: a.known_objects.in_bucket("data", list(ObjectState)),
        "known": lambda a: a.known_objects.find([ID, FORGED]),
        "versions": lambda a: a.known_objects.versions([KEY]),
        "of_keys": lambda a: a.known_objects.of_keys([KEY]),
        "arrived": lambda a: a.known_objects.arrived(*ALL),
        "first_arrival": lambda a: a.known_objects.first_arrival(*ALL),
        "first_folder": lambda a: a.known_objects.first_folder(""),
        "changed": lambda a: a.known_objects.changed(*ALL),
        "first_change": lambda a: a.known_objects.first_change(),
    },
    "records": {
        "rows": lambda a: _all(a.records.rows([KEY])),
        "first_start": lambda a: a.records.first_start(*ALL),
        "sources": lambda a: a.records.sources(*ALL),
        "of_device": lambda a: a.records.of_device(DEVICE, *ALL),
        "state_before": lambda a: a.records.state_before(DEVICE, ALL[1]),
    },
    "frames": {"before": lambda a: a.frames.before(DEVICE, NOW)},
    "devices": {
        "last_states": lambda a: a.devices.last_states([DEVICE, FORGED], NOW),
        "newest": lambda a: a.devices.newest(NOW),
        "states_before": lambda a: a.states_before([DEVICE], NOW + 1),
    },
    "windows": {
        "load": lambda a: a.windows.load(_window().id, LASER.interval),
        "of_file": lambda a: a.windows.of_file(KEY),
        "between": lambda a: a.windows.between(*ALL),
        "rows": lambda a: _all(a.windows.rows([KEY])),
        "closed": lambda a: a.windows.closed(*ALL),
        "first_start": lambda a: a.windows.first_start(*ALL),
        "files": lambda a: a.retention.files(_window().id),
        "files forged": lambda a: a.retention.files(FORGED),
    },
    "unused_sources": {"rows": lambda a: _all(a.windows.rows([KEY]))},
    "batches": {
        "find": lambda a: a.batches.find("batch"),
        "find forged": lambda a: a.batches.find(FORGED),
        "of_window": lambda a: a.batches.of_window(WINDOW),
        "overdue": lambda a: a.batches.overdue(2**50),
        "states": lambda a: a.batches.states(*ALL),
        "closed": lambda a: _all(a.batches.closed([WINDOW])),
        "windows_judged": lambda a: a.batches.windows_judged(0, 2**50),
        "last_judged": lambda a: a.batches.last_judged(WINDOW),
        "completed": lambda a: a.batches.completed(0, 2**50),
        "first_completed": lambda a: a.batches.first_completed(1, 2**50),
        "windows_closed": lambda a: a.batches.windows_closed(0, 2**50),
        "undecided": lambda a: a.batches.undecided(WINDOW),
        "unjudged": lambda a: a.batches.unjudged(),
    },
    "calibration_constants": {
        "of_device": lambda a: a.calibration_constants.of_device(DEVICE),
        "latest": lambda a: a.calibration_constants.latest(),
    },
    "measurements": {
        "of_batch": _measured_of_shot,
        "series": lambda a: a.measurements.series(DEVICE, ["energy"], *ALL),
        "medians": lambda a: a.measurements.medians(DEVICE, ["energy"], *ALL),
    },
    "shots": {
        "page": lambda a: a.shots.page(ShotFilter(), *ALL),
        "spread": lambda a: a.shots.spread(ShotFilter(), 10, *ALL),
        "find": lambda a: a.shots.find(_batch().shot_ids[0]),
        "find forged": lambda a: a.shots.find(FORGED),
        "revisions": lambda a: a.shots.revisions([*_batch().shot_ids, FORGED]),
        "stored": lambda a: a.shots.stored(*ALL),
        "first_pulse": lambda a: a.shots.first_pulse(*ALL),
    },
    "shot_counts": {
        "page": lambda a: a.shots.page(ShotFilter(kind=AnomalyKind.HOT_SPOT), *ALL),
        "first_judged": lambda a: a.shots.first_judged(),
    },
    "incidents": {"load": lambda a: a.incidents.load(str(SERIES))},
    "levels": {"load": lambda a: a.levels.load(str(SERIES))},
    "events": {
        "first_stored": lambda a: a.events.first_stored(0, 2**50),
        "stored_between": lambda a: a.events.stored_between(0, 2**50),
        "numbers": lambda a: a.events.numbers([1]),
        "stored": lambda a: a.events.stored([anomaly_event(1).id, FORGED]),
        "unpublished": lambda a: a.events.unpublished([anomaly_event(1).id, FORGED]),
        "of_shots": lambda a: a.events.of_shots([anomaly_event(1).data.shot]),
        "any_of": lambda a: a.events.any_of(SERIES, 0, 2**50),
        "spans": lambda a: a.events.spans([anomaly_event(1).data.incident]),
        "find forged": lambda a: a.events.find(FORGED),
        "numbered": lambda a: a.events.numbered(0, 9),
        "between": lambda a: a.events.between(0, 2**50),
        "raised": lambda a: a.events.raised(["3"]),
    },
    "counters": {
        "last_number": lambda a: a.events.last_number(),
        "reserve": lambda a: a.events.reserve(["another"]),
        "reserved_at": lambda a: a.events.reserved_at(),
        "numbers": lambda a: a.events.numbers([1]),
        "published": lambda a: a.events.published([anomaly_event(1)]),
    },
    "feedback": {
        "of_incident": lambda a: a.feedback.of_incident(anomaly_event(1).data.incident),
        "standings": lambda a: a.feedback.standings([anomaly_event(1).data.incident]),
        "snoozes": lambda a: a.feedback.snoozes(NOW),
        "page": lambda a: a.feedback.page(None, 0, 2**50, 10),
    },
    "shadows": {"records": lambda a: a.shadows.records(["4"])},
    "scored_hours": {
        "load": lambda a: a.scored_hours.load(str(SERIES), "3", 7),
        "past": lambda a: a.scored_hours.past(str(SERIES), "3", 0, 9),
        "newest": lambda a: a.scored_hours.newest(str(SERIES), "3"),
    },
    "model_loads": {"fresh": lambda a: a.model_loads.fresh()},
    "promotions": {
        "newest": lambda a: a.promotions.newest(ModelAlias.CHAMPION),
        "sharing": lambda a: a.promotions.sharing(ModelAlias.CHAMPION, "l"),
    },
    "challengers": {"newest": lambda a: a.promotions.newest(ModelAlias.CHALLENGER)},
    "audit": {"page": lambda a: a.audit.page(0, 2**50, 10)},
    "retention": {
        "expired_until": lambda a: a.retention.expired_until(),
        "horizon": lambda a: a.retention.horizon(),
    },
    "trends": {"reported_until": lambda a: a.trends.reported_until()},
    "drifts": {"of_version": lambda a: a.drifts.of_version("3")},
    "reconciliations": {
        "noted_until": lambda a: a.reconciliations.noted_until(),
        "known": lambda a: a.reconciliations.known([SHOTS_SLICE]),
        "due": lambda a: a.reconciliations.due(2**50),
        "find": lambda a: a.reconciliations.find(SHOTS_SLICE),
        "overlapping": lambda a: a.reconciliations.overlapping(*ALL),
        "changed_since": lambda a: a.reconciliations.changed_since(0),
        "imbalanced": lambda a: a.reconciliations.imbalanced(),
    },
    "tables": {
        "lease": lambda a: a.tables.lease("holder", 60_000),
        "noted_until": lambda a: a.tables.noted_until(),
        "changed": lambda a: a.tables.changed(),
        "to_check": lambda a: a.tables.to_check(),
    },
    "searches": {
        "of_owner": lambda a: a.searches.of_owner("amelie"),
        "find": lambda a: a.searches.find("amelie", "spots"),
        "find forged": lambda a: a.searches.find("another", FORGED),
    },
    "reprocessings": {"reached": lambda a: a.reprocessings.reached("features", *ALL)},
}
"""Collection → its readers. Each of the collections that an account has rights in must be here."""


def test_each_collection_is_here() -> None:
    assert set(READERS) == {name for account in rights.DATABASE.values() for name in account}


async def _stored() -> tuple[DatabaseClient, Archive]:
    client = DatabaseClient(Effects())
    archive = Archive(client, "shotwatch")  # type: ignore[arg-type]
    await _good(archive)
    return client, archive


def _forgeries(good: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield forged copies of a document.

    They have only its id, a date that the driver cannot decode, a field left out, or a wrong value.
    """
    yield "only its id", {}
    yield "with a further date", {**good, "further": WRONG["date"]}
    for field in good:
        yield f"without {field}", {name: value for name, value in good.items() if name != field}
        for name, value in WRONG.items():
            yield f"{field} is {name}", {**good, field: value}


def _left_out(collection: str) -> float:
    return metrics.MALFORMED_DOCUMENTS.labels(collection)._value.get()


@pytest.mark.parametrize("collection", sorted(READERS))
async def test_beside_good_documents_a_forged_one_keeps_no_reader_from_its_work(collection: str) -> None:
    client, archive = await _stored()
    documents = client["shotwatch"][collection].documents
    good = deepcopy(documents)
    assert good
    before = {name: await read(archive) for name, read in READERS[collection].items()}
    for original in good.values():
        fields = {name: value for name, value in original.items() if name != "_id"}
        for what, forged in _forgeries(fields):
            documents.clear()
            documents.update(deepcopy({FORGED: {"_id": FORGED, **forged}, **good}))
            for name, read in READERS[collection].items():
                try:
                    after = await read(archive)
                except Exception as error:
                    raise AssertionError(f"{collection}: {name} fails where {what}") from error
                if not forged and collection not in ("promotions", "challengers"):
                    assert repr(after) == repr(before[name]), f"{name} where {what}"


@pytest.mark.parametrize("collection", sorted(READERS))
async def test_in_place_of_a_good_document_a_forged_one_is_left_out_or_named(collection: str) -> None:
    client, archive = await _stored()
    documents = client["shotwatch"][collection].documents
    good, left_out = deepcopy(documents), _left_out(collection)
    named: list[tuple[str, str]] = []
    for id_, original in good.items():
        fields = {name: value for name, value in original.items() if name != "_id"}
        for what, forged in _forgeries(fields):
            documents.clear()
            documents.update(deepcopy({**good, id_: {"_id": id_, **forged}}))
            for name, read in READERS[collection].items():
                try:
                    await read(archive)
                except (Retry, Bug) as error:
                    named.append((str(id_), str(error)))
                except Exception as error:
                    raise AssertionError(f"{collection}: {name} fails where {what}") from error
    assert bool(named) == (collection in ONE_FOR_ALL)
    assert all(collection in why or id_ in why for id_, why in named)
    if collection not in NOT_COUNTED:
        assert _left_out(collection) > left_out
