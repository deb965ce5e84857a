"""The services, each run on the servers of a world until nothing is left to do."""

from unittest.mock import patch

from shotwatch_aggregate import service as aggregate_service
from shotwatch_aggregate.settings import AggregateSettings
from shotwatch_features import service as features_service
from shotwatch_features.settings import FeaturesSettings
from shotwatch_history import service as history_service
from shotwatch_history.settings import HistorySettings
from shotwatch_inference import service as inference_service
from shotwatch_inference.settings import InferenceSettings
from shotwatch_ingest import service as ingest_service
from shotwatch_ingest.settings import IngestSettings
from shotwatch_validate import service as validate_service
from shotwatch_validate.settings import ValidateSettings
from tests.support.readers import ReadersInProcess
from tests.support.registry import Registered
from tests.support.world import World


async def ingest(world: World) -> None:
    with patch.object(ingest_service, "ReaderPool", ReadersInProcess):
        await world.run(ingest_service.assemble, IngestSettings, inbox_again_seconds="1")


async def validate(world: World) -> None:
    await world.run(validate_service.assemble, ValidateSettings)


async def aggregate(world: World) -> None:
    await world.run(aggregate_service.assemble, AggregateSettings)


async def features(world: World) -> None:
    await world.run(features_service.assemble, FeaturesSettings)


async def inference(world: World, registered: Registered | None = None) -> None:
    with patch.object(inference_service, "ModelRegistry", registered or Registered()):
        await world.run(inference_service.assemble, InferenceSettings)


async def history(world: World, registered: Registered | None = None) -> None:
    with patch.object(history_service, "ModelRegistry", registered or Registered()):
        await world.run(history_service.assemble, HistorySettings)
