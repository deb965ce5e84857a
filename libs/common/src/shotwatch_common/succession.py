"""Who is champion, who was before, and who may be next.

Each change is written down before it is made: what a crash leaves is at worst a note of something that did
not happen, never a champion of which nobody knows where it came from.
"""

from shotwatch_common.archive import Archive
from shotwatch_common.archive.promotions import Promotion
from shotwatch_common.pulses import epoch_now, instant
from shotwatch_common.registry import ModelRegistry
from shotwatch_common.vocabulary import ModelAlias


class SuccessionError(ValueError):
    """The champion cannot be changed so; the message says why."""


class Succession:
    """Gives the aliases of the model, and remembers who was champion when."""

    def __init__(self, registry: ModelRegistry, archive: Archive) -> None:
        self._registry = registry
        self._archive = archive

    async def introduce(self, version: str, alias: ModelAlias | None, who: str) -> ModelAlias:
        """Give a new version an alias: the one asked for; champion if there is none; else challenger."""
        champion = await self._champion()
        alias = alias or (ModelAlias.CHALLENGER if champion else ModelAlias.CHAMPION)
        if alias is ModelAlias.CHAMPION:
            await self.promote(version, who, "trained")
        else:
            await self._archive.audit.note("introduce_challenger", self._named(version))
            await self._registry.give(ModelAlias.CHALLENGER, version)
        return alias

    async def promote(self, version: str, who: str, why: str) -> Promotion:
        """Make a version the champion.

        Raises:
            SuccessionError: there is no such version, or it is the champion already.
        """
        if await self._registry.find(version) is None:
            raise SuccessionError(f"{self._registry.name} has no version {version}")
        before = await self._champion()
        if before == version:
            raise SuccessionError(f"version {version} is the champion already")
        return await self._change(Promotion(epoch_now(), who, before, version, why))

    async def roll_back(self, who: str, why: str) -> Promotion:
        """Make the version champion again that was it before the present one was promoted.

        Raises:
            SuccessionError: it is not known, or is there no longer.
        """
        champion = await self._champion()
        promoted = [each for each in await self._archive.promotions.newest() if not each.rollback]
        before = next((each.before for each in promoted if each.version == champion), None)
        if champion is None or before is None:
            raise SuccessionError("no version was champion before this one")
        if await self._registry.find(before) is None:
            raise SuccessionError(f"version {before} was champion before, and is not there any more")
        return await self._change(Promotion(epoch_now(), who, champion, before, why, rollback=True))

    def _named(self, version: str) -> str:
        return f"{self._registry.name} version {version}"

    async def _champion(self) -> str | None:
        return (await self._registry.aliases()).get(ModelAlias.CHAMPION)

    async def _change(self, promotion: Promotion) -> Promotion:
        """Write it down, make it, and take its other alias from a challenger that won."""
        what = "roll_back" if promotion.rollback else "promote"
        await self._archive.audit.note(what, self._named(promotion.version))
        await self._archive.promotions.add(promotion)
        await self._registry.give(ModelAlias.CHAMPION, promotion.version)
        if (await self._registry.aliases()).get(ModelAlias.CHALLENGER) == promotion.version:
            await self._registry.withdraw(ModelAlias.CHALLENGER)
        await self._registry.tag(promotion.version, _tags(promotion))
        return promotion


def _tags(promotion: Promotion) -> dict[str, str]:
    return {
        "promoted_at": instant(promotion.at).isoformat(),
        "promoted_by": promotion.who,
        "promoted_from": promotion.before or "",
    }
