"""Promotions and their lines of the audit: what is proven, and how the two may differ."""

from contextlib import nullcontext
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from shotwatch_common.clock import epoch_now
from shotwatch_common.promotion_audit import (
    COMPARED_MS,
    TOLERANCE_MS,
    UnprovenPromotion,
    differences,
    proven,
)
from shotwatch_history.jobs.promotions import PromotionWatch
from shotwatch_shots.models import Promotion
from shotwatch_shots.vocabulary import ModelAlias
from tests.unit.promoted import Promoted

LATER = TOLERANCE_MS + 1000


@pytest.fixture
async def archive() -> Any:
    """Versions 1 and 2 were champions, one after the other."""
    archive = Promoted()
    for version in ("1", "2"):
        await archive.promote(version, f"run-{version}", version * 64)
    first, second = archive.database["promotions"].documents.values()
    second["at"] = max(second["at"], first["at"] + 1)
    return archive


async def forge(archive: Any, **changes: Any) -> None:
    """Add a copy of the newest champion with other values, past everything that writes an audit."""
    (newest, *_) = await archive.promotions.newest(ModelAlias.CHAMPION)
    await archive.promotions.add(replace(newest, **{"at": newest.at + 1, **changes}))


async def found(archive: Any, after_ms: int = LATER) -> list[str]:
    return await differences(archive, epoch_now() + after_ms)


async def test_what_was_promoted_with_its_line_is_proven_and_differs_in_nothing(archive: Any) -> None:
    champion = await proven(archive, ModelAlias.CHAMPION)
    assert champion is not None
    assert champion.version == "2"
    assert await proven(archive, ModelAlias.CHALLENGER) is None
    assert await found(archive) == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"audit_line": ""}, "names no line of the audit"),
        ({"audit_line": "made up"}, "names a line of the audit that does not exist"),
        ({"version": "3"}, "its line of the audit states: promote version 2, bundle 2222"),
        ({"digest": "3" * 64}, "its line of the audit states: promote version 2, bundle 2222"),
        ({"who": "bruno"}, "its line of the audit states: promote version 2, bundle 2222"),
        ({"rollback": True}, "its line of the audit states: promote version 2, bundle 2222"),
        ({"at": epoch_now() + 86_400_000}, "its line of the audit was written at"),
    ],
)
async def test_a_promotion_past_the_audit_is_not_proven_and_is_named(
    archive: Any, changes: dict[str, Any], fault: str
) -> None:
    await forge(archive, **changes)
    with pytest.raises(UnprovenPromotion, match=fault):
        await proven(archive, ModelAlias.CHAMPION)
    (named,) = await found(archive)
    assert fault in named
    await archive.promote("1", "run-1", "1" * 64)
    newest, *_ = archive.database["promotions"].documents.values()
    *_, last = archive.database["promotions"].documents.values()
    last["at"] = max(each["at"] for each in archive.database["promotions"].documents.values()) + 1
    assert newest is not last
    champion = await proven(archive, ModelAlias.CHAMPION)
    assert champion is not None
    assert champion.version == "1"
    (still,) = await found(archive)
    assert fault in still


async def test_two_promotions_do_not_share_a_line(archive: Any) -> None:
    *_, first = await archive.promotions.newest(ModelAlias.CHAMPION)
    await forge(archive, **{**asdict(first), "at": epoch_now() + 5})
    with pytest.raises(UnprovenPromotion, match=r"version 1 .*the line of the audit of another promotion"):
        await proven(archive, ModelAlias.CHAMPION)
    (named,) = await found(archive)
    assert "names the line of the audit of another promotion" in named


async def test_a_line_without_a_promotion_is_named_until_the_promotion_is_made(archive: Any) -> None:
    interrupted = Promotion(epoch_now(), "amelie", "2", "3", "", run_id="run-3", digest="3" * 64)
    await archive.audit.note(interrupted.operation, interrupted.subject)
    assert await found(archive, after_ms=0) == []
    (named,) = await found(archive)
    assert f"promote version 3, bundle {'3' * 64}, by amelie; there is no such" in named
    assert await found(archive, COMPARED_MS + LATER) == []
    champion = await proven(archive, ModelAlias.CHAMPION)
    assert champion is not None
    assert champion.version == "2"
    await archive.promote("3", "run-3", "3" * 64)
    assert await found(archive) == []


async def test_a_line_that_is_forged_after_the_promotion_is_named(archive: Any) -> None:
    (newest, *_) = await archive.promotions.newest(ModelAlias.CHAMPION)
    await archive.audit.note(newest.operation, newest.subject)
    *_, forged = archive.database["audit"].documents.values()
    forged["at"] += 1
    (named,) = await found(archive)
    assert "promote version 2" in named


async def test_promotions_of_before_they_named_a_line_are_left_out_unless_one_would_be_loaded() -> None:
    archive: Any = Promoted()
    old = asdict(Promotion(epoch_now() - 2, "amelie", None, "1", ""))
    for name in ("alias", "run_id", "digest", "audit_line"):
        del old[name]
    await archive.database["promotions"].insert_one(old)
    (named,) = await found(archive)
    assert "names no line of the audit" in named
    await archive.promote("1", "run-1", "1" * 64)
    assert await found(archive) == []


@pytest.mark.parametrize(
    ("document", "is_one"),
    [
        ({}, False),
        ({"at": "now", "alias": "challenger"}, False),
        ({"at": 2**60, "alias": "challenger"}, False),
        ({"at": [1], "alias": "challenger"}, False),
        ({"at": 1, "alias": "challenger"}, True),
        ({"at": 1, "version": ["3"], "digest": {"a": 1}, "audit_line": 7, "who": None}, True),
    ],
)
async def test_whatever_training_writes_as_a_challenger_no_champion_changes_and_nothing_crashes(
    archive: Any, document: dict[str, Any], is_one: bool
) -> None:
    await archive.database["challengers"].insert_one(document)
    line = {"who": "x", "which": "y", "outcome": "done", "status": None, "trace_id": ""}
    for at, what in ((2**60, "promote"), ([epoch_now()], "promote"), (epoch_now(), ["promote"])):
        await archive.database["audit"].insert_one({"at": at, "what": what, **line})
    await archive.database["audit"].insert_one({"at": epoch_now(), "what": "promote"})
    with pytest.raises(UnprovenPromotion) if is_one else nullcontext():
        assert await proven(archive, ModelAlias.CHALLENGER) is None
    assert len(await found(archive)) == is_one
    champion = await proven(archive, ModelAlias.CHAMPION)
    assert champion is not None
    assert champion.version == "2"


async def test_history_logs_each_difference_once_and_counts_them(archive: Any) -> None:
    await forge(archive, audit_line="")
    context: Any = SimpleNamespace(archive=archive, log=structlog.get_logger())
    watch = PromotionWatch(context)
    with capture_logs() as logged:
        for _ in range(3):
            await watch.poll()
    (line,) = logged
    assert line["difference"].startswith("champion: version 2 was promoted")
    assert REGISTRY.get_sample_value("shotwatch_promotion_differences") == 1
    archive.database["promotions"].documents.popitem()
    await watch.poll()
    assert REGISTRY.get_sample_value("shotwatch_promotion_differences") == 0


async def test_a_champion_among_the_challengers_is_no_champion(archive: Any) -> None:
    mine = Promotion(epoch_now() + 5, "amelie", "2", "3", "", run_id="run-3", digest="3" * 64)
    line = await archive.audit.note(mine.operation, mine.subject)
    await archive.database["challengers"].insert_one({**asdict(mine), "audit_line": line})
    champion = await proven(archive, ModelAlias.CHAMPION)
    assert champion is not None
    assert champion.version == "2"
    assert await proven(archive, ModelAlias.CHALLENGER) is None
