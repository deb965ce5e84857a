"""The number of messages in the queues of a stage."""

from dataclasses import dataclass

from aio_pika.abc import AbstractConnection

from shotwatch_cli.broker import depth_of
from shotwatch_common.topology import Topology


@dataclass(frozen=True, slots=True)
class StageQueues:
    """The messages of one stage."""

    stage: str
    ready: int = 0
    """Messages that wait for a handler."""
    consumers: int = 0
    """Number of consumers of the queue that has the fewest."""
    retrying: int = 0
    """Messages that wait for another attempt."""
    dead_lettered: int = 0
    """Dead-lettered messages, which a person must inspect."""
    missing: tuple[str, ...] = ()
    """Queues of the stage that are not declared."""


async def stage_queues(connection: AbstractConnection, stage: str, topology: Topology) -> StageQueues:
    """Return the number of messages in each queue of a stage."""
    consumed = [queue.name for queue in topology.consumed_queues_of(stage)]
    dead_letter_queue, *waiting = [queue.name for queue in topology.queues_of_failed(stage)]
    depths = {name: await depth_of(connection, name) for name in (*consumed, dead_letter_queue, *waiting)}
    found = {name: depth for name, depth in depths.items() if depth is not None}
    messages = {name: depth.messages for name, depth in found.items()}
    return StageQueues(
        stage,
        ready=sum(messages.get(name, 0) for name in consumed),
        consumers=min(found[name].consumers if name in found else 0 for name in consumed),
        retrying=sum(messages.get(name, 0) for name in waiting),
        dead_lettered=messages.get(dead_letter_queue, 0),
        missing=tuple(name for name, depth in depths.items() if depth is None),
    )
