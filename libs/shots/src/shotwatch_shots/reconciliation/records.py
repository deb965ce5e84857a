"""Compare the records in blocks, validated, and in windows. Pure.

What is in progress is not an imbalance. Each comparison is given the time before which nothing is in progress
any more (`settled_before`, epoch ms), and whether messages about its things are still in a queue (`queued`).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from shotwatch_shots.identity import blocks_id, fitting_name
from shotwatch_shots.reconciliation.outcome import Outcome, OutcomeBuilder
from shotwatch_shots.reconciliation.sides import HeldBlock, JoinedRows, KnownObject, ValidatedRows
from shotwatch_shots.vocabulary import ObjectState

_WITHOUT_RECORDS = (ObjectState.REJECTED, ObjectState.IGNORED)
Blocks = Mapping[str, HeldBlock]
"""By their names in the folder of their object."""


def compare_records(
    objects: Sequence[KnownObject],
    replaced: Mapping[str, KnownObject],
    blocks: Mapping[str, Blocks],
    validated: Iterable[ValidatedRows],
    joined: Iterable[JoinedRows],
    settled_before: int,
    blocks_kept_after: int,
    queued: bool,
) -> Outcome:
    """Compare the records of ingested objects: in blocks, validated, in windows and on no pulse.

    Args:
        objects: in any state; rejected and ignored ones have no records.
        replaced: id of an object → the last ingested version of its file, if that is another one. It replaces
            the records once it is joined.
        blocks: object id → the blocks in its folder of the block bucket.
        validated: validated rows of these objects; rows of others are left out.
        joined: joined rows, likewise.
        settled_before: everything that was ingested earlier is joined, unless a message waits (epoch ms).
        blocks_kept_after: the blocks of an object that was ingested earlier may have expired, all together
            (epoch ms).
        queued: whether messages wait for validate or aggregate.
    """
    account = OutcomeBuilder()
    names = ("in_blocks", "validated", "valid", "refused", "displaced", "on_no_pulse", "replaced")
    account.counts |= dict.fromkeys(names, 0)
    of_validate, of_windows = _rows_by_object(validated), defaultdict(list)
    for part in joined:
        of_windows[part.object_id].append(part)
    for each in objects:
        if each.state in _WITHOUT_RECORDS:
            under_way = queued or each.since >= settled_before
            rows = _rows_in(of_windows[each.id])
            if rows or each.joined_at:
                wrong = f"{each.state}, and its records were joined: windows have {rows}"
                account.late(each.label, wrong, under_way)
            elif rows := sum(part.rows for part in of_validate[each.id].values()):
                account.late(each.label, f"{each.state}, and {rows} records of it were validated", under_way)
        elif each.state is not ObjectState.INGESTED:
            continue
        elif each.id in replaced:
            account.counts["replaced"] += 1
            later = replaced[each.id]
            under_way = not later.joined_at or queued or later.joined_at >= settled_before
            _compare_replaced(account, each, later, of_validate[each.id], of_windows[each.id], under_way)
        elif not each.joined_at:
            recent = each.since >= settled_before
            account.late(each.label, "ingested, and its records were never joined", queued or recent)
        else:
            expired = not blocks[each.id] and each.since < blocks_kept_after
            in_blocks = None if expired else blocks[each.id]
            _compare_rows(account, each, in_blocks, of_validate[each.id], of_windows[each.id])
    return account.outcome()


def _compare_replaced(
    account: OutcomeBuilder,
    each: KnownObject,
    later: KnownObject,
    validated: Mapping[str, ValidatedRows],
    joined: Sequence[JoinedRows],
    under_way: bool,
) -> None:
    """Check that nothing is left of an object that a later version of its file replaced."""
    of_windows, of_validate = _rows_in(joined), sum(part.rows for part in validated.values())
    if of_windows or of_validate:
        wrong = f"{of_windows} of its records are in windows, {of_validate} in the collection records"
        account.late(each.label, f"replaced by object {later.id}, and {wrong}", under_way)


def _rows_in(joined: Iterable[JoinedRows]) -> int:
    """Return the number of records that windows use."""
    return sum(part.valid + part.refused for part in joined)


def _compare_rows(
    account: OutcomeBuilder,
    each: KnownObject,
    blocks: Blocks | None,
    validated: Mapping[str, ValidatedRows],
    joined: Sequence[JoinedRows],
) -> None:
    rows = sum(part.rows for part in validated.values())
    refused_rows = sum(part.refused for part in validated.values())
    if rows != each.records:
        account.wrong(each.label, f"ingest read {each.records} records, {rows} were validated")
    valid, refused, displaced = (
        sum(getattr(part, name) for part in joined) for name in ("valid", "refused", "displaced")
    )
    if rows != valid + refused + displaced + each.on_no_pulse:
        parts = f"{valid} valid, {refused} refused, {displaced} displaced by a later file"
        wrong = f"{rows} records were validated; windows have {parts}, and {each.on_no_pulse} are on no pulse"
        account.wrong(each.label, wrong)
    elsewhere = displaced + each.on_no_pulse
    # Any number of the displaced records, and of those on no pulse, may have been refused.
    if not refused <= refused_rows <= refused + elsewhere:
        parts = f"windows have {refused}, and {elsewhere} records are displaced or on no pulse"
        account.wrong(each.label, f"validation refused {refused_rows} records; {parts}")
    if blocks is not None:
        _compare_blocks(account, each, blocks, validated)
    account.counts["validated"] += rows
    account.counts["valid"] += valid
    account.counts["refused"] += refused
    account.counts["displaced"] += displaced
    account.counts["on_no_pulse"] += each.on_no_pulse


def _compare_blocks(
    account: OutcomeBuilder, each: KnownObject, blocks: Blocks, validated: Mapping[str, ValidatedRows]
) -> None:
    """Compare the rows of an object's blocks with validated records, and the blocks with those written."""
    account.counts["in_blocks"] += sum(block.rows or 0 for block in blocks.values())
    rows = {name: block.rows for name, block in blocks.items()}
    expected = {name: part.rows for name, part in validated.items() if part.rows}
    for device in sorted({*rows, *expected}):
        in_block, of_device = rows.get(device, 0), expected.get(device, 0)
        if in_block != of_device:
            has = "cannot be read" if in_block is None else f"has {in_block} rows"
            account.wrong(each.label, f"the block of {device} {has}, {of_device} records were validated")
    found = blocks_id({name: block.etag for name, block in blocks.items()})
    if rows == expected and each.blocks_id not in ("", found):
        account.wrong(each.label, "its blocks have the right numbers of rows, but ingest wrote other bytes")


def _rows_by_object(validated: Iterable[ValidatedRows]) -> Mapping[str, dict[str, ValidatedRows]]:
    """Return object id → name of the device's block → rows."""
    rows: defaultdict[str, dict[str, ValidatedRows]] = defaultdict(dict)
    for part in validated:
        rows[part.object_id][fitting_name(part.device)] = part
    return rows
