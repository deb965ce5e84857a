"""The promoted version of the model, compared with the content of the model registry.

An account of the registry is enough to move its aliases and replace its files. So the promotions in the
database decide what is loaded (docs/adr/0021).
"""

import asyncio

from shotwatch_common.archive.promotions import Promotions
from shotwatch_common.bundle_files import digest_of
from shotwatch_common.registry import ModelRegistry, ModelVersion
from shotwatch_shots.models import Promotion
from shotwatch_shots.vocabulary import ModelAlias


def disagreement(alias: ModelAlias, named: str | None, promotion: Promotion | None) -> str:
    """Describe how an alias in the registry differs from the promotion, and what to do; empty if it does not.

    The advice is to find out first who moved the alias without a promotion, since that may be an intruder,
    and to restore it afterwards.

    Args:
        alias: the alias.
        named: the version that has the alias in the registry; None if no version has it.
        promotion: the newest promotion to the alias; None if there is none.
    """
    promoted = promotion.version if promotion else None
    if named == promoted:
        return ""
    found = f"the registry's {alias} is version {named}" if named else f"the registry has no {alias}"
    option = "" if alias is ModelAlias.CHAMPION else f" --alias {alias}"
    if promoted:
        return (
            f"{found}, but version {promoted} was promoted (find out who moved the alias, then "
            f"`shotwatch models promote {promoted}{option}` puts it back)"
        )
    return (
        f"{found}, which was not promoted (find out who gave it the alias, then take the alias away in the "
        f"registry, or accept the version: `shotwatch models promote {named}{option}`)"
    )


async def download_promoted(registry: ModelRegistry, promotion: Promotion) -> dict[str, bytes]:
    """Return the files of the promoted bundle by name, after checking them against the promoted digest.

    Raises:
        ValueError: the alias was withdrawn, the registry lacks the version or one of its files, or the files
            differ from the promoted ones.
        Retry: the registry does not answer.
    """
    if promotion.version is None:
        raise ValueError(f"the {promotion.alias} was withdrawn")
    version = await registry.find(promotion.version)
    if version is None:
        raise ValueError(f"{registry.name} has no version {promotion.version}")
    return await _checked(registry, version, promotion)


async def download_pinned(
    registry: ModelRegistry, promotions: Promotions, version: ModelVersion, unpinned: bool
) -> dict[str, bytes]:
    """Return the files of any version's bundle by name, to try the version without promoting it.

    Args:
        registry: the registry that has the files.
        promotions: they define the required digest, if the version was ever promoted or a challenger.
        version: the version.
        unpinned: whether a version is accepted for which no promotion defines a digest.

    Raises:
        ValueError: the registry lacks a file, the files differ from the promoted ones, or no promotion
            defines their digest.
        Retry: the registry does not answer.
    """
    if pin := await find_pin(promotions, version):
        return await _checked(registry, version, pin)
    if not unpinned:
        raise ValueError(
            f"version {version.version} was never promoted nor a challenger, so nothing lists which files it "
            "must have: whoever may write to the model registry may have replaced them (--unpinned loads it)"
        )
    return await registry.bundle(version)


async def find_pin(promotions: Promotions, version: ModelVersion) -> Promotion | None:
    """Return a promotion that pinned the version's bundle; None if none did.

    Promotions to champion take precedence: `training` may write challengers, and must not be able to block
    the return of an earlier champion. For the same reason, two challengers of one version with different
    bundles pin nothing: the later one may stand for files that replaced those that somebody has tried.

    Raises:
        ValueError: challengers of this version have different bundles.
    """
    for alias in (ModelAlias.CHAMPION, ModelAlias.CHALLENGER):
        for each in await promotions.newest(alias):
            if each.digest and (each.version, each.run_id) == (version.version, version.run_id):
                if alias is ModelAlias.CHALLENGER and await promotions.differ(each):
                    raise ValueError(
                        f"version {version.version} was made challenger with different bundles: somebody may "
                        "have replaced its files; train another version"
                    )
                return each
    return None


async def _checked(registry: ModelRegistry, version: ModelVersion, pin: Promotion) -> dict[str, bytes]:
    """Return the files of a bundle.

    Raises:
        ValueError: the registry lacks one of them, or their digest differs from the pinned one.
        Retry: the registry does not answer.
    """
    files = await registry.bundle(version)
    digest = await asyncio.to_thread(digest_of, files)
    if digest != pin.digest:
        raise ValueError(
            f"the bundle's digest {digest[:12]}… differs from the one promoted, {pin.digest[:12]}…"
        )
    return files
