"""Comparison of promotions with the audit lines that were written before them.

A promotion is made in two steps: a line of the audit is written first, and then the promotion, which names
the line. So a promotion without a matching line was made by other means, and is not loaded. A crash between
the two steps leaves a line without a promotion. Nothing was changed then, and making the promotion again also
accounts for the line (docs/adr/0026).
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from shotwatch_common.archive import Archive
from shotwatch_common.archive.audit import AuditLine, cut
from shotwatch_shots.models import Promotion
from shotwatch_shots.pulses import instant
from shotwatch_shots.vocabulary import ModelAlias

TOLERANCE_MS = 60_000
"""Maximum time between a promotion and its audit line."""
COMPARED_MS = 7 * 86_400_000
"""Audit lines of this age or younger are compared with the promotions."""
_OPERATIONS = ("promote", "roll_back", "introduce_challenger", "withdraw_champion", "withdraw_challenger")
_MOST_LINES = 1000
_SHARED = "names the line of the audit of another promotion"


class UnprovenPromotion(ValueError):
    """The newest promotion to an alias has no matching audit line; the message describes why."""

    def __init__(self, promotion: Promotion, fault: str) -> None:
        super().__init__(
            f"{_named(promotion)}, {fault} (find out who wrote it into the database; to replace it, "
            "`shotwatch models promote` the version that is right)"
        )
        self.promotion = promotion


async def proven(archive: Archive, alias: ModelAlias) -> Promotion | None:
    """Return the newest promotion to an alias; None if there is none.

    Raises:
        UnprovenPromotion: the audit does not confirm it.
    """
    newest = await archive.promotions.newest(alias, 2)
    if not newest:
        return None
    promotion, *earlier = newest
    lines = await archive.audit.lines({promotion.audit_line})
    if fault := fault_of(promotion, lines.get(promotion.audit_line), earlier[0] if earlier else None):
        raise UnprovenPromotion(promotion, fault)
    if await archive.promotions.sharing(alias, promotion.audit_line) > 1:
        raise UnprovenPromotion(promotion, _SHARED)
    return promotion


async def differences(archive: Archive, now: int) -> list[str]:
    """Describe how promotions and audit differ, with one text per difference; empty if they agree.

    Args:
        archive: has the promotions and the audit. The newest promotions to each alias are compared, and the
            audit lines of the last COMPARED_MS.
        now: epoch ms; lines of the last TOLERANCE_MS may still get their promotion.
    """
    # Read the lines that are old enough first, then the promotions, then the lines that these name. In this
    # order, what is written meanwhile does not appear as a difference.
    span = now - COMPARED_MS, now - TOLERANCE_MS
    recent = await archive.audit.of_operations(_OPERATIONS, *span, _MOST_LINES)
    promotions = {alias: await archive.promotions.newest(alias) for alias in ModelAlias}
    named = {each.audit_line for of_alias in promotions.values() for each in of_alias}
    lines = await archive.audit.lines(named)
    found = [
        f"{each.alias}: {_named(each)}, {fault}"
        for of_alias in promotions.values()
        for each, fault in faults(of_alias, lines)
        if fault
    ]
    return list(map(cut, (*found, *unfinished(recent, named))))


def fault_of(promotion: Promotion, line: AuditLine | None, before: Promotion | None) -> str:
    """Describe why an audit line is not the one written before the promotion; empty if it is.

    Args:
        promotion: the promotion.
        line: the line that the promotion names; None if it does not exist.
        before: the previous promotion to the alias. If its time is later than the time at which this
            promotion was made, this promotion is dated 1 ms after it.
    """
    if not promotion.audit_line:
        return "names no line of the audit"
    if line is None:
        return "names a line of the audit that does not exist"
    if (line.what, line.which) != (promotion.operation, cut(promotion.subject)):
        return f"but its line of the audit states: {line.what} {line.which}"
    follows_at_once = before is not None and promotion.at == before.at + 1
    late = promotion.at - line.at > TOLERANCE_MS and not follows_at_once
    if late or line.at - promotion.at > TOLERANCE_MS:
        return f"but its line of the audit was written at {_moment(line.at)}"
    return ""


def faults(
    promotions: Sequence[Promotion], lines: Mapping[str, AuditLine]
) -> Iterator[tuple[Promotion, str]]:
    """Yield each promotion to an alias with what its audit line shows to be wrong with it, oldest first.

    The text is empty if nothing is wrong. Promotions from before the time when promotions named their line
    are not checked, except the newest one, which would be loaded.

    Args:
        promotions: newest first.
        lines: id → line.
    """
    first = min((each.at for each in promotions if each.audit_line), default=None)
    seen: set[str] = set()
    for before, promotion in pairwise((None, *reversed(promotions))):
        assert promotion is not None
        fault = fault_of(promotion, lines.get(promotion.audit_line), before)
        if not fault and promotion.audit_line in seen:
            fault = _SHARED
        seen.add(promotion.audit_line)
        counts = promotion is promotions[0] or (first is not None and promotion.at >= first)
        yield promotion, fault if counts else ""


def unfinished(recent: Mapping[str, AuditLine], named: set[str]) -> Iterator[str]:
    """Describe the audit lines that have no promotion, and no later equal line that has one.

    Args:
        recent: id → line.
        named: ids that promotions name.
    """
    finished: dict[tuple[str, str], int] = {}
    for id_, line in recent.items():
        if id_ in named:
            finished[_operation(line)] = max(line.at, finished.get(_operation(line), line.at))
    for id_, line in recent.items():
        if id_ not in named and line.at > finished.get(_operation(line), line.at - 1):
            yield (
                f"the audit shows that {line.who} did at {_moment(line.at)}: {line.what} {line.which}; there "
                "is no such promotion (it was interrupted, and making it again finishes it; or the line is "
                "forged)"
            )


def _operation(line: AuditLine) -> tuple[str, str]:
    return line.what, line.which


def _named(promotion: Promotion) -> str:
    """Describe a promotion: `version 3 was promoted at 2026-11-27 08:00:00 UTC by amelie`."""
    done = f"version {promotion.version} was promoted" if promotion.version else "the alias was withdrawn"
    return f"{done} at {_moment(promotion.at)} by {promotion.who}"


def _moment(time: int) -> str:
    return f"{instant(time):%Y-%m-%d %H:%M:%S} UTC"
