"""Who is champion: promoted with the digest of its bundle, rolled back, and never without a note of it."""

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from shotwatch_common.archive.audit import Audit
from shotwatch_common.archive.driver import Database
from shotwatch_common.archive.promotions import Promotions
from shotwatch_common.bundle_files import BUNDLE_FILES, digest_of
from shotwatch_common.promotion_audit import proven
from shotwatch_common.registry import ModelVersion
from shotwatch_operations.promotion import Promoter, PromotionError
from shotwatch_shots.vocabulary import ModelAlias
from tests.support.database import DatabaseInMemory, Document


@dataclass
class Registry:
    """Versions 1, 2 and 3."""

    name: str = "shotwatch"
    given: dict[str, str] = field(default_factory=dict)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    bundles: dict[str, bytes] = field(default_factory=lambda: {n: n.encode() for n in "123"})
    """Version → what each of its files holds."""
    dies: bool = False
    """Before it gives an alias."""

    async def aliases(self) -> dict[str, str]:
        return dict(self.given)

    async def find(self, version: str) -> ModelVersion | None:
        return ModelVersion(version, f"run-{version}", "") if version in self.bundles else None

    async def bundle(self, version: ModelVersion) -> dict[str, bytes]:
        if not (content := self.bundles[version.version]):
            raise ValueError("bundle.json does not exist")
        return dict.fromkeys(BUNDLE_FILES, content)

    async def give(self, alias: ModelAlias, version: str) -> None:
        if self.dies:
            raise ConnectionError
        self.given[alias] = version

    async def withdraw(self, alias: ModelAlias) -> None:
        self.given.pop(alias, None)

    async def tag(self, version: str, tags: dict[str, str]) -> None:
        self.tags[version] = tags


class Archive:
    """Promotions, challengers and the audit in memory."""

    def __init__(self) -> None:
        self.database = DatabaseInMemory()
        self.promotions = Promotions(Database(self.database))
        self.audit = Audit(Database(self.database))

    @property
    def written(self) -> list[Document]:
        """All documents of promotions and challengers, in the order of their lines of the audit."""
        order = list(self.database["audit"].documents)
        both = (*self.promoted, *self.database["challengers"].documents.values())
        return sorted(both, key=lambda each: order.index(each["audit_line"]))

    @property
    def promoted(self) -> list[Document]:
        return list(self.database["promotions"].documents.values())

    @property
    def audited(self) -> list[tuple[str, str]]:
        """What was done by the audit, in that order."""
        return [(each["what"], each["which"]) for each in self.database["audit"].documents.values()]


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def archive() -> Archive:
    return Archive()


@pytest.fixture
def promoter(registry: Any, archive: Any) -> Promoter:
    return Promoter(registry, archive)


def digest(version: str) -> str:
    return digest_of(dict.fromkeys(BUNDLE_FILES, version.encode()))


async def introduce(promoter: Promoter, version: str, alias: ModelAlias | None = None) -> ModelAlias:
    return await promoter.introduce(version, digest(version), alias, "amelie")


async def test_the_first_version_is_champion_and_the_next_one_challenges_it(
    promoter: Promoter, registry: Registry
) -> None:
    assert await introduce(promoter, "1") is ModelAlias.CHAMPION
    assert await introduce(promoter, "2") is ModelAlias.CHALLENGER
    assert registry.given == {"champion": "1", "challenger": "2"}


async def test_a_version_can_be_introduced_as_whatever_is_wanted(
    promoter: Promoter, registry: Registry
) -> None:
    await introduce(promoter, "1", ModelAlias.CHALLENGER)
    await introduce(promoter, "2", ModelAlias.CHAMPION)
    assert registry.given == {"champion": "2", "challenger": "1"}


async def test_a_challenger_that_wins_is_champion_alone(promoter: Promoter, registry: Registry) -> None:
    await introduce(promoter, "1")
    await introduce(promoter, "2")
    await promoter.promote("2", "bruno", "finds more")
    assert registry.given == {"champion": "2"}
    assert {"promoted_by": "bruno", "promoted_from": "1"}.items() <= registry.tags["2"].items()


async def test_rolling_back_goes_back_step_by_step_and_is_noted_too(
    promoter: Promoter, registry: Registry, archive: Archive
) -> None:
    for version in ("1", "2", "3"):
        await promoter.promote(version, "amelie", "")
    for expected in ("2", "1"):
        assert (await promoter.roll_back("bruno", "worse")).version == expected
        assert registry.given["champion"] == expected
    with pytest.raises(PromotionError, match="no version was champion before"):
        await promoter.roll_back("bruno", "worse")
    changes = [(each["before"], each["version"], each["rollback"]) for each in archive.written]
    assert changes == [
        *((None, "1", False), ("1", "2", False), ("2", "3", False)),
        *(("3", "2", True), ("2", "1", True)),
    ]


async def test_every_change_is_audited_and_what_changes_nothing_is_not(
    promoter: Promoter, archive: Archive
) -> None:
    await introduce(promoter, "1")
    await introduce(promoter, "2")
    await promoter.promote("2", "bruno", "")
    await promoter.roll_back("amelie", "")
    with pytest.raises(PromotionError):
        await promoter.promote("9", "amelie", "")
    assert archive.audited == [
        ("promote", f"version 1, bundle {digest('1')}, by amelie"),
        ("introduce_challenger", f"version 2, bundle {digest('2')}, by amelie"),
        ("promote", f"version 2, bundle {digest('2')}, by bruno"),
        ("withdraw_challenger", "version 2, by bruno"),
        ("roll_back", f"version 1, bundle {digest('1')}, by amelie"),
    ]


async def test_a_promotion_that_died_before_the_alias_moved_is_finished_or_taken_back(
    promoter: Promoter, registry: Registry
) -> None:
    await promoter.promote("1", "amelie", "")
    await promoter.promote("2", "amelie", "")
    for mend, champion in ((promoter.roll_back, "2"), (None, "3")):
        registry.dies = True
        with pytest.raises(ConnectionError):
            await promoter.promote("3", "amelie", "")
        registry.dies = False
        await (mend("amelie", "") if mend else promoter.promote("3", "amelie", ""))
        assert registry.given == {"champion": champion}
    assert (await promoter.roll_back("amelie", "")).version == "2"


async def test_what_is_promoted_is_pinned_by_its_digest_and_its_run(
    promoter: Promoter, archive: Archive
) -> None:
    await introduce(promoter, "1")
    await introduce(promoter, "2")
    await promoter.promote("2", "bruno", "")
    pins = [tuple(map(each.get, ("alias", "version", "run_id", "digest"))) for each in archive.written]
    assert pins == [
        ("champion", "1", "run-1", digest("1")),
        ("challenger", "2", "run-2", digest("2")),
        ("champion", "2", "run-2", digest("2")),
        ("challenger", None, "", ""),
    ]


async def test_a_bundle_that_was_changed_after_it_was_pinned_is_not_promoted(
    promoter: Promoter, registry: Registry, archive: Archive
) -> None:
    await introduce(promoter, "1")
    await introduce(promoter, "2")
    registry.bundles["2"] = b"another"
    with pytest.raises(PromotionError, match="bundle of version 2 is not the one that was promoted"):
        await promoter.promote("2", "amelie", "")
    assert registry.given == {"champion": "1", "challenger": "2"}
    await promoter.promote("3", "amelie", "")
    registry.bundles["1"] = b"another"
    with pytest.raises(PromotionError, match="bundle of version 1 is not the one that was promoted"):
        await promoter.roll_back("amelie", "")
    assert registry.given["champion"] == "3"


async def test_a_challenger_that_was_written_with_two_bundles_is_not_promoted(
    promoter: Promoter, registry: Registry, archive: Archive
) -> None:
    """Whoever took `training` over writes another challenger after an engineer has tried the first one."""
    await introduce(promoter, "1")
    await introduce(promoter, "2")
    registry.bundles["2"] = b"another"
    await promoter.introduce("2", digest("another"), ModelAlias.CHALLENGER, "training")
    with pytest.raises(PromotionError, match="version 2 was made challenger with different bundles"):
        await promoter.promote("2", "amelie", "")
    assert registry.given["champion"] == "1"


async def test_a_version_without_a_bundle_is_not_promoted(
    promoter: Promoter, registry: Registry, archive: Archive
) -> None:
    registry.bundles["2"] = b""
    with pytest.raises(PromotionError, match=r"version 2 has no bundle to promote: bundle\.json does not"):
        await promoter.promote("2", "amelie", "")
    assert (archive.written, archive.audited, registry.given) == ([], [], {})


async def test_an_alias_that_was_moved_in_the_registry_is_put_back_by_promoting_again(
    promoter: Promoter, registry: Registry
) -> None:
    await promoter.promote("1", "amelie", "")
    await promoter.promote("2", "amelie", "")
    registry.given["champion"] = "3"
    await promoter.promote("2", "amelie", "moved by somebody")
    assert registry.given == {"champion": "2"}
    assert (await promoter.roll_back("amelie", "")).version == "1"


async def test_a_champion_of_before_digests_were_pinned_is_pinned_by_promoting_it_again(
    promoter: Promoter, registry: Registry, archive: Archive
) -> None:
    for version in ("1", "2"):
        await promoter.promote(version, "amelie", "")
    for document in archive.promoted:
        for name in ("run_id", "digest", "audit_line"):
            del document[name]
    await promoter.promote("2", "amelie", "")
    assert archive.promoted[-1]["digest"] == digest("2")
    assert (await promoter.roll_back("amelie", "")).version == "1"


async def test_the_newest_promotion_counts_whatever_the_clock_of_the_one_before(
    promoter: Promoter, archive: Archive
) -> None:
    await promoter.promote("1", "amelie", "")
    archive.promoted[-1]["at"] = 4_102_444_800_000  # 2100
    await promoter.promote("2", "amelie", "")
    current = await proven(cast(Any, archive), ModelAlias.CHAMPION)
    assert current is not None
    assert current.version == "2"


@pytest.mark.parametrize("named", ["", "the line of version 2"])
async def test_no_rollback_brings_back_what_was_promoted_past_the_audit(
    named: str, promoter: Promoter, registry: Registry, archive: Archive
) -> None:
    for version in ("1", "2"):
        await promoter.promote(version, "amelie", "")
    newest = archive.promoted[-1]
    forged = {**newest, "version": "3", "before": "2", "run_id": "run-3", "digest": digest("3")}
    line = newest["audit_line"] if named else ""
    del forged["_id"]
    await archive.database["promotions"].insert_one({**forged, "at": newest["at"] + 1, "audit_line": line})
    registry.given["champion"] = "3"
    await promoter.promote("2", "amelie", "put back")
    assert (await promoter.roll_back("amelie", "")).version == "1"
    assert registry.given == {"champion": "1"}


async def test_a_withdrawn_alias_is_free_and_audited(
    promoter: Promoter, registry: Registry, archive: Archive
) -> None:
    await introduce(promoter, "1")
    await promoter.withdraw(ModelAlias.CHAMPION, "amelie", "")
    assert registry.given == {}
    assert archive.audited[-1] == ("withdraw_champion", "version 1, by amelie")
    assert await introduce(promoter, "2") is ModelAlias.CHAMPION


async def test_a_version_that_is_not_there_or_is_champion_already_is_not_promoted(
    promoter: Promoter, registry: Registry, archive: Archive
) -> None:
    await promoter.promote("1", "amelie", "")
    for version in ("1", "9"):
        with pytest.raises(PromotionError, match=version):
            await promoter.promote(version, "amelie", "")
    await promoter.promote("2", "amelie", "")
    del registry.bundles["1"]
    with pytest.raises(PromotionError, match="not there any more"):
        await promoter.roll_back("amelie", "")
    assert registry.given == {"champion": "2"}
    assert len(archive.written) == 2
