"""The health of the servers behind this one."""

import asyncio
from collections.abc import Awaitable

from fastapi import APIRouter
from pydantic import Field

from shotwatch_query.errors import Unavailable
from shotwatch_query.problems import AWAY
from shotwatch_query.schema import Schema
from shotwatch_query.sources import ApiSources, From

router = APIRouter(tags=["health"])
TIMEOUT_S = 3.0


class Health(Schema):
    """The state of each server behind this one: `ok`, or its problem."""

    status: str = Field(examples=["ok", "degraded"])
    database: str
    store: str
    models: str


@router.get("/health", summary="Which servers answer")
async def get_health(sources: From) -> Health:
    """Return the state of database, object store and model registry: `ok`, or the problem of each."""
    checks = (_database(sources), _store(sources), _models(sources))
    database, store, models = await asyncio.gather(*map(_outcome, checks))
    status = "ok" if database == store == models == "ok" else "degraded"
    return Health(status=status, database=database, store=store, models=models)


async def _database(sources: ApiSources) -> None:
    if not await sources.archive.ready():
        raise Unavailable("the database does not answer")


async def _store(sources: ApiSources) -> None:
    await sources.store.etag(sources.settings.block_bucket, "health")


async def _models(sources: ApiSources) -> None:
    await sources.registry.alive()


async def _outcome(check: Awaitable[None]) -> str:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await check
    except TimeoutError:
        return f"no answer within {TIMEOUT_S:g} s"
    except AWAY as error:
        return str(error)
    return "ok"
