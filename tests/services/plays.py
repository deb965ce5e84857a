"""The services, each run on the servers of a world until nothing is left to do."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from io import StringIO
from unittest.mock import patch

import httpx

from shotwatch_aggregate import service as aggregate_service
from shotwatch_aggregate.settings import AggregateSettings
from shotwatch_features import service as features_service
from shotwatch_features.settings import FeaturesSettings
from shotwatch_history import service as history_service
from shotwatch_history.settings import HistorySettings
from shotwatch_inference import service as inference_service
from shotwatch_inference.settings import InferenceSettings
from shotwatch_ingest import reading
from shotwatch_ingest import service as ingest_service
from shotwatch_ingest.settings import IngestSettings
from shotwatch_query.service import open_sources
from shotwatch_query.settings import QuerySettings
from shotwatch_training import __main__ as training_command
from shotwatch_training import registry as training_registry
from shotwatch_training.datasets import __main__ as datasets_command
from shotwatch_training.settings import TrainingSettings
from shotwatch_validate import service as validate_service
from shotwatch_validate.settings import ValidateSettings
from tests.support.effects import Died
from tests.support.mlflow_client import MlflowClientInMemory
from tests.support.readers import ReadersInProcess
from tests.support.world import SERVERS, World
from tests.unit import api


async def ingest(world: World) -> None:
    with patch.object(reading, "ReaderPool", ReadersInProcess):
        await world.run(ingest_service.assemble, IngestSettings, inbox_again_seconds="1")


async def validate(world: World) -> None:
    await world.run(validate_service.assemble, ValidateSettings)


async def aggregate(world: World) -> None:
    await world.run(aggregate_service.assemble, AggregateSettings)


async def features(world: World) -> None:
    await world.run(features_service.assemble, FeaturesSettings)


async def inference(world: World) -> None:
    await world.run(inference_service.assemble, InferenceSettings)


async def history(world: World) -> None:
    await world.run(history_service.assemble, HistorySettings)


async def train(world: World, *arguments: str) -> int | None:
    """Run one training; return its exit status, None if it died."""
    return await _command(world, partial(training_command.main, arguments))


async def manage_sets(world: World, *arguments: str) -> int | None:
    """Run one command about training sets; return its exit status, None if it died."""
    return await _command(world, partial(datasets_command.main, arguments))


async def _command(world: World, main: Callable[[StringIO], int]) -> int | None:
    settings = TrainingSettings.model_validate(SERVERS)
    world.effects.dead = False
    with (
        world.reached(),
        patch.object(TrainingSettings, "load", lambda: settings),
        patch.object(training_registry, "MlflowClient", lambda **_: MlflowClientInMemory(world.models)),
    ):
        try:
            return await asyncio.to_thread(main, StringIO())
        except Died:
            return None


@asynccontextmanager
async def query(world: World, **given: object) -> AsyncIterator[httpx.AsyncClient]:
    """Run the REST API, and give a client of it.

    Raises:
        Died: the service died.
    """
    world.effects.dead = False
    settings = QuerySettings.model_validate({**SERVERS, "query_port": 8000, **given})
    try:
        with world.reached():
            async with open_sources(settings) as sources, api.client(sources) as client:
                yield client
    except BaseExceptionGroup as group:  # of the service's tasks
        if group.subgroup(Died):
            raise Died from group
        raise
