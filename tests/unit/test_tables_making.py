"""The table of shots equals, row by row, what each shot's batch, verdict and events hold."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shotwatch_common.facility_file import load_facility
from shotwatch_shots.batch import ShotBatch
from shotwatch_shots.event import Anomaly, AnomalyEvent
from shotwatch_shots.features.catalogue import FEATURE_SPECS
from shotwatch_shots.place import Place, ShotSeries
from shotwatch_shots.pulses import instant, shot_id
from shotwatch_shots.shot import JudgedShot, ShotVerdict
from shotwatch_shots.vocabulary import AnomalyKind, Phase, Severity
from shotwatch_tables.making import MeasuredBatch, make_table
from shotwatch_tables.schema import METADATA_KEY, SHOT_COLUMNS, ShotTableSchema, identifiers
from tests.unit.shots import judged_shot

FACILITY = load_facility(Path("facilities/hpls.yaml"))
SERIES = ShotSeries.parse("LA-A2-00-1s")
SCHEMA = ShotTableSchema.of(FACILITY, SERIES.place)
CAMERA, METER = "LA_A2-Camera_1-Camera-1", "LA_A2-EM_1-EnergyMeter-1"
START = 1_656_676_800_000
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?")


def a_batch(batch_id: str, pulses: list[int], data: Any) -> ShotBatch:
    """A batch with a camera and a meter, whose records are drawn."""
    n = len(pulses)

    def member(device: str, kind: str) -> dict[str, Any]:
        source = data.draw(st.lists(st.integers(-1, 1), min_size=n, max_size=n))
        verdict = data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
        return {
            "device": device,
            "kind": kind,
            "blocks": [
                {"bucket": "blocks", "key": f"{batch_id}{k}", "object_id": k, "object_key": f"{k}.h5"}
                for k in "ab"
            ],
            "source": source,
            "row": [n if s >= 0 else 0 for n, s in enumerate(source)],
            "reasons": ["black_frame"],
            "verdict": [v if s >= 0 else 0 for v, s in zip(verdict, source, strict=True)],
            "on": data.draw(st.lists(st.booleans(), min_size=n, max_size=n)),
        }

    return ShotBatch(
        batch_id=batch_id,
        window_id="window",
        series=SERIES,
        pulses=pulses,
        revisions=[1] * n,
        complete=[True] * n,
        members=[member(CAMERA, "Camera"), member(METER, "EnergyMeter")],
        last_arrival=0,
    )


@settings(max_examples=15)
@given(st.data())
def test_each_row_is_its_shot(data: Any) -> None:
    seconds = data.draw(st.lists(st.integers(0, 40), unique=True, min_size=1, max_size=8))
    split = data.draw(st.integers(0, len(seconds)))
    batches, shots, expected = {}, [], {}
    values = st.floats(-1000, 1000, width=32) | st.just(float("nan"))
    for name, of_batch in (("x", seconds[:split]), ("y", seconds[split:])):
        if not of_batch:
            continue
        pulses = [START + 1000 * second for second in of_batch]
        batch = a_batch(name, pulses, data)
        drawn = {
            CAMERA: {"centroid_x": data.draw(st.lists(values, min_size=len(pulses), max_size=len(pulses)))},
            METER: {"energy": data.draw(st.lists(values, min_size=len(pulses), max_size=len(pulses)))},
        }
        measured = {d: {f: np.array(v) for f, v in features.items()} for d, features in drawn.items()}
        batches[name] = MeasuredBatch(batch, measured)
        for n, pulse in enumerate(pulses):
            shots.append(judged_shot(shot_id(SERIES, pulse), SERIES, pulse, batch=name, index=n))
            expected[pulse] = batch, n, drawn
    table = make_table(SCHEMA, data.draw(st.permutations(shots)), batches, [])
    assert table.schema.equals(SCHEMA.arrow, check_metadata=True)
    table.validate(full=True)
    rows = table.to_pylist()
    assert [row["shot"] for row in rows] == [shot_id(SERIES, pulse) for pulse in sorted(expected)]
    for row, pulse in zip(rows, sorted(expected), strict=True):
        batch, n, drawn = expected[pulse]
        assert row["time"].to_pydatetime() == instant(pulse)
        for member, column, feature in zip(
            batch.members,
            ("LA_A2_Camera_1_Camera_1", "LA_A2_EM_1_EnergyMeter_1"),
            ("centroid_x", "energy"),
            strict=True,
        ):
            record = member.of_shot(n)
            assert row[f"{column}.verdict"] == record.verdict
            assert row[f"{column}.on"] == record.on
            assert row[f"{column}.row"] == record.row
            assert row[f"{column}.block"] == (record.block and record.block.key)
            assert row[f"{column}.raw_object"] == (record.block and record.block.object_key)
            value = drawn[member.device][feature][n]
            assert row[f"{column}.{feature}"] == (None if value != value else value)
        assert row["LA_A2_Camera_2_Camera_2.verdict"] is None  # it has no part in these batches
        assert row["LA_A2_Camera_2_Camera_2.centroid_x"] is None


def test_what_belongs_to_no_batch_has_its_verdict_and_nothing_else() -> None:
    verdict = ShotVerdict(5.5, 4.5, (AnomalyKind.ENERGY, AnomalyKind.POINTING), Severity.WARNING)
    shot = replace(judged_shot("a", SERIES, START), verdict=verdict, missing=(CAMERA,), complete=False)
    (row,) = make_table(SCHEMA, [shot], {}, []).to_pylist()
    assert {
        name: row[name] for name in ("score", "threshold", "anomalous", "severity", "kinds", "missing")
    } == {
        "score": 5.5,
        "threshold": 4.5,
        "anomalous": True,
        "severity": "warning",
        "kinds": ["energy", "pointing"],
        "missing": [CAMERA],
    }
    assert (row["complete"], row["model"], row["LA_A2_EM_1_EnergyMeter_1.energy"]) == (False, None, None)


def an_event(
    id_: str, shot: JudgedShot, kind: AnomalyKind, incident: str, until: int, supersedes: tuple[str, ...] = ()
) -> AnomalyEvent:
    anomaly = Anomaly(
        sequence=len(id_), shot=shot.id, revision=1, time=shot.pulse, place=SERIES.place, interval="1s",
        kind=kind, severity=Severity.INFO, devices=[], score=1, threshold=1, why="", contributions=[],
        evidence=[], image_url=None, residual_url=None, model=None, incident=incident, phase=Phase.OPENED,
        since=shot.pulse, until=until, shots=1, supersedes=list(supersedes), trace_id="",
    )  # fmt: skip
    return AnomalyEvent.about(anomaly, id_, "HPLS", "", 0)


def test_a_shot_has_its_events_and_the_incidents_that_last_when_it_is() -> None:
    energy, pointing = (AnomalyKind.ENERGY,), (AnomalyKind.POINTING,)
    shots = [
        replace(judged_shot(shot_id(SERIES, pulse), SERIES, pulse), verdict=ShotVerdict(None, None, kinds))
        for pulse, kinds in (
            (START, energy),
            (START + 1000, energy),
            (START + 2000, pointing),
            (START + 3000, energy),
        )
    ]
    events = [
        an_event("1", shots[0], AnomalyKind.ENERGY, "1", START),
        an_event("22", shots[0], AnomalyKind.ENERGY, "1", START + 2000),
        an_event("333", shots[3], AnomalyKind.ENERGY, "333", START + 3000),
        an_event("4444", shots[3], AnomalyKind.SUPERSEDED, "333", START + 3000, ("333",)),
    ]
    table = make_table(SCHEMA, shots, {}, events)
    assert table["events"].to_pylist() == [["1", "22"], [], [], []]
    assert table["incidents"].to_pylist() == [["1"], ["1"], [], []]


@pytest.mark.parametrize("place", [str(each.place) for each in FACILITY.places])
def test_every_column_is_an_identifier_and_has_a_meaning(place: str) -> None:
    schema = ShotTableSchema.of(FACILITY, Place.parse(place))
    names = [column.name for column in schema.columns]
    assert len(set(names)) == len(names)
    assert all(IDENTIFIER.fullmatch(name) for name in names)
    assert all(column.description for column in schema.columns)
    (devices,) = [each.devices for each in FACILITY.places if str(each.place) == place]
    assert {column.device for column in schema.columns} == {"", *devices}


def test_a_column_of_a_feature_is_described_as_the_feature_is() -> None:
    column = SCHEMA.by_name["LA_A2_EM_1_EnergyMeter_1.energy"]
    spec = FEATURE_SPECS["energy"]
    assert (column.unit, column.description, column.range) == (spec.unit, spec.description, spec.range)
    assert column.device == METER
    assert column.field.metadata[b"range"] == b"[0, null]"


def test_a_file_describes_its_columns() -> None:
    described = json.loads(SCHEMA.arrow.metadata[METADATA_KEY])
    assert described["schema_version"] == 1
    assert described["devices"]["LA_A2_EM_1_EnergyMeter_1"] == METER
    for column in SCHEMA.columns:
        assert described["columns"][column.of_device]["description"] == column.description


def test_devices_whose_names_differ_in_punctuation_only_have_columns_of_their_own() -> None:
    names = identifiers(["A-1", "A.1", "B-1", "1C"])
    assert len(set(names.values())) == 4
    assert (names["B-1"], names["1C"]) == ("B_1", "_1C")
    assert names["A-1"] == identifiers(["A.1", "X", "A-1"])["A-1"]
    assert all(name.startswith("A_1_") for name in (names["A-1"], names["A.1"]))


def test_the_columns_of_a_record_have_no_name_of_a_feature() -> None:
    of_devices = {column.of_device for column in SCHEMA.columns if column.device}
    of_records = of_devices - FEATURE_SPECS.keys()
    assert of_records == {"verdict", "on", "raw_object", "block", "row"}
    assert not of_devices & {column.name for column in SHOT_COLUMNS}
    assert all(SCHEMA.by_name[f"LA_A2_EM_1_EnergyMeter_1.{name}"] for name in of_records)
    assert SCHEMA.by_name["time"].type == pa.timestamp("ns", "UTC")
