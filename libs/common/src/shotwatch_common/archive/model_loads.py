"""Which version of the model each replica of inference has loaded, and which version it cannot load."""

from collections.abc import Sequence
from dataclasses import asdict

from pydantic import TypeAdapter

from shotwatch_common.archive.driver import Database
from shotwatch_common.archive.readable import all_readable
from shotwatch_common.clock import epoch_now
from shotwatch_shots.models import ModelLoad

_load = TypeAdapter(ModelLoad)
_FRESH_MS = 35_000
"""A replica that has not reported for this long (more than three times LOAD_REPORT_S) counts as gone."""
_KEPT_MS = 3_600_000


class ModelLoads:
    """Collection `model_loads`: `_id` is replica and alias; `at` is when it last reported (epoch ms)."""

    def __init__(self, database: Database) -> None:
        self._loads = database["model_loads"]

    async def keep(self, loads: Sequence[ModelLoad]) -> None:
        """Replace the previous reports of these replicas, and delete reports that are older than an hour."""
        now = epoch_now()
        for load in loads:
            id_ = f"{load.replica}/{load.alias}"
            await self._loads.replace_one({"_id": id_}, {"_id": id_, **asdict(load), "at": now}, upsert=True)
        await self._loads.delete_many({"at": {"$lt": now - _KEPT_MS}})

    async def fresh(self) -> list[ModelLoad]:
        """Return the reports of the replicas that are running now, sorted by replica and alias."""
        found = self._loads.find({"at": {"$gte": epoch_now() - _FRESH_MS}}, {"_id": 0, "at": 0})
        loads = await all_readable(found, _load.validate_python, "model_loads")
        return sorted(loads, key=lambda load: (load.replica, load.alias))
