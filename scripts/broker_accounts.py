"""Write docs/broker-accounts.md from the accounts; a test compares the page with the code."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from shotwatch_common.topology import EVENTS_KEPT, STORE_EXCHANGE, Topology
from shotwatch_operations.broker.accounts import (
    ACCOUNT_LIMITS,
    MAX_CONNECTIONS,
    OPERATOR_LIMITS,
    BrokerAccount,
    accounts_of,
)

PAGE = Path(__file__).resolve().parent.parent / "docs" / "broker-accounts.md"
TOPOLOGY = Topology()
STREAM_MIB = EVENTS_KEPT["x-max-length-bytes"] >> 20
FILE_KIB = EVENTS_KEPT["x-stream-max-segment-size-bytes"] >> 10
MAX_AGE = EVENTS_KEPT["x-max-age"]


def _both(limits: Mapping[str, int]) -> str:
    return f"{limits['max-connections']} and {limits['max-channels']}"


HEAD = """# Accounts of the broker

Written by `make broker-accounts` from `shotwatch_common/services.py` and
`shotwatch_operations/broker/accounts.py`; change those. What is not in the table is refused.
`tests/integration/test_broker_accounts.py` tries, account by account on a real RabbitMQ, every operation on
every exchange and queue.

*Configure* means to declare or delete; *publish to* to send, with one of these routing keys; *bind* to bind
queues to an exchange or unbind them; *consume* to read messages or purge a queue. Names are exact.
`….retry.…` stands for the waiting queues of a stage. With `SHOTWATCH_PREFIX`, all of these names begin with
it, and so do those of the accounts, but not `amq.…`.

| account | configure | publish to | bind | consume |
| --- | --- | --- | --- | --- |
"""
TAIL = f"""
No permission restricts the following: every account may query whether an exchange or a queue of a known name
exists, and how many messages and consumers the queue has.

**Publishing to a queue by its name** requires the right to write to the default exchange, and so to every
queue. So retries and dead-lettered messages go through `shotwatch.work`, a topic exchange: there the broker
checks routing keys.

**The object store.** MinIO declares its exchange before each message, and to declare requires the same right
as to delete. Its exchange is therefore `{STORE_EXCHANGE}`, which the broker itself made and never deletes;
the set-up binds it to `shotwatch.objects`. At worst, a stolen account `store` sends false notifications.
Ingest reads only objects that are in the inbox; others end in the ledger as gone.

**Headers `CC` and `BCC`** send a message by further routing keys, which RabbitMQ before 4.1 does not compare
with the account's rights. So a service dead-letters what came to its queue by another way than its own key,
and `shotwatch tail` shows no event whose key is not the event's own. Other programs on such a broker should
compare them, too.

## Subscribing to events

The stream `{TOPOLOGY.events.name}` has every anomaly event, in the order of publication. Any number of
clients read it, each from a position of its own, and none of them removes anything. `shotwatch tail` reads
it, and so can any client of AMQP 0.9.1: consume from it with a prefetch count, without automatic
acknowledgement, and with the argument `x-stream-offset`:

| `x-stream-offset` | what comes |
| --- | --- |
| `next` | what is published from now on |
| a number | from the event with this offset; each message has its own in the header `x-stream-offset` |
| a time stamp (AMQP type `timestamp`) | from about that time |
| `first` | all that the stream keeps |

A client that was away asks for the offset after the last one that it read, and gets what it missed. All
events come; the client filters by routing key, `anomaly.{{severity}}.{{place}}.{{kind}}`, with a word for
each level of the place: `anomaly.critical.LA.A1.11.hot_spot`.
An event may come twice, with the same id. Acknowledge each message, or several at once: the broker sends no
more than the prefetch count ahead. In Python, with aio-pika:

```python
channel = await connection.channel()
await channel.set_qos(prefetch_count=100)
events = await channel.get_queue("{TOPOLOGY.events.name}", ensure=False)
async with events.iterator(arguments={{"x-stream-offset": "next"}}) as messages:
    async for message in messages:
        print(message.headers["x-stream-offset"], message.routing_key, message.body)
        await message.ack()
```

The stream keeps at most {STREAM_MIB} MiB, some 2,000 events of 2 kB, of the last day
(`x-max-age` {MAX_AGE}). It is written in files of {FILE_KIB} KiB, and the broker deletes files, oldest first,
when it begins another one. So the stream takes up to a file more, and where events are few, some get older
than a day. The REST API has all events (`GET /api/v1/events`, `shotwatch tail --since N`). If the stream is
deleted and declared again, its offsets begin at 0 again, and a client that asks for a greater one gets what
is published from then on.

## Limits

| what | limit |
| --- | --- |
| connections and channels of `operator` | {_both(OPERATOR_LIMITS)} |
| connections and channels of each other account | {_both(ACCOUNT_LIMITS)} |
| connections in all | {MAX_CONNECTIONS} |
| consumers of a channel, on RabbitMQ 4: `consumer_max_per_channel` in `deploy/rabbitmq/rabbitmq.conf` | 1 |

A consumer that acknowledges and reads nothing costs the broker at most the stream: messages that the broker
has read for it wait in memory ([ADR 25](adr/0025-operators-read-a-stream.md) has figures). RabbitMQ 3.10 has
no limit on the consumers of a channel, so give the password of `operator` to others on RabbitMQ 4 only. The
embedded stack gives it to nobody.

**RabbitMQ does not limit unfinished messages.** It keeps up to 512 MiB of one on each channel before it
checks whether the sender may publish. So with the password of any account, one can fill the broker's memory
until its alarm blocks all publishers, for as long as one stays connected; files wait in the inbox meanwhile.
Give passwords of the broker only to people whom you trust that far. Others follow events over the REST API
(`GET /api/v1/events/stream`), which limits each caller.
"""


def page() -> str:
    """Return the page."""
    rows = "\n".join(_row(account) for account in accounts_of(TOPOLOGY))
    return f"{HEAD}{rows}\n{TAIL}"


_EXCHANGES = {each.name for each in TOPOLOGY.exchanges} | {STORE_EXCHANGE, "amq.default"}


def _row(account: BrokerAccount) -> str:
    writes, reads = (set(_plain(names)) for names in (account.write, account.read))
    cells = (
        _names(_plain(account.configure)),
        "; ".join(_published(account, writes)) or "—",
        f"{_names(writes - _EXCHANGES)} to {_names(reads & _EXCHANGES)}" if reads & _EXCHANGES else "—",
        _names(reads - _EXCHANGES),
    )
    tags = f" Its tag in RabbitMQ: {', '.join(account.tags)}." if account.tags else ""
    return f"| **{account.name}**: {account.holder}.{tags} | {' | '.join(cells)} |"


def _published(account: BrokerAccount, writes: set[str]) -> Iterator[str]:
    for exchange in sorted(writes & _EXCHANGES):
        keys = account.routing_keys.get(exchange)
        yield f"`{exchange}`" + (f" with {_names(_plain(keys))}" if keys else "")


def _plain(patterns: Iterable[str]) -> list[str]:
    """Return patterns as readable text; the waiting queues of a stage become one."""
    names = (pattern.replace(".+", "…").replace("\\", "").replace("|", "\\|") for pattern in patterns)
    return [re.sub(r"\.retry\.\d+s$", ".retry.…", name) for name in names]


def _names(names: Iterable[str]) -> str:
    left = set(names)
    ours = set(_plain(queue.name for queue in (*TOPOLOGY.queues, TOPOLOGY.events)))
    all_queues = ["all queues"] if ours <= left else []
    return (
        ", ".join([*all_queues, *(f"`{name}`" for name in sorted(left - (ours if all_queues else set())))])
        or "—"
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
