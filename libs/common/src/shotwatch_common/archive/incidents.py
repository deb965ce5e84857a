"""The incidents of each place, changed by compare-and-set."""

from dataclasses import asdict

from pydantic import TypeAdapter

from shotwatch_common.archive.driver import Database, Document
from shotwatch_common.archive.readable import number, texts
from shotwatch_common.archive.versioned import save_version
from shotwatch_shots.errors import Bug
from shotwatch_shots.event import AnomalyEvent
from shotwatch_shots.incidents import Incident, Incidents, SeriesIncidents

_incident = TypeAdapter(Incident)


class IncidentCollection:
    """Collection `incidents`: `_id` is place and interval; `version` counts changes.

    A change is written only if the document has not changed since it was read. The events that result from a
    change are written with it, to `outbox`, by batch. They are removed from there once they are published.
    """

    def __init__(self, database: Database) -> None:
        self._incidents = database["incidents"]

    async def load(self, series: str) -> SeriesIncidents:
        """Return the incidents of a series; version 0 if nothing is stored yet.

        Raises:
            Bug: the document is malformed.
        """
        document = await self._incidents.find_one({"_id": series})
        if document is None:
            return SeriesIncidents(series)
        try:
            return _decoded(document)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise Bug(f"the incidents of {series} cannot be read: {error!r}") from error

    async def save(self, incidents: SeriesIncidents) -> bool:
        """Write version n over version n - 1, or the first version.

        Return False if another process has changed the document since it was read.
        """
        return await save_version(self._incidents, _encoded(incidents))

    async def remove_from_outbox(self, series: str, batch_id: str) -> None:
        """Remove the published events of a batch from the outbox. This counts as a change."""
        await self._incidents.update_one(
            {"_id": series}, {"$unset": {f"outbox.{batch_id}": ""}, "$inc": {"version": 1}}
        )


def _encoded(stored: SeriesIncidents) -> Document:
    return {
        "_id": stored.series,
        "version": stored.version,
        "open": [_encoded_incident(each) for each in stored.incidents.open.values()],
        "over": [_encoded_incident(each) for each in stored.incidents.over],
        "batches": list(stored.batches),
        "outbox": {
            batch_id: [event.model_dump_json(by_alias=True) for event in events]
            for batch_id, events in stored.outbox.items()
        },
    }


def _decoded(document: Document) -> SeriesIncidents:
    still_open = [_incident.validate_python(each) for each in document["open"]]
    over = tuple(_incident.validate_python(each) for each in document["over"])
    return SeriesIncidents(
        document["_id"],
        number(document["version"]),
        Incidents({each.kind: each for each in still_open}, over),
        texts(document["batches"]),
        {
            batch_id: [AnomalyEvent.model_validate_json(event) for event in events]
            for batch_id, events in document["outbox"].items()
        },
    )


def _encoded_incident(incident: Incident) -> Document:
    names = {"kind": incident.kind.value, "severity": incident.severity.value}
    return {**asdict(incident), "devices": list(incident.devices), **names}
