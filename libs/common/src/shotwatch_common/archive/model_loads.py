"""Which version of the model each replica of inference has loaded, and which it cannot load."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from shotwatch_common.clock import epoch_now
from shotwatch_shots.vocabulary import ModelAlias

REPORT_S = 10.0
"""Pause between two reports of a replica."""
_FRESH_MS = 35_000
"""A replica that has been silent for longer than three reports is gone."""
_KEPT_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class ModelLoad:
    """What a replica has for an alias."""

    replica: str
    alias: ModelAlias
    version: str | None
    """The version that has the alias; None when none has it."""
    loaded: str | None
    """The version that the replica judges with; None without one."""
    why_not: str
    """Why the version that has the alias is not loaded; empty when nothing is wrong."""

    @property
    def problem(self) -> str:
        """`champion: version 2 cannot be loaded: …; judging with version 1`; empty when nothing is wrong."""
        if not self.why_not:
            return ""
        subject = f"version {self.version} cannot be loaded: " if self.version else ""
        failed = f"{self.alias}: {subject}{self.why_not}"
        if self.alias is ModelAlias.CHALLENGER:
            return f"{failed}; in shadow: {f'version {self.loaded}' if self.loaded else 'none'}"
        return f"{failed}; judging with {f'version {self.loaded}' if self.loaded else 'rules only'}"


class ModelLoads:
    """Collection `model_loads`: `_id` = replica and alias; `at` (epoch ms) is when it was last reported."""

    def __init__(self, database: Any) -> None:
        self._loads = database["model_loads"]

    async def keep(self, loads: Sequence[ModelLoad]) -> None:
        """Replace what these replicas reported before, and forget replicas that have long been gone."""
        now = epoch_now()
        for load in loads:
            id_ = f"{load.replica}/{load.alias}"
            await self._loads.replace_one({"_id": id_}, {"_id": id_, **asdict(load), "at": now}, upsert=True)
        await self._loads.delete_many({"at": {"$lt": now - _KEPT_MS}})

    async def fresh(self) -> list[ModelLoad]:
        """Return what the replicas that run now have reported, by replica and alias."""
        found = self._loads.find({"at": {"$gte": epoch_now() - _FRESH_MS}}, {"_id": 0, "at": 0})
        loads = [ModelLoad(**{**each, "alias": ModelAlias(each["alias"])}) async for each in found]
        return sorted(loads, key=lambda load: (load.replica, load.alias))
