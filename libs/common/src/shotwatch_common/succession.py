"""Who is champion, who was before, and who may be next.

Each change is written down before it is made, with the digest of the bundle: inference loads what was written
down, and reports it while the registry's alias says something else. So a crash between the two leaves the
model before at work and an alarm, which promoting the version again ends (docs/adr/0021).
"""

from collections.abc import Sequence
from dataclasses import replace

from shotwatch_common.archive import Archive
from shotwatch_common.archive.promotions import Promotion
from shotwatch_common.bundle_files import digest_of
from shotwatch_common.pulses import epoch_now, instant
from shotwatch_common.registry import ModelRegistry, ModelVersion
from shotwatch_common.vocabulary import ModelAlias


class SuccessionError(ValueError):
    """The champion cannot be changed so; the message says why."""


class Succession:
    """Gives the aliases of the model, and remembers which bundle had each of them when."""

    def __init__(self, registry: ModelRegistry, archive: Archive) -> None:
        self._registry = registry
        self._archive = archive

    async def introduce(self, version: str, digest: str, alias: ModelAlias | None, who: str) -> ModelAlias:
        """Give a new version an alias: the one asked for; champion if there is none; else challenger.

        Args:
            version: the version.
            digest: `digest_of` its bundle, as it was made: the registry is not asked for it.
            alias: the alias; None to choose.
            who: who trained it.

        Raises:
            SuccessionError: there is no such version.
        """
        champion = await self._holder(ModelAlias.CHAMPION)
        alias = alias or (ModelAlias.CHALLENGER if champion else ModelAlias.CHAMPION)
        promotion = await self._promotion(alias, await self._find(version), digest, who, "trained")
        await self._change(version, promotion)
        return alias

    async def promote(
        self, version: str, who: str, why: str, alias: ModelAlias = ModelAlias.CHAMPION
    ) -> Promotion:
        """Give an alias to the version, and pin its bundle as the registry has it now.

        A version that has the alias already is promoted again if the registry's alias was moved, or if its
        bundle was never pinned.

        Raises:
            SuccessionError: there is no such version or bundle, it has the alias already, or its bundle is
                not the one that was promoted before.
        """
        found = await self._find(version)
        digest = await self._digest(found)
        earlier = [each for each in await self._promotions() if each.run_id == found.run_id]
        _check_unchanged(earlier, version, digest)
        current = await self._archive.promotions.current(alias)
        pinned = current is not None and (current.version, current.digest) == (version, digest)
        if pinned and (await self._registry.aliases()).get(alias) == version:
            raise SuccessionError(f"version {version} is the {alias} already")
        return await self._change(version, await self._promotion(alias, found, digest, who, why))

    async def roll_back(self, who: str, why: str) -> Promotion:
        """Make the version champion again that was it before the present one was promoted.

        Raises:
            SuccessionError: it is not known, is there no longer, or its bundle is not the one that was
                champion.
        """
        promotions = await self._promotions()
        before = _before(promotions, ModelAlias.CHAMPION, await self._holder(ModelAlias.CHAMPION))
        if before is None:
            raise SuccessionError("no version was champion before this one")
        found = await self._registry.find(before)
        if found is None:
            raise SuccessionError(f"version {before} was champion before, and is not there any more")
        digest = await self._digest(found)
        _check_unchanged(promotions, before, digest)
        promotion = await self._promotion(ModelAlias.CHAMPION, found, digest, who, why)
        return await self._change(before, replace(promotion, rollback=True))

    async def withdraw(self, alias: ModelAlias, who: str, why: str) -> None:
        """Take an alias away: nothing is loaded for it any more."""
        before = await self._holder(alias)
        await self._archive.audit.note(f"withdraw_{alias}", self._named(before or "none"))
        await self._take(alias, before, who, why)

    def _named(self, version: str) -> str:
        return f"{self._registry.name} version {version}"

    async def _find(self, version: str) -> ModelVersion:
        found = await self._registry.find(version)
        if found is None:
            raise SuccessionError(f"{self._registry.name} has no version {version}")
        return found

    async def _digest(self, version: ModelVersion) -> str:
        try:
            return digest_of(await self._registry.bundle(version))
        except ValueError as error:
            raise SuccessionError(f"version {version.version} has no bundle to promote: {error}") from error

    async def _promotions(self) -> list[Promotion]:
        return await self._archive.promotions.newest()

    async def _holder(self, alias: ModelAlias) -> str | None:
        """Return the version that was promoted to an alias, or had it before promotions were pinned."""
        promotion = await self._archive.promotions.current(alias)
        return promotion.version if promotion else (await self._registry.aliases()).get(alias)

    async def _promotion(
        self, alias: ModelAlias, version: ModelVersion, digest: str, who: str, why: str
    ) -> Promotion:
        before = await self._holder(alias)
        if before == version.version:  # promoted again: it is rolled back to the same version as before
            before = _before(await self._promotions(), alias, before)
        return Promotion(
            epoch_now(),
            who,
            before,
            version.version,
            why,
            alias=alias,
            run_id=version.run_id,
            digest=digest,
        )

    async def _change(self, version: str, promotion: Promotion) -> Promotion:
        """Write it down, make it, and take its other alias from a challenger that won."""
        await self._archive.audit.note(_operation(promotion), self._named(version))
        promotion = await self._write(promotion)
        await self._registry.give(promotion.alias, version)
        if promotion.alias is ModelAlias.CHAMPION:
            if await self._holder(ModelAlias.CHALLENGER) == version:
                await self._take(ModelAlias.CHALLENGER, version, promotion.who, "is the champion now")
            await self._registry.tag(version, _tags(promotion))
        return promotion

    async def _take(self, alias: ModelAlias, before: str | None, who: str, why: str) -> None:
        await self._write(Promotion(epoch_now(), who, before, None, why, alias=alias))
        await self._registry.withdraw(alias)

    async def _write(self, promotion: Promotion) -> Promotion:
        """Add a promotion as the newest of its alias, whatever the clock of who made the one before it."""
        current = await self._archive.promotions.current(promotion.alias)
        if current is not None:
            promotion = replace(promotion, at=max(promotion.at, current.at + 1))
        await self._archive.promotions.add(promotion)
        return promotion


def _before(promotions: Sequence[Promotion], alias: ModelAlias, version: str | None) -> str | None:
    """Return the version that had the alias before this one was promoted to it; None if there was none.

    Args:
        promotions: newest first.
    """
    promoted = (each for each in promotions if each.alias is alias and not each.rollback)
    return next((each.before for each in promoted if each.version == version and version), None)


def _check_unchanged(promotions: Sequence[Promotion], version: str, digest: str) -> None:
    """Check a bundle against the newest of these promotions that pinned the version.

    Raises:
        SuccessionError: it is another bundle.
    """
    pinned = next((each for each in promotions if each.version == version and each.digest), None)
    if pinned is not None and pinned.digest != digest:
        raise SuccessionError(
            f"the bundle of version {version} is not the one that was promoted at "
            f"{instant(pinned.at):%Y-%m-%d %H:%M} UTC: register it as a new version"
        )


def _operation(promotion: Promotion) -> str:
    """Return the name of the change in the audit."""
    if promotion.alias is ModelAlias.CHALLENGER:
        return "introduce_challenger"
    return "roll_back" if promotion.rollback else "promote"


def _tags(promotion: Promotion) -> dict[str, str]:
    return {
        "promoted_at": instant(promotion.at).isoformat(),
        "promoted_by": promotion.who,
        "promoted_from": promotion.before or "",
    }
