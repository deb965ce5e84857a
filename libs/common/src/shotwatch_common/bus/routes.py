"""The exchanges and routing keys by which a message may arrive at a stage."""

from collections.abc import Mapping, Sequence
from typing import cast

from aio_pika.abc import AbstractIncomingMessage

from shotwatch_common.tolerant_frames import undecodable
from shotwatch_common.topology import STORE_EXCHANGE, Topology
from shotwatch_shots.errors import Reject


def require_permitted_route(topology: Topology, stage: str, message: AbstractIncomingMessage) -> None:
    """Check that the message came with the routing key of its stage, which only some accounts may use.

    The headers CC and BCC add routing keys. RabbitMQ before 4.1 does not check these against the sender's
    rights (https://github.com/rabbitmq/rabbitmq-server/pull/12553). The message itself has only its first
    key.

    Raises:
        Reject: the message came by another exchange or key, now or on its way through a waiting queue; or its
            headers, which show that way, cannot be decoded.
    """
    if (why := undecodable(message.headers)) is not None:
        raise Reject("wrong_message", f"its headers cannot be decoded: {why}")
    consumed = topology.consumed_queues_of(stage)
    permitted: set[tuple[str | None, str | None]] = {
        *((topology.work.name, queue.routing()) for queue in consumed),
        *(("", queue.name) for queue in consumed),
    }
    if stage == "ingest":
        permitted |= {(STORE_EXCHANGE, topology.objects.name), (topology.objects.name, message.routing_key)}
    if (message.exchange, message.routing_key) not in permitted:
        raise Reject(
            "wrong_message", f"came by exchange {message.exchange!r} with key {message.routing_key!r}"
        )
    waiting_keys: Mapping[object, str] = {queue.name: queue.routing() for queue in topology.queues_of(stage)}
    deaths = cast(Sequence[Mapping[str, object]], message.headers.get("x-death") or [])
    for death in deaths:  # one for each waiting queue that the message has passed through
        if death["routing-keys"] != [waiting_keys.get(death["queue"])]:
            raise Reject("wrong_message", f"came to {death['queue']!r} with keys {death['routing-keys']}")
