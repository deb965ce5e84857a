"""Who is champion: promoted, rolled back, and never without a note of where it came from."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from shotwatch_common.archive.promotions import Promotion
from shotwatch_common.registry import ModelVersion
from shotwatch_common.succession import Succession, SuccessionError
from shotwatch_common.vocabulary import ModelAlias


@dataclass
class Registry:
    """Versions 1, 2 and 3."""

    name: str = "shotwatch"
    given: dict[str, str] = field(default_factory=dict)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    versions: set[str] = field(default_factory=lambda: {"1", "2", "3"})

    async def aliases(self) -> dict[str, str]:
        return dict(self.given)

    async def find(self, version: str) -> ModelVersion | None:
        return ModelVersion(version, "", "") if version in self.versions else None

    async def give(self, alias: ModelAlias, version: str) -> None:
        self.given[alias] = version

    async def withdraw(self, alias: ModelAlias) -> None:
        self.given.pop(alias, None)

    async def tag(self, version: str, tags: dict[str, str]) -> None:
        self.tags[version] = tags


@dataclass
class Archive:
    """Keeps promotions and lines of the audit in memory."""

    kept: list[Promotion] = field(default_factory=list)
    audited: list[tuple[str, str]] = field(default_factory=list)

    @property
    def promotions(self) -> "Archive":
        return self

    @property
    def audit(self) -> "Archive":
        return self

    async def note(self, what: str, which: str) -> None:
        self.audited.append((what, which))

    async def add(self, promotion: Promotion) -> None:
        self.kept.append(promotion)

    async def newest(self) -> list[Promotion]:
        return self.kept[::-1]


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def archive() -> Archive:
    return Archive()


@pytest.fixture
def succession(registry: Any, archive: Any) -> Succession:
    return Succession(registry, archive)


async def test_the_first_version_is_champion_and_the_next_one_challenges_it(
    succession: Succession, registry: Registry
) -> None:
    assert await succession.introduce("1", None, "amelie") is ModelAlias.CHAMPION
    assert await succession.introduce("2", None, "amelie") is ModelAlias.CHALLENGER
    assert registry.given == {"champion": "1", "challenger": "2"}


async def test_a_version_can_be_introduced_as_whatever_is_wanted(
    succession: Succession, registry: Registry
) -> None:
    await succession.introduce("1", ModelAlias.CHALLENGER, "amelie")
    await succession.introduce("2", ModelAlias.CHAMPION, "amelie")
    assert registry.given == {"champion": "2", "challenger": "1"}


async def test_a_challenger_that_wins_is_champion_alone(succession: Succession, registry: Registry) -> None:
    await succession.introduce("1", None, "amelie")
    await succession.introduce("2", None, "amelie")
    await succession.promote("2", "bruno", "finds more")
    assert registry.given == {"champion": "2"}
    assert {"promoted_by": "bruno", "promoted_from": "1"}.items() <= registry.tags["2"].items()


async def test_rolling_back_goes_back_step_by_step_and_is_noted_too(
    succession: Succession, registry: Registry, archive: Archive
) -> None:
    for version in ("1", "2", "3"):
        await succession.promote(version, "amelie", "")
    for expected in ("2", "1"):
        assert (await succession.roll_back("bruno", "worse")).version == expected
        assert registry.given["champion"] == expected
    with pytest.raises(SuccessionError, match="no version was champion before"):
        await succession.roll_back("bruno", "worse")
    changes = [(kept.before, kept.version, kept.rollback) for kept in archive.kept]
    assert changes == [
        *((None, "1", False), ("1", "2", False), ("2", "3", False)),
        *(("3", "2", True), ("2", "1", True)),
    ]


async def test_every_change_is_audited_and_what_changes_nothing_is_not(
    succession: Succession, archive: Archive
) -> None:
    await succession.introduce("1", None, "amelie")
    await succession.introduce("2", None, "amelie")
    await succession.promote("2", "amelie", "")
    await succession.roll_back("amelie", "")
    with pytest.raises(SuccessionError):
        await succession.promote("9", "amelie", "")
    assert archive.audited == [
        ("promote", "shotwatch version 1"),
        ("introduce_challenger", "shotwatch version 2"),
        ("promote", "shotwatch version 2"),
        ("roll_back", "shotwatch version 1"),
    ]


async def test_a_note_of_a_promotion_that_never_happened_misleads_nobody(
    succession: Succession, registry: Registry, archive: Archive
) -> None:
    await succession.promote("1", "amelie", "")
    await succession.promote("2", "amelie", "")
    archive.kept.append(Promotion(0, "amelie", "2", "3", "died before it was made"))
    assert (await succession.roll_back("amelie", "")).version == "1"


async def test_a_version_that_is_not_there_or_is_champion_already_is_not_promoted(
    succession: Succession, registry: Registry, archive: Archive
) -> None:
    await succession.promote("1", "amelie", "")
    for version in ("1", "9"):
        with pytest.raises(SuccessionError, match=version):
            await succession.promote(version, "amelie", "")
    await succession.promote("2", "amelie", "")
    registry.versions.discard("1")
    with pytest.raises(SuccessionError, match="not there any more"):
        await succession.roll_back("amelie", "")
    assert registry.given == {"champion": "2"}
    assert len(archive.kept) == 2
