"""How full the queues of a stage are."""

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
    """Waiting for another attempt."""
    parked: int = 0
    """Set aside for a person to look at."""
    missing: tuple[str, ...] = ()
    """Queues of the stage that nobody has declared."""


async def stage_queues(connection: AbstractConnection, stage: str, topology: Topology) -> StageQueues:
    """What a stage has in its queues."""
    own, parked, *waiting = [queue.name for queue in topology.queues_of(stage)]
    depths = {name: await depth_of(connection, name) for name in (own, parked, *waiting)}
    found = {name: depth for name, depth in depths.items() if depth is not None}
    messages = {name: depth.messages for name, depth in found.items()}
    return StageQueues(
        stage,
        ready=messages.get(own, 0),
        consumers=found[own].consumers if own in found else 0,
        retrying=sum(messages.get(name, 0) for name in waiting),
        parked=messages.get(parked, 0),
        missing=tuple(name for name, depth in depths.items() if depth is None),
    )
