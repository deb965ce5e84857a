"""`shotwatch dataset` on a running stack: from recorded files to a stream of examples that is the same."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from shotwatch_shots.place import Place, ShotSeries
from shotwatch_shots.pulses import epoch_ms, instant
from shotwatch_shots.shot import ShotFilter
from shotwatch_simulator.anomalies import Kind
from shotwatch_simulator.injections import plan_injections
from shotwatch_simulator.simulation import Simulation, simulate
from shotwatch_training.datasets.reading import fetcher, read_cameras, stream
from shotwatch_training.domain.manifest import DatasetManifest
from shotwatch_training.settings import TrainingSettings

from .conftest import Running
from .test_cli import shotwatch

START = datetime(2023, 5, 5, 7, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SPAN = ("--from", START.isoformat(), "--to", (START + MINUTE).isoformat(), "--places", "LA-FSD")


def recorded(folder: Path) -> dict[tuple[str, int], Mapping[str, Any]]:
    """Group name and pulse → what the files have of it."""
    records = {}
    for path in folder.glob("*.h5"):
        with h5py.File(path) as file:
            for timestamp, groups in file.items():
                hours, minutes, seconds, ms = map(int, timestamp.split("-"))
                time = START.replace(hour=hours, minute=minutes, second=seconds, microsecond=1000 * ms)
                pulse = round(epoch_ms(time), -3)
                for group, datasets in groups.items():
                    records[group, pulse] = {name: values[()] for name, values in datasets.items()}
    return records


async def test_a_set_is_made_listed_checked_and_streamed_as_it_was_recorded(
    running: Running, tmp_path: Path
) -> None:
    expected = running.facility.expected_devices(ShotSeries.parse("LA-FSD-00-1s"))
    assert expected is not None
    anomalous = plan_injections(
        running.facility, [expected], START, MINUTE, kinds=[Kind.FROZEN_FRAME, Kind.FAULT]
    )
    await running.upload(
        *simulate(Simulation(running.facility, (expected,), START, MINUTE, injections=anomalous), tmp_path)
    )
    await running.judged()

    made = await shotwatch(running, "dataset", "make", "minute", *SPAN, "--normal", "--json")
    assert made.exit_code == 0, made.stderr
    [summary] = made.documents
    span = epoch_ms(START), epoch_ms(START + MINUTE)
    where = ShotFilter(area=Place.parse("LA-FSD-00"))
    shots = await running.archive.shots.page(where, *span, 0)
    normal = {shot.id for shot in shots if shot.complete and not shot.verdict.kinds}
    assert 0 < len(normal) < len(shots) == 60
    assert summary["counts"]["shots"] == len(normal)

    listed = await shotwatch(running, "dataset", "list", "--json")
    assert summary in listed.documents
    assert "minute" in (await shotwatch(running, "dataset", "list")).stdout
    shown = await shotwatch(running, "dataset", "show", "minute", "--json")
    manifest = DatasetManifest.model_validate_json(shown.stdout)
    assert {shot for group in manifest.groups for shot in group.shots} == normal
    assert all(raw.etag for raw in manifest.raw_objects)
    people = await shotwatch(running, "dataset", "show", "minute")
    assert all(word in people.stdout for word in ("LA-FSD", "any anomaly", "energymeter", "SHA-256"))

    settings = TrainingSettings.model_validate(running.settings.model_dump())
    await asyncio.to_thread(_compare, manifest, settings, recorded(tmp_path))

    checked = await shotwatch(running, "dataset", "check", "minute", "--json")
    assert (checked.exit_code, checked.documents[0]["good"]) == (0, True), checked.stderr
    shard = manifest.shards[0]
    await running.store.put(settings.dataset_bucket, shard.key, b"not what it was")
    broken = await shotwatch(running, "dataset", "check", "minute")
    assert broken.exit_code == 1
    assert f"{shard.key} is not as the manifest describes it" in " ".join(broken.stdout.split())


def _compare(
    manifest: DatasetManifest,
    settings: TrainingSettings,
    records: Mapping[tuple[str, int], Mapping[str, Any]],
) -> None:
    fetch = fetcher(settings)
    examples = stream(manifest, fetch).as_numpy_iterator()
    count = 0
    for group in manifest.groups:
        for pulse in group.pulses:
            example = next(examples)
            camera, spectrometer, meter = (
                records[device, pulse]
                for device in (group.camera, "LA_FSD-Spectro_1-Spectro-1", "LA_FSD-EM_1-EnergyMeter-1")
            )
            np.testing.assert_array_equal(example["image"], camera["ROIImageLow"])
            np.testing.assert_array_equal(
                example["spectra"], spectrometer["intensityFitted"].astype(np.float32)
            )
            both = [np.ravel(meter[f"energy{n}Corrected"])[0] for n in (1, 2)]
            np.testing.assert_allclose(example["energymeter"], np.mean(both), rtol=1e-6)
            assert example["timestamp"] == pulse
            assert example["date"].decode() == f"{instant(pulse):%Y-%m-%d}"
            count += 1
    assert count == manifest.counts.examples
    for camera_frames in read_cameras(manifest, fetch, most=3):
        for time, frame in zip(camera_frames.times.tolist(), camera_frames.frames, strict=True):
            np.testing.assert_array_equal(frame, records[camera_frames.device, time]["ROIImageLow"])


async def test_what_cannot_be_done_is_stated_with_the_reason(running: Running) -> None:
    empty = await shotwatch(
        running, "dataset", "make", "nothing", "--from", "1990-01-01", "--to", "1990-01-02"
    )
    unknown = await shotwatch(running, "dataset", "show", "nothing")
    untrained = await shotwatch(running, "train", "--dataset", "nothing")
    nonsense = await shotwatch(running, "dataset", "make", "anomalous", "--normal", "--include", "hot_spot")
    assert [result.exit_code for result in (empty, unknown, untrained, nonsense)] == [1, 1, 1, 2]
    assert "no shot matches" in empty.stderr
    assert "there is no set nothing" in unknown.stderr
    assert "there is no set nothing" in untrained.stderr
    assert not any("Traceback" in result.stderr for result in (empty, unknown, untrained, nonsense))
