"""A bundle comes back as it was, or not at all."""

import contextlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shotwatch_detector.bundle import (
    CAMERAS,
    MANIFEST,
    NETWORK,
    Bundle,
    BundleError,
    Origin,
    load_bundle,
    save_bundle,
)
from shotwatch_detector.engine import LiteRtEngine
from shotwatch_detector.fine_structure import FineMaps
from shotwatch_detector.frames import ReferenceFrame
from shotwatch_detector.patterns import Patterns, measure_rest
from shotwatch_detector.residuals import ResidualMap
from shotwatch_detector.scoring import CameraReference
from shotwatch_detector.statistics import Baseline
from shotwatch_detector.tails import Tail
from shotwatch_shots.features.spec import Side

RNG = np.random.default_rng(3)
ORIGIN = Origin("HPLS", "strided", "0.1.0", trained_from=1, calibrated_from=2, until=3)


def image() -> np.ndarray:
    return RNG.random((6, 8), np.float32) + np.float32(0.1)


def camera(patterns: int) -> CameraReference:
    basis = np.array([image() for _ in range(patterns)])
    left = ResidualMap(image(), image())
    fine = FineMaps(left, *(ResidualMap(line, line + 1) for line in (image()[:1], image()[:, :1].T)))
    return CameraReference(
        ReferenceFrame(image(), 3000.0),
        ResidualMap(image(), image()),
        Patterns(image(), basis, basis[:, 0, 0], left, fine),
    )


@pytest.fixture
def bundle() -> Bundle:
    cameras = {name: camera(patterns) for name, patterns in (("a", 3), ("b", 2))}
    baselines = {
        "a": {
            "hot_spot": Baseline(0.1, 0.5, Tail(2.6, 0.8), Tail(1.0, 1.0), Side.HIGH, 250, 1.5),
            "centroid_x": Baseline(60.0, 0.3, Tail(3.1, 1.2), Tail(1.1, 1.0), Side.BOTH),
        },
        "meter": {"energy": Baseline(2.0, 0.02, Tail(2.6, 1.5), Tail(1.0, 1.5), Side.BOTH)},
    }
    return Bundle(ORIGIN, b"network", cameras, baselines)


def npy(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def npy_header(header: bytes) -> bytes:
    """The start of a file in NumPy's format, version 1.0, with this header and no data."""
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


def replace_member(folder: Path, name: str, content: bytes) -> None:
    """Exchange an array of the cameras' archive, with a checksum that is right."""
    with zipfile.ZipFile(folder / CAMERAS) as archive:
        members = {each: archive.read(each) for each in archive.namelist()}
    with zipfile.ZipFile(folder / CAMERAS, "w") as archive:
        for each, of_member in {**members, f"{name}.npy": content}.items():
            archive.writestr(each, of_member)


def test_a_bundle_comes_back_as_it_was(bundle: Bundle, tmp_path: Path) -> None:
    save_bundle(bundle, tmp_path)
    loaded = load_bundle(tmp_path)
    assert (loaded.origin, loaded.network, loaded.baselines) == (
        bundle.origin,
        bundle.network,
        bundle.baselines,
    )
    assert list(loaded.cameras) == ["a", "b"]
    for name, camera in bundle.cameras.items():
        assert (loaded.cameras[name].reference.image == camera.reference.image).all()
        assert loaded.cameras[name].reference.peak == camera.reference.peak
        assert (loaded.cameras[name].residuals.centre == camera.residuals.centre).all()
        assert (loaded.cameras[name].residuals.sigma == camera.residuals.sigma).all()
        images = np.array([image(), image()])
        np.testing.assert_allclose(
            loaded.cameras[name].patterns.rest(images),
            camera.patterns.rest(images),
            rtol=1e-5,
            atol=1e-5,
        )
        assert (loaded.cameras[name].patterns.left.sigma == camera.patterns.left.sigma).all()
        for part in ("pixels", "columns", "rows"):
            ours, read = (getattr(each.patterns.fine, part) for each in (camera, loaded.cameras[name]))
            assert (read.centre == ours.centre).all()
            assert (read.sigma == ours.sigma).all()


def test_a_bundle_of_before_independent_shots_were_counted_supports_least(
    bundle: Bundle, tmp_path: Path
) -> None:
    save_bundle(bundle, tmp_path)
    manifest = json.loads((tmp_path / MANIFEST).read_bytes())
    manifest["format"] = 3
    for features in manifest["baselines"].values():
        for baseline in features.values():
            del baseline["independent"], baseline["members"]
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    without_fine_structure(tmp_path)
    before = load_bundle(tmp_path).baselines["a"]["hot_spot"]
    assert (before.independent, before.members) == (1, None)


def without_fine_structure(folder: Path) -> None:
    """Remove the arrays that bundles before format 5 do not have."""
    with zipfile.ZipFile(folder / CAMERAS) as archive:
        kept = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(folder / CAMERAS, "w") as archive:
        for name, content in kept.items():
            if not name.startswith(("pixel_", "column_", "row_")):
                archive.writestr(name, content)


def test_a_bundle_of_before_format_5_keeps_its_thresholds_and_scores_no_fine_structure(
    bundle: Bundle, tmp_path: Path
) -> None:
    save_bundle(bundle, tmp_path)
    manifest = json.loads((tmp_path / MANIFEST).read_bytes()) | {"format": 4}
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    without_fine_structure(tmp_path)
    loaded = load_bundle(tmp_path)
    energy = loaded.baselines["meter"]["energy"]
    at = energy.centre + energy.sigma * 2.6 * 3 ** (1 / 1.5)
    assert energy.surprisals(np.array([at])) == pytest.approx(6.0, abs=0.01)
    images = RNG.random((5, 6, 8), np.float32)
    scores = measure_rest(images, np.ones(5), loaded.cameras["a"].patterns)
    for of in ("pixel", "column", "row"):
        assert scores[f"{of}_excess"] == pytest.approx(0, abs=1e-20)


@pytest.mark.parametrize("name", [MANIFEST, NETWORK, CAMERAS])
def test_a_bundle_with_a_file_missing_is_refused(name: str, bundle: Bundle, tmp_path: Path) -> None:
    save_bundle(bundle, tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(BundleError, match=name):
        load_bundle(tmp_path)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("format",), 6),
        (("origin", "facility"), None),
        (("surprisal",), 1),
        (("baselines", "a", "hot_spot", "sigma"), 0.0),
        (("baselines", "a", "hot_spot", "limit"), -1.0),
        (("baselines", "a", "hot_spot", "independent"), 0),
        (("baselines", "a", "hot_spot", "members"), 0.5),
        (("baselines", "a", "hot_spot", "side"), "left"),
        (
            ("baselines", "a", "mood"),
            {"centre": 0.0, "sigma": 1.0, "limit": 8.0, "shift_limit": 3.0, "side": "both"},
        ),
        (("cameras",), ["a"]),
    ],
)
def test_a_manifest_that_states_something_else_is_refused(
    where: tuple[str, ...], value: object, bundle: Bundle, tmp_path: Path
) -> None:
    save_bundle(bundle, tmp_path)
    manifest = json.loads((tmp_path / MANIFEST).read_bytes())
    part = manifest
    for step in where[:-1]:
        part = part[step]
    part[where[-1]] = value
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BundleError):
        load_bundle(tmp_path)


@pytest.mark.parametrize(
    ("array", "value"),
    [
        ("reference", np.zeros((2, 6, 9), np.float32)),
        ("residual_sigma", np.zeros((2, 6, 8), np.float32)),
        ("residual_centre", np.full((2, 6, 8), np.nan, np.float32)),
        ("residual_centre", np.zeros((2, 6, 8), np.float64)),
        ("peak", np.zeros(2)),
        ("peak", np.ones(3)),
    ],
)
def test_arrays_that_cannot_be_are_refused(
    array: str, value: np.ndarray, bundle: Bundle, tmp_path: Path
) -> None:
    save_bundle(bundle, tmp_path)
    with np.load(tmp_path / CAMERAS) as arrays:
        content = dict(arrays)
    np.savez(tmp_path / CAMERAS, **{**content, array: value})
    with pytest.raises(BundleError, match="cameras"):
        load_bundle(tmp_path)


@pytest.mark.parametrize(
    "peak",
    [np.array(["1", "2"]), np.array([1, 2]), np.zeros(2, [("a", "f8")]), np.zeros(2, "M8[s]")],
    ids=["strings", "integers", "structured", "dates"],
)
def test_an_array_of_another_type_is_refused(peak: np.ndarray, bundle: Bundle, tmp_path: Path) -> None:
    save_bundle(bundle, tmp_path)
    replace_member(tmp_path, "peak", npy(peak))
    with pytest.raises(BundleError, match=r"cameras\.npz: peak is not an array"):
        load_bundle(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no array at all",
        npy_header(b"(((("),
        npy_header(b"  0\n 0\n"),
        npy_header(b"{[]: 1}"),
        npy_header(b"{1: 1, '': 1}"),
        npy_header(b"{'descr': (), 'fortran_order': False, 'shape': (2,), }"),
        npy_header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (9" + 20 * b"9" + b",), }"),
        npy_header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n(((("),
        npy_header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 6, 8), }\n"),
    ],
    ids=[
        "empty",
        "no header",
        "tokens",
        "indentation",
        "unhashable key",
        "keys of two types",
        "no type",
        "overflow",
        "longer header",
        "no data",
    ],
)
def test_a_member_of_the_archive_that_is_no_array_is_refused(
    content: bytes, bundle: Bundle, tmp_path: Path
) -> None:
    save_bundle(bundle, tmp_path)
    replace_member(tmp_path, "reference", content)
    with pytest.raises(BundleError, match=r"cameras\.npz: "):
        load_bundle(tmp_path)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(("reference", "patterns", "pattern_spread", "peak")),
    st.lists(
        st.tuples(
            st.integers(0, 127), st.one_of(st.sampled_from(b"()[]{}',:-0129L \n"), st.integers(0, 255))
        ),
        min_size=1,
        max_size=6,
    ),
)
def test_an_array_with_a_damaged_header_is_loaded_or_refused(
    bundle: Bundle, tmp_path: Path, name: str, damage: list[tuple[int, int]]
) -> None:
    """The archive itself is whole: no checksum finds the damage before NumPy does."""
    save_bundle(bundle, tmp_path)
    with zipfile.ZipFile(tmp_path / CAMERAS) as archive:
        content = bytearray(archive.read(f"{name}.npy"))
    for place, byte in damage:
        content[place] = byte
    replace_member(tmp_path, name, bytes(content))
    with contextlib.suppress(BundleError):
        load_bundle(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 cut short"])
def test_a_damaged_archive_is_refused(content: bytes, bundle: Bundle, tmp_path: Path) -> None:
    save_bundle(bundle, tmp_path)
    (tmp_path / CAMERAS).write_bytes(content)
    with pytest.raises(BundleError, match="cameras"):
        load_bundle(tmp_path)


def test_an_archive_of_an_unknown_compression_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    save_bundle(bundle, tmp_path)
    content = bytearray((tmp_path / CAMERAS).read_bytes())
    content[content.index(b"PK\x01\x02") + 10] = 99  # the method of the first entry in the central directory
    (tmp_path / CAMERAS).write_bytes(content)
    with pytest.raises(BundleError, match="compression method"):
        load_bundle(tmp_path)


def test_an_archive_with_damaged_lzma_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    save_bundle(bundle, tmp_path)
    with zipfile.ZipFile(tmp_path / CAMERAS, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("reference.npy", bytes(1000))
    content = bytearray((tmp_path / CAMERAS).read_bytes())
    content[content.index(b".npy") + 8] = 255  # the properties of the compressed stream
    (tmp_path / CAMERAS).write_bytes(content)
    with pytest.raises(BundleError, match=r"cameras\.npz"):
        load_bundle(tmp_path)


def test_an_archive_that_unpacks_to_too_much_is_refused_unread(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_bundle(bundle, tmp_path)
    np.savez_compressed(tmp_path / CAMERAS, reference=np.zeros((100, 1000), np.float32))
    monkeypatch.setattr("shotwatch_detector.bundle.LARGEST_UNPACKED", 100_000)
    with pytest.raises(BundleError, match=r"cameras\.npz: 400128 bytes unpacked are more than 100000"):
        load_bundle(tmp_path)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from((MANIFEST, CAMERAS)),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=20),
)
def test_a_bundle_with_damaged_bytes_is_loaded_or_refused(
    bundle: Bundle, tmp_path: Path, file: str, damage: list[tuple[float, int]]
) -> None:
    """No damage brings another error than the one that inference expects."""
    save_bundle(bundle, tmp_path)
    content = bytearray((tmp_path / file).read_bytes())
    for place, byte in damage:
        content[int(place * (len(content) - 1))] = byte
    (tmp_path / file).write_bytes(content)
    with contextlib.suppress(BundleError):
        load_bundle(tmp_path)


@pytest.mark.parametrize("network", [b"", b"no network at all"])
def test_the_engine_refuses_what_is_no_network(network: bytes) -> None:
    with pytest.raises(ValueError, match=r"model"):
        LiteRtEngine(network)
