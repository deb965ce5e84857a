"""The incidents of each place, changed by compare-and-set."""

from dataclasses import asdict

from shotwatch_common.archive.driver import Database, Document
from shotwatch_common.archive.versioned import save_version
from shotwatch_shots.event import AnomalyEvent
from shotwatch_shots.incidents import Incident, Incidents, SeriesIncidents
from shotwatch_shots.vocabulary import AnomalyKind, Severity


class IncidentCollection:
    """Collection `incidents`: `_id` is place and interval; `version` counts changes.

    A change is written only if the document has not changed since it was read. The events that result from a
    change are written with it, to `outbox`, by batch. They are removed from there once they are published.
    """

    def __init__(self, database: Database) -> None:
        self._incidents = database["incidents"]

    async def load(self, series: str) -> SeriesIncidents:
        """Return the incidents of a series; version 0 if nothing is stored yet."""
        document = await self._incidents.find_one({"_id": series})
        return SeriesIncidents(series) if document is None else _decoded(document)

    async def save(self, incidents: SeriesIncidents) -> bool:
        """Write version n over version n - 1, or the first version.

        Return False if another process has changed the document since it was read.
        """
        return await save_version(self._incidents, _encoded(incidents))

    async def strike_off(self, series: str, batch_id: str) -> None:
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
    still_open = [_decoded_incident(each) for each in document["open"]]
    return SeriesIncidents(
        document["_id"],
        document["version"],
        Incidents({each.kind: each for each in still_open}, tuple(map(_decoded_incident, document["over"]))),
        tuple(document["batches"]),
        {
            batch_id: [AnomalyEvent.model_validate_json(event) for event in events]
            for batch_id, events in document["outbox"].items()
        },
    )


def _encoded_incident(incident: Incident) -> Document:
    names = {"kind": incident.kind.value, "severity": incident.severity.value}
    return {**asdict(incident), "devices": list(incident.devices), **names}


def _decoded_incident(stored: Document) -> Incident:
    kind, severity = AnomalyKind(stored["kind"]), Severity(stored["severity"])
    return Incident(**{**stored, "kind": kind, "severity": severity, "devices": tuple(stored["devices"])})
