"""Writes docs/broker-accounts.md from the accounts; a test holds it against the code."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from shotwatch_common.broker_accounts import (
    ACCOUNT_LIMITS,
    MAX_CONNECTIONS,
    MAX_OPERATOR_QUEUES,
    Account,
    accounts_of,
    definitions,
)
from shotwatch_common.topology import STORE_EXCHANGE, Topology

PAGE = Path(__file__).resolve().parent.parent / "docs" / "broker-accounts.md"
TOPOLOGY = Topology()
HEAD = """# Accounts of the broker

Written by `make broker-accounts` from `shotwatch_common/broker_accounts.py`; change that. What is not in
the table is refused. `tests/integration/test_broker_accounts.py` tries, account by account on a real
RabbitMQ, every operation on every exchange and queue.

*Configure* means to declare or delete; *publish to* to send, with one of these routing keys; *bind* to bind
queues to an exchange or unbind them; *consume* to read messages or purge a queue. Names are exact.
`amq.gen-…` is a queue that the broker names: declare one without a name, exclusive, or durable to keep a day
of events while you are away. No client can give such a name to an exchange. `….retry.…` stands for the
waiting queues of a stage. With `SHOTWATCH_PREFIX`, all of these
names begin with it, and so do those of the accounts, but not `amq.…`.

| account | configure | publish to | bind | consume |
| --- | --- | --- | --- | --- |
"""
TAIL = f"""
What no permission forbids: whoever may log in may ask whether an exchange or a queue of a known name is
there, and how many messages and consumers the queue has. RabbitMQ has no right for that question.

**Publishing to a queue by its name** takes the right to write to the default exchange, and with it to every
queue. So retries and parked messages go through `shotwatch.work`, a topic exchange: there the broker checks
routing keys.

**The object store.** MinIO declares its exchange before each message, and to declare takes the same right
as to delete. Its exchange is therefore `{STORE_EXCHANGE}`, which the broker itself made and never deletes;
the set-up binds it to `shotwatch.objects`. At worst, a stolen account `store` sends false notifications.
Ingest reads only objects that are in the inbox; others end in the ledger as gone.

**A subscriber's queue that rejects** what it has no room for (`x-overflow: reject-publish`) rejects its own
copy of an event. Inference logs that and goes on.

**Headers `CC` and `BCC`** send a message by further routing keys, which RabbitMQ before 4.1 does not compare
with the account's rights. So a service parks what came to its queue by another way than its own key, and
`shotwatch tail` shows no event that came by another key than the event's. Programs that subscribe by
themselves on such a broker can do the same, or ask the REST API for the event.

## Limits

| what | limit |
| --- | --- |
| queues `amq.gen-…` | {{operators}} |
| queues in the virtual host | ours ({len(TOPOLOGY.queues)}), and {MAX_OPERATOR_QUEUES} more |
| connections | {ACCOUNT_LIMITS["max-connections"]} of each account, {MAX_CONNECTIONS} in all |
| channels | {ACCOUNT_LIMITS["max-channels"]} of each account |

RabbitMQ has no limit on the queues of one account: whoever has the password of `operator` can take all
{MAX_OPERATOR_QUEUES}, and then no one else can subscribe until these queues expire or are deleted. Our own
queues are not affected, nor is the set-up. Nor has it a limit on bindings: whoever has that password can bind
until the broker's memory alarm stops all publishers, for as long as they go on; files wait in the inbox. It
has none on messages that were delivered and not acknowledged. Give the password only to whom you trust that
far; others follow events by the REST API (`GET /api/v1/events/stream`), which limits each caller.
"""


def page() -> str:
    """Return the page, as it lies in the repository."""
    nobody = {account.name: "" for account in accounts_of(TOPOLOGY)}
    policies = {each["name"]: each["definition"] for each in definitions(nobody, TOPOLOGY)["policies"]}
    rows = "\n".join(_row(account) for account in accounts_of(TOPOLOGY))
    return f"{HEAD}{rows}\n{TAIL.format(operators=_bounds(policies['operator-queues']))}"


_EXCHANGES = {each.name for each in TOPOLOGY.exchanges} | {STORE_EXCHANGE, "amq.default"}


def _row(account: Account) -> str:
    writes, reads = (set(_plain(names)) for names in (account.write, account.read))
    cells = (
        _names(_plain(account.configure)),
        "; ".join(_published(account, writes)) or "—",
        f"{_names(writes - _EXCHANGES)} to {_names(reads & _EXCHANGES)}" if reads & _EXCHANGES else "—",
        _names(reads - _EXCHANGES),
    )
    tags = f" RabbitMQ's management API: {', '.join(account.tags)}." if account.tags else ""
    return f"| **{account.name}**: {account.holder}.{tags} | {' | '.join(cells)} |"


def _bounds(definition: Mapping[str, object]) -> str:
    return ", ".join(f"`{name}` {value}" for name, value in definition.items())


def _published(account: Account, writes: set[str]) -> Iterator[str]:
    for exchange in sorted(writes & _EXCHANGES):
        keys = account.routing_keys.get(exchange)
        yield f"`{exchange}`" + (f" with {_names(_plain(keys))}" if keys else "")


def _plain(patterns: Iterable[str]) -> list[str]:
    """Return patterns as people read them; the waiting queues of a stage as one."""
    names = (pattern.replace(".+", "…").replace("\\", "").replace("|", "\\|") for pattern in patterns)
    return [re.sub(r"\.retry\.\d+s$", ".retry.…", name) for name in names]


def _names(names: Iterable[str]) -> str:
    left = set(names)
    ours = set(_plain(queue.name for queue in TOPOLOGY.queues))
    all_queues = ["all queues"] if ours <= left else []
    return (
        ", ".join([*all_queues, *(f"`{name}`" for name in sorted(left - (ours if all_queues else set())))])
        or "—"
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
