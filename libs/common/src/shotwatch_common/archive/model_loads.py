"""Which version of the model each replica of inference has loaded, and which version it cannot load."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from shotwatch_common.clock import epoch_now
from shotwatch_shots.vocabulary import ModelAlias

REPORT_S = 10.0
"""Interval between two reports of a replica, in seconds."""
_FRESH_MS = 35_000
"""A replica that has not reported for this long (more than three intervals) counts as gone."""
_KEPT_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class ModelLoad:
    """The version that a replica has loaded for an alias."""

    replica: str
    alias: ModelAlias
    version: str | None
    """The version that has the alias; None if no version has it."""
    loaded: str | None
    """The version that the replica judges with; None if it has none."""
    why_not: str
    """Why the version that has the alias is not loaded; empty if it is."""

    @property
    def problem(self) -> str:
        """Describe the problem: `champion: version 2 cannot be loaded: …; judging with version 1`.

        Empty if there is none.
        """
        if not self.why_not:
            return ""
        subject = f"version {self.version} cannot be loaded: " if self.version else ""
        failed = f"{self.alias}: {subject}{self.why_not}"
        if self.alias is ModelAlias.CHALLENGER:
            return f"{failed}; in shadow: {f'version {self.loaded}' if self.loaded else 'none'}"
        return f"{failed}; judging with {f'version {self.loaded}' if self.loaded else 'rules only'}"


class ModelLoads:
    """Collection `model_loads`: `_id` is replica and alias; `at` is when it last reported (epoch ms)."""

    def __init__(self, database: Any) -> None:
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
        loads = [ModelLoad(**{**each, "alias": ModelAlias(each["alias"])}) async for each in found]
        return sorted(loads, key=lambda load: (load.replica, load.alias))
