"""Promotion: which version is champion, which was before, and which may be next.

Each change is written three times: as a line of the audit, as a promotion that names the line and holds the
digest of the bundle, and as the registry's alias. Inference loads the promoted version if audit and registry
agree with the promotion. A crash in between leaves the previous model in use and raises an alarm. Promoting
the version again clears it (docs/adr/0021, 0026).
"""

from dataclasses import replace

from shotwatch_common.archive import Archive
from shotwatch_common.bundle_files import digest_of
from shotwatch_common.clock import epoch_now
from shotwatch_common.promoted import find_pin
from shotwatch_common.promotion_audit import UnprovenPromotion, faults, proven
from shotwatch_common.registry import ModelRegistry, ModelVersion
from shotwatch_shots.models import Promotion
from shotwatch_shots.pulses import instant
from shotwatch_shots.vocabulary import ModelAlias


class PromotionError(ValueError):
    """The champion cannot be changed in this way; the message describes why."""


class Promoter:
    """Gives versions their aliases, and records which bundle had which alias when."""

    def __init__(self, registry: ModelRegistry, archive: Archive) -> None:
        self._registry = registry
        self._archive = archive

    async def introduce(self, version: str, digest: str, alias: ModelAlias | None, who: str) -> ModelAlias:
        """Give a new version an alias: the requested one; else champion if there is none, or challenger.

        To make a challenger takes no right to read or write who is champion.

        Args:
            version: the version.
            digest: `digest_of` its bundle as it was created; the digest is not taken from the registry.
            alias: the alias; None for an automatic choice.
            who: who trained it.

        Raises:
            PromotionError: the version does not exist.
        """
        if alias is None:
            champion = await self._holder(ModelAlias.CHAMPION)
            alias = ModelAlias.CHALLENGER if champion else ModelAlias.CHAMPION
        promotion = await self._promotion(alias, await self._find(version), digest, who, "trained")
        await self._change(version, promotion)
        return alias

    async def promote(
        self, version: str, who: str, why: str, alias: ModelAlias = ModelAlias.CHAMPION
    ) -> Promotion:
        """Give an alias to the version, and pin its bundle as the registry has it now.

        A version that already has the alias is promoted again if the registry's alias was moved, its bundle
        was never pinned, or the audit does not confirm its promotion.

        Raises:
            PromotionError: the version or its bundle does not exist, it has the alias already, or its bundle
                differs from the one that was promoted before.
        """
        found = await self._find(version)
        digest = await self._digest(found)
        try:
            pinned = await find_pin(self._archive.promotions, found)
        except ValueError as error:
            raise PromotionError(str(error)) from error
        if pinned:
            _check_unchanged(pinned, digest)
        is_promoted = await self._is_promoted(alias, version, digest)
        if is_promoted and (await self._registry.aliases()).get(alias) == version:
            raise PromotionError(f"version {version} is the {alias} already")
        return await self._change(version, await self._promotion(alias, found, digest, who, why))

    async def roll_back(self, who: str, why: str) -> Promotion:
        """Restore the version that was champion before the current one was promoted.

        Raises:
            PromotionError: that version is not known, no longer exists, or its bundle differs from the one
                that was champion.
        """
        before = await self._before(ModelAlias.CHAMPION, await self._holder(ModelAlias.CHAMPION))
        if before is None:
            raise PromotionError("no version was champion before this one")
        found = await self._registry.find(before)
        if found is None:
            raise PromotionError(f"version {before} was champion before, and is not there any more")
        digest = await self._digest(found)
        champions = await self._accepted(ModelAlias.CHAMPION)
        if pinned := next((each for each in champions if each.version == before and each.digest), None):
            _check_unchanged(pinned, digest)
        promotion = await self._promotion(ModelAlias.CHAMPION, found, digest, who, why)
        return await self._change(before, replace(promotion, rollback=True))

    async def withdraw(self, alias: ModelAlias, who: str, why: str) -> None:
        """Take an alias away; nothing is loaded for it any more."""
        await self._take(alias, await self._holder(alias), who, why)

    async def _find(self, version: str) -> ModelVersion:
        found = await self._registry.find(version)
        if found is None:
            raise PromotionError(f"{self._registry.name} has no version {version}")
        return found

    async def _digest(self, version: ModelVersion) -> str:
        try:
            return digest_of(await self._registry.bundle(version))
        except ValueError as error:
            raise PromotionError(f"version {version.version} has no bundle to promote: {error}") from error

    async def _is_promoted(self, alias: ModelAlias, version: str, digest: str) -> bool:
        try:
            current = await proven(self._archive, alias)
        except UnprovenPromotion:
            return False
        return current is not None and (current.version, current.digest) == (version, digest)

    async def _holder(self, alias: ModelAlias) -> str | None:
        """Return the version that was promoted to an alias, or had it before promotions were pinned."""
        if accepted := await self._accepted(alias):
            return accepted[0].version
        unpinned = await self._archive.promotions.current(alias) is None
        return (await self._registry.aliases()).get(alias) if unpinned else None

    async def _accepted(self, alias: ModelAlias) -> list[Promotion]:
        """Return the promotions to an alias, newest first; for champions, only those that the audit confirms.

        A promotion that was written without an audit line must not become the target of a rollback.
        """
        promotions = await self._archive.promotions.newest(alias)
        if alias is ModelAlias.CHALLENGER:  # training may not read the audit
            return promotions
        lines = await self._archive.audit.lines({each.audit_line for each in promotions})
        return [each for each, fault in faults(promotions, lines) if not fault][::-1]

    async def _promotion(
        self, alias: ModelAlias, version: ModelVersion, digest: str, who: str, why: str
    ) -> Promotion:
        before = await self._holder(alias)
        if before == version.version:  # a repeated promotion keeps the version that a rollback restores
            before = await self._before(alias, before)
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

    async def _before(self, alias: ModelAlias, version: str | None) -> str | None:
        """Return the version that had the alias before this one was promoted to it; None for the first."""
        promoted = (each for each in await self._accepted(alias) if not each.rollback)
        return next((each.before for each in promoted if each.version == version and version), None)

    async def _change(self, version: str, promotion: Promotion) -> Promotion:
        """Record the promotion, set the alias, and withdraw the alias `challenger` from a new champion."""
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
        """Write an audit line, then the promotion that names it, as the newest promotion of its alias.

        Its time is later than that of the previous promotion, even if that one was dated by a clock that was
        ahead.
        """
        current = await self._archive.promotions.current(promotion.alias)
        if current is not None:
            promotion = replace(promotion, at=max(promotion.at, current.at + 1))
        line = await self._archive.audit.note(promotion.operation, promotion.subject)
        promotion = replace(promotion, audit_line=line)
        await self._archive.promotions.add(promotion)
        return promotion


def _check_unchanged(pinned: Promotion, digest: str) -> None:
    """Check that a bundle is the pinned one.

    Raises:
        PromotionError: it is another bundle.
    """
    if pinned.digest != digest:
        raise PromotionError(
            f"the bundle of version {pinned.version} is not the one that was promoted at "
            f"{instant(pinned.at):%Y-%m-%d %H:%M} UTC: register it as a new version"
        )


def _tags(promotion: Promotion) -> dict[str, str]:
    return {
        "promoted_at": instant(promotion.at).isoformat(),
        "promoted_by": promotion.who,
        "promoted_from": promotion.before or "",
    }
