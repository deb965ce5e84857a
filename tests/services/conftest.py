"""Three shots of a place with five devices, as each service finds them; one of them has a black frame."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shotwatch_shots.models import Promotion
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.pulses import epoch_ms
from shotwatch_shots.vocabulary import ModelAlias
from shotwatch_simulator.anomalies import Kind
from shotwatch_simulator.injections import inject
from shotwatch_simulator.simulation import Simulation, simulate
from tests.support.faults import Play
from tests.support.world import LASER, World

from .plays import aggregate, features, ingest, validate

SERIES = ShotSeries.parse("LA-FSD-00-1s")
START = datetime(2025, 10, 9, 8, tzinfo=UTC)
SHOTS = [f"{SERIES}-20251009T08000{n}.000" for n in range(3)]
FLAWED = SHOTS[1]


@pytest.fixture(scope="session")
async def arrived(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The inbox holds a file of each device."""
    expected = LASER.expected_devices(SERIES)
    assert expected is not None
    black = inject(LASER, expected, Kind.BLACK_FRAME, epoch_ms(START) + 1000)
    files = Simulation(LASER, (expected,), START, timedelta(seconds=3), injections=(black,))
    world = World()
    written = {path.name: path.read_bytes() for path in simulate(files, tmp_path_factory.mktemp("files"))}
    for key, data in written.items():
        await world.upload(key, data)
    return world


@pytest.fixture(scope="session")
async def ingested(arrived: World) -> World:
    """Each file's records lie in blocks, and wait for validate."""
    return await after(arrived, ingest)


@pytest.fixture(scope="session")
async def validated(ingested: World) -> World:
    """The records of each file wait for aggregate."""
    return await after(ingested, validate)


@pytest.fixture(scope="session")
async def joined(validated: World) -> World:
    """The shots wait for features."""
    return await after(validated, aggregate)


@pytest.fixture(scope="session")
async def measured(joined: World) -> World:
    """The shots wait for inference."""
    return await after(joined, features)


async def promote(world: World, alias: ModelAlias, version: str, digest: str) -> None:
    """Give a registered version an alias, as the promotion does."""
    world.models.aliases[alias] = version
    at = round(world.now_s * 1000)
    promotion = Promotion(
        at, "amelie", None, version, "", run_id=f"run-{version}", digest=digest, alias=alias
    )
    with world.in_its_time():
        line = await world.archive.audit.note(promotion.operation, promotion.subject)
    await world.archive.promotions.add(replace(promotion, audit_line=line))


async def after(world: World, play: Play) -> World:
    """Return a copy of the servers after a service has run on them."""
    other = world.fork()
    await play(other)
    return other
