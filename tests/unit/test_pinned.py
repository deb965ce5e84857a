"""Versions that are only tried: their files are those that were promoted, or whoever tries them states it."""

from dataclasses import replace
from typing import Any

import pytest

from shotwatch_common.bundle_files import BUNDLE_FILES, digest_of
from shotwatch_common.promoted import download_pinned
from shotwatch_common.registry import ModelVersion
from shotwatch_shots.models import Promotion
from shotwatch_shots.vocabulary import ModelAlias
from tests.unit.promoted import Promoted

VERSION = ModelVersion("3", "run-3", "")


class Registry:
    """Has one bundle of each version, and counts how often it was asked for it."""

    name = "shotwatch"

    def __init__(self) -> None:
        self.content = b"as it was made"
        self.downloads = 0

    @property
    def files(self) -> dict[str, bytes]:
        return dict.fromkeys(BUNDLE_FILES, self.content)

    async def find(self, version: str) -> ModelVersion:
        return ModelVersion(version, f"run-{version}", "")

    async def bundle(self, _version: ModelVersion) -> dict[str, bytes]:
        self.downloads += 1
        return self.files


def pin(registry: Registry, **changes: Any) -> Promotion:
    made = Promotion(1, "training", None, "3", "", run_id="run-3", digest=digest_of(registry.files))
    return replace(made, **{"alias": ModelAlias.CHALLENGER, **changes})


async def tried(registry: Any, promoted: Promoted, unpinned: bool = False) -> dict[str, bytes]:
    return await download_pinned(registry, promoted.promotions, VERSION, unpinned)


async def test_a_version_that_nobody_promoted_is_not_even_downloaded_unless_that_is_asked_for() -> None:
    registry, promoted = Registry(), Promoted()
    with pytest.raises(ValueError, match=r"never promoted nor a challenger.*--unpinned"):
        await tried(registry, promoted)
    assert registry.downloads == 0
    assert await tried(registry, promoted, unpinned=True) == registry.files


@pytest.mark.parametrize("alias", ModelAlias)
async def test_a_version_that_was_pinned_has_the_files_of_its_pin_or_is_not_used(alias: ModelAlias) -> None:
    registry, promoted = Registry(), Promoted()
    await promoted.promotions.add(pin(registry, alias=alias))
    assert await tried(registry, promoted) == registry.files
    registry.content = b"replaced"
    for unpinned in (False, True):
        with pytest.raises(ValueError, match="differs from the one promoted"):
            await tried(registry, promoted, unpinned)


async def test_a_pin_of_another_run_or_version_is_none_of_this_one() -> None:
    registry, promoted = Registry(), Promoted()
    for changes in ({"run_id": "run-2"}, {"version": "2"}, {"digest": ""}):
        await promoted.promotions.add(pin(registry, **changes))
    with pytest.raises(ValueError, match="never promoted"):
        await tried(registry, promoted)


async def test_what_training_states_of_a_version_that_was_champion_changes_nothing() -> None:
    registry, promoted = Registry(), Promoted()
    await promoted.promotions.add(pin(registry, alias=ModelAlias.CHAMPION))
    await promoted.promotions.add(pin(registry, at=2, digest="0" * 64))
    assert await tried(registry, promoted) == registry.files
