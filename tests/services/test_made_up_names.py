"""Made-up device names in many files: what is kept from file to file does not grow with them."""

from pathlib import Path

import h5py
import numpy as np
from prometheus_client import REGISTRY

from shotwatch_ingest.domain.expectation import MAX_UNEXPECTED_DEVICES
from tests.support.world import World

from .plays import aggregate, features, inference, ingest, validate

LISTED = "LA_A2-EM_1-EnergyMeter-1"
FILES = 5


async def test_names_that_the_facility_does_not_list_leave_no_state_and_no_metric(tmp_path: Path) -> None:
    world = World()
    for minute in range(FILES):
        await world.upload(f"LA_names_1s_snapshot_2025-10-09_08-{minute:02d}-00.h5", meters(tmp_path, minute))
    for service in (ingest, validate, aggregate, features, inference):
        await service(world)

    assert not world.outcome().dead
    [*windows] = world.documents("windows")
    assert {len(window["devices"]) for window in windows} == {1 + MAX_UNEXPECTED_DEVICES}
    assert {document["_id"] for document in world.documents("devices")} == {LISTED, "LA-A2-00-1s"}
    labels = [sample.labels for metric in REGISTRY.collect() for sample in metric.samples]
    assert LISTED in {each.get("device") for each in labels}
    assert not [each for each in labels if "made_up" in str(each)]


def meters(folder: Path, minute: int) -> bytes:
    """Return a file with a record of a listed meter and of as many others as a file may hold."""
    made_up = [f"LA_A2-made_up_{minute}_{n}-EnergyMeter" for n in range(MAX_UNEXPECTED_DEVICES)]
    path = folder / f"{minute}.h5"
    with h5py.File(path, "w") as file:
        for device in (LISTED, *made_up):
            group = file.create_group(f"08-{minute:02d}-05-000/{device}")
            group["STATE"] = np.bytes_("ON")
            group["energy1Corrected"] = group["energy2Corrected"] = 4.0
    return path.read_bytes()
