"""What a broker of the embedded stack takes for the log of its queues."""

from pathlib import Path

import aio_pika

from tests.integration.conftest import Node, Url, until

MESSAGE = bytes(1 << 20)
MOST_BYTES = 40 << 20
"""A log of 32 MiB, and the messages that fill it."""


async def test_the_log_of_the_queues_stays_small(node: Node, url: Url) -> None:
    """Its content is in memory as well: 512 MB by default, also of messages consumed long ago."""

    def logged() -> int:
        return sum(log.stat().st_size for log in Path(node.environment["HOME"]).rglob("*.wal"))

    async def is_small() -> bool:
        return logged() < MOST_BYTES

    async with await aio_pika.connect(url("tester")) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("logged", durable=True, arguments={"x-queue-type": "quorum"})
        before = logged()
        for _ in range(100):
            message = aio_pika.Message(MESSAGE, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await channel.default_exchange.publish(message, queue.name)
            await (await queue.get()).ack()
        assert before < MOST_BYTES
        await until(is_small, "a small log")
        await queue.delete(if_unused=False, if_empty=False)
