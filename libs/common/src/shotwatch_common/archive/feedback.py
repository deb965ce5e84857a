"""Feedback: statements of people about events. They are kept permanently."""

from collections import Counter, defaultdict
from collections.abc import AsyncIterable, Sequence
from itertools import chain

from pymongo.errors import DuplicateKeyError

from shotwatch_common.archive.driver import Database, Document, Filter
from shotwatch_common.archive.events import Events
from shotwatch_common.archive.readable import all_readable
from shotwatch_shots.feedback import (
    LONGEST_SNOOZE_MS,
    MOST_STATEMENTS,
    VERDICTS,
    ShotLabels,
    ShotSpan,
    Snooze,
    Standing,
    Statement,
    active_snoozes,
    newest_verdicts,
    shot_labels,
    standings,
)
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.shot import JudgedShot
from shotwatch_shots.vocabulary import FeedbackAction


class Feedback:
    """Collection `feedback`: one document per statement, `_id` is its id. Documents never change."""

    def __init__(self, database: Database) -> None:
        self._feedback = database["feedback"]
        self._events = Events(database)

    async def ensure_indexes(self) -> None:
        await self._feedback.create_index([("incident", 1)])
        await self._feedback.create_index([("time", 1)])
        await self._feedback.create_index([("at", 1)])
        await self._feedback.create_index([("action", 1), ("at", 1)])
        await self._feedback.create_index([("model", 1)])

    async def add(self, statement: Statement) -> None:
        """Store a statement; do nothing if it exists already."""
        try:
            await self._feedback.insert_one({"_id": statement.id, **statement.model_dump(mode="json")})
        except DuplicateKeyError:
            return

    async def of_incident(self, incident: str) -> list[Statement]:
        """Return the newest MOST_STATEMENTS statements about an incident.

        There may be more, from before that limit was introduced.
        """
        found = self._feedback.find({"incident": incident}).sort([("at", -1), ("_id", -1)])
        return await _statements(found.limit(MOST_STATEMENTS))

    async def count(self, incident: str, caller: str | None = None) -> int:
        """Return how many statements there are about an incident, by one caller or by all."""
        query = {"incident": incident} | ({} if caller is None else {"caller": caller})
        count: int = await self._feedback.count_documents(query)
        return count

    async def standings(self, incidents: Sequence[str]) -> dict[str, Standing]:
        """Return the standing of each of these incidents that has feedback.

        It follows from the newest MOST_STATEMENTS statements about each incident. A single query suffices,
        unless the incidents together have more than MOST_STATEMENTS statements each on average.
        """
        most = MOST_STATEMENTS * len(incidents)
        found = self._feedback.find({"incident": {"$in": list(incidents)}}).limit(most + 1)
        statements = await _statements(found)
        if len(statements) <= most:
            return standings(statements)
        of_each = [await self.of_incident(incident) for incident in incidents]
        return standings(chain.from_iterable(of_each))

    async def page(
        self,
        action: FeedbackAction | None,
        start_ms: int,
        end_ms: int,
        limit: int,
        newest_first: bool = False,
    ) -> list[Statement]:
        """Return the statements in [start, end) (epoch ms), sorted by time, then by id.

        With `action`, return only statements of that kind. A limit of 0 means no limit.
        """
        order = -1 if newest_first else 1
        wanted = {"at": {"$gte": start_ms, "$lt": end_ms}} | ({} if action is None else {"action": action})
        found = self._feedback.find(wanted).sort([("at", order), ("_id", order)]).limit(limit)
        return await _statements(found)

    async def snoozes(self, now_ms: int) -> list[Snooze]:
        """Return the snoozes that are active now."""
        recent = {"$gt": now_ms - LONGEST_SNOOZE_MS, "$lte": now_ms}
        return active_snoozes(await self._found({"action": FeedbackAction.SNOOZED, "at": recent}), now_ms)

    async def labels(self, shots: Sequence[JudgedShot]) -> dict[str, ShotLabels]:
        """Return the labels of those of these shots that people have labelled.

        All verdicts are read; people make few.
        """
        verdicts = await self._found({"action": {"$in": sorted(VERDICTS)}})
        spans = await self._events.spans(sorted({each.incident for each in verdicts}))
        return shot_labels(shots, verdicts, spans)

    async def labelled(self) -> list[tuple[ShotSeries, ShotSpan]]:
        """Return the series and the time span of each incident that people have labelled."""
        verdicts = await self._found({"action": {"$in": sorted(VERDICTS)}})
        spans = await self._events.spans(sorted({each.incident for each in verdicts}))
        return [(each.series, spans[each.incident]) for each in verdicts if each.incident in spans]

    async def confirmed(self, series: ShotSeries, start_ms: int, end_ms: int) -> list[ShotSpan]:
        """Return the spans of the incidents of a series that people confirmed, by events in [start, end)."""
        of_time = {"action": {"$in": sorted(VERDICTS)}, "time": {"$gte": start_ms, "$lt": end_ms}}
        verdicts = newest_verdicts(await self._found(of_time), lambda each: each.incident)
        confirmed = [
            each.incident
            for each in verdicts
            if each.action is FeedbackAction.CONFIRMED and each.series == series
        ]
        return [*(await self._events.spans(confirmed)).values()]

    async def verdicts(self, models: Sequence[str]) -> dict[str, Counter[FeedbackAction]]:
        """Count the confirmed incidents and the false ones of each of these model versions."""
        statements = await self._found({"model": {"$in": list(models)}})
        counts: dict[str, Counter[FeedbackAction]] = defaultdict(Counter)
        for verdict in newest_verdicts(statements, lambda each: each.incident):
            counts[str(verdict.model)][verdict.action] += 1
        return {model: counts[model] for model in models}

    async def _found(self, query: Filter) -> list[Statement]:
        return await _statements(self._feedback.find(query))


async def _statements(documents: AsyncIterable[Document]) -> list[Statement]:
    return await all_readable(documents, Statement.model_validate, "feedback")
