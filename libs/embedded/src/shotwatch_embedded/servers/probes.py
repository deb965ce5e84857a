"""Probes that check a server with a request as its clients would send it."""

from http import HTTPStatus

import aiohttp
from aio_pika.exceptions import AMQPError
from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError

from shotwatch_common.broker_connection import connection_to
from shotwatch_common.store import ObjectStore
from shotwatch_shots.errors import Retry

_MONGO_TIMEOUT_MS = 2000


async def opens_channel(url: str) -> bool:
    """Return whether the AMQP broker accepts our user and opens a channel."""
    try:
        async with connection_to(url) as connection:
            await connection.channel()
    except (AMQPError, OSError):
        return False
    return True


async def writes_document(url: str) -> bool:
    """Return whether the database answers a ping and accepts a write."""
    async with AsyncMongoClient[dict[str, object]](url, serverSelectionTimeoutMS=_MONGO_TIMEOUT_MS) as client:
        try:
            await client.admin.command("ping")
            await client["embedded"]["probes"].replace_one({"_id": "last"}, {}, upsert=True)
        except PyMongoError:
            return False
    return True


async def has_buckets(url: str, access_key: str, secret_key: str, buckets: tuple[str, ...]) -> bool:
    """Return whether the object store accepts our keys and holds the buckets; create missing ones."""
    async with ObjectStore.at(url, access_key, secret_key) as store:
        try:
            await store.ensure_buckets(*buckets)
        except Retry:
            return False
    return True


async def answers(*urls: str) -> bool:
    """Return whether each address answers a GET with 200."""
    try:
        async with aiohttp.ClientSession() as session:
            for url in urls:
                async with session.get(url) as response:
                    if response.status != HTTPStatus.OK:
                        return False
    except aiohttp.ClientError:
        return False
    return True
