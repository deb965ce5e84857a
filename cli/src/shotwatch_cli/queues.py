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
    consumers: int = 0
    retrying: int = 0
    """Messages that wait for another attempt."""
    dead_lettered: int = 0
    """Dead-lettered messages, which a person must inspect."""
    missing: tuple[str, ...] = ()
    """Queues of the stage that are not declared."""


async def stage_queues(connection: AbstractConnection, stage: str, topology: Topology) -> StageQueues:
    """Return the number of messages in each queue of a stage."""
    own, dead_letter_queue, *waiting = [queue.name for queue in topology.queues_of(stage)]
    depths = {name: await depth_of(connection, name) for name in (own, dead_letter_queue, *waiting)}
    found = {name: depth for name, depth in depths.items() if depth is not None}
    messages = {name: depth.messages for name, depth in found.items()}
    return StageQueues(
        stage,
        ready=messages.get(own, 0),
        consumers=found[own].consumers if own in found else 0,
        retrying=sum(messages.get(name, 0) for name in waiting),
        dead_lettered=messages.get(dead_letter_queue, 0),
        missing=tuple(name for name, depth in depths.items() if depth is None),
    )
