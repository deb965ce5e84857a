"""Image files of any origin are read as what they show, or refused with the shape and the reason."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat

from shotwatch_simulator import image_reader
from shotwatch_simulator.image_reader import (
    ImageFile,
    SkippedFile,
    UnreadableImage,
    read_images,
    read_recorded,
)
from shotwatch_simulator.images import NotAnImage, frames_of, frames_of_matlab, luminance, saturation_level

pytestmark = pytest.mark.slow

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases" / "public" / "09-damaged-image-file"
GREY = np.arange(1, 7 * 9 + 1, dtype=np.uint8).reshape(7, 9)
WIDE = GREY.astype(np.uint16) * 500


def refusal(path: Path) -> str:
    with pytest.raises(UnreadableImage) as refused:
        read_images(path)
    assert str(refused.value).startswith(f"{path}: no image that can be read: ")
    assert "\n" not in str(refused.value)
    return refused.value.reason


# Arrays.


@pytest.mark.parametrize(
    "array", [GREY, GREY[..., None], GREY[None], WIDE, -WIDE.astype(np.int32), GREY / 7.0]
)
def test_an_array_of_one_image_gives_its_pixels(array: NDArray[Any]) -> None:
    [frame] = frames_of(array)
    assert frame.dtype == array.dtype
    np.testing.assert_array_equal(frame, array.reshape(7, 9))


def test_a_stack_gives_its_frames_in_order() -> None:
    stack = np.stack([WIDE, 2 * WIDE, WIDE, 3 * WIDE])
    np.testing.assert_array_equal(frames_of(stack), stack)
    np.testing.assert_array_equal(
        frames_of_matlab(np.moveaxis(stack, 0, -1)[:, :, [0, 1, 1, 2, 3]])[4], 3 * WIDE
    )


@pytest.mark.parametrize("channels", [3, 4])
def test_colours_become_the_luminance_that_pil_computes(channels: int) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (20, 30, channels)).astype(np.uint8)
    [frame] = frames_of(colours)
    pil = np.array(Image.fromarray(colours[..., :3]).convert("L")).astype(int)
    assert np.abs(frame - pil).max() <= 1
    np.testing.assert_allclose(frames_of(colours / 8.0)[0], pil / 8, atol=1 / 8)


@pytest.mark.parametrize("number", [np.uint8, np.uint16, np.uint32, np.int16, np.uint64])
def test_a_saturated_channel_saturates_its_luminance(number: type[np.integer[Any]]) -> None:
    limit = np.iinfo(number).max
    colours = np.full((4, 5, 3), 10, number)
    colours[2, 3, 2] = limit
    grey = luminance(colours)
    assert grey[2, 3] == limit
    assert (np.delete(grey.ravel(), 13) == 10).all()


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.arange(9.0), "9 float64 is neither"),
        (np.float64(3), "a single float64 is neither"),
        (np.ones((2, 3, 4, 5)), "2 x 3 x 4 x 5 float64 is neither"),
        (np.ones((30, 40, 2)), "30 x 40 x 2 float64 is neither"),
        (np.ones((1, 40)), "1 x 40 float64 is a line"),
        (np.ones((0, 40)), "0 x 40 float64 is empty"),
        (np.ones((5, 0, 40)), "5 x 0 x 40 float64 is empty"),
        (np.ones((30, 40), complex), "30 x 40 complex128 has neither integers nor real numbers"),
        (np.ones((30, 40), bool), "30 x 40 bool has neither"),
        (np.ones((30, 40), "S3"), "has neither"),
        (np.ones((30, 40), "u2,u2"), "has neither"),
        (np.full((30, 40), np.nan), "30 x 40 float64 has pixels that are no numbers"),
        (np.where(np.eye(30) > 0, np.inf, 1), "pixels that are no numbers"),
        (np.eye(30) * 1e300, "values from 0 to 1e\\+300"),
        (np.eye(30) * 1e-300, "values from 0 to 1e-300"),
        (
            np.broadcast_to(np.uint8(1), (1 << 16, 1 << 12)),
            "65536 x 4096 uint8 has more than 134,217,728 values",
        ),
    ],
)
def test_what_is_no_image_is_refused_with_its_shape(array: NDArray[Any], reason: str) -> None:
    with pytest.raises(NotAnImage, match=reason):
        frames_of(np.asarray(array))


@pytest.mark.parametrize("pages", [3, 4])
def test_a_matlab_array_that_can_be_colours_or_frames_is_refused(pages: int) -> None:
    with pytest.raises(NotAnImage, match=f"30 x 40 x {pages} float64 can be colours or frames"):
        frames_of_matlab(np.ones((30, 40, pages)))


@pytest.mark.parametrize(
    ("brightest", "number", "level"),
    [
        (255, np.uint8, 255),
        (254, np.uint8, np.inf),
        (255, np.uint16, 255),
        (1023, np.uint16, 1023),
        (4092, np.uint16, 4092),
        (4094, np.uint16, np.inf),
        (4095, np.float64, 4095),
        (65472, np.uint16, 65472),
        (65535, np.int32, 65535),
        (2**32 - 1, np.uint32, 2**32 - 1),
        (1.0, np.float32, np.inf),
    ],
)
def test_saturation_is_where_a_camera_can_give_no_more(brightest: float, number: Any, level: float) -> None:
    assert saturation_level(brightest, np.dtype(number)) == level


# Files.


def test_unsigned_pixels_of_32_bits_stay_unsigned(tmp_path: Path) -> None:
    bright = GREY.astype(np.uint32) << 26
    np.save(tmp_path / "a.npy", bright)
    write_tiff(tmp_path / "a.tif", bright)
    for name in ("a.npy", "a.tif"):
        [read] = read_images(tmp_path / name)
        assert read.max() == 63 << 26
        np.testing.assert_array_equal(read, bright)


def write_tiff(path: Path, pixels: NDArray[np.uint32]) -> None:
    """An uncompressed TIFF of one strip; PIL cannot write unsigned pixels of 32 bits."""
    height, width = pixels.shape
    tags = {256: width, 257: height, 258: 32, 259: 1, 262: 1, 277: 1, 278: height, 279: pixels.nbytes, 339: 1}
    start = 8 + 2 + 12 * (len(tags) + 1) + 4
    tags[273] = start
    entries = b"".join(
        np.array([tag, 4], "<u2").tobytes() + np.array([1, tags[tag]], "<u4").tobytes()
        for tag in sorted(tags)
    )
    header = b"II*\0" + np.uint32(8).tobytes() + np.uint16(len(tags)).tobytes() + entries + bytes(4)
    path.write_bytes(header + pixels.tobytes())


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA", "CMYK"])
def test_pages_with_several_channels_become_grey(tmp_path: Path, mode: str) -> None:
    Image.fromarray(GREY).convert(mode).save(tmp_path / "a.tif")
    [read] = read_images(tmp_path / "a.tif")
    assert np.abs(read.astype(int) - GREY).max() <= 1


def test_pages_of_one_bit_are_no_image(tmp_path: Path) -> None:
    Image.fromarray(GREY > 30).save(tmp_path / "a.png")
    assert refusal(tmp_path / "a.png") == "7 x 9 px of one bit are not an image"


def test_the_format_is_what_the_file_holds_and_one_of_those_known(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.bmp")
    assert "does not end in" in refusal(tmp_path / "a.bmp")
    assert refusal((tmp_path / "a.bmp").rename(tmp_path / "a.png")) == "it is not a PNG, PGM or TIFF file"
    Image.fromarray(GREY).save(tmp_path / "b.tif")
    [read] = read_images((tmp_path / "b.tif").rename(tmp_path / "b.png"))
    np.testing.assert_array_equal(read, GREY)


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[{}, 1], [2, 3]], object), allow_pickle=True)
    assert refusal(tmp_path / "a.npy") == "2 x 2 object has neither integers nor real numbers"


@pytest.mark.parametrize("format_", ["4", "5"])
def test_the_largest_matrix_of_a_matlab_file_is_its_image(tmp_path: Path, format_: str) -> None:
    held = {"small": np.eye(3), "picture": WIDE.astype(float), "axis": np.arange(500.0)[None]}
    savemat(tmp_path / "a.mat", held, format=format_)
    [read] = read_images(tmp_path / "a.mat")
    np.testing.assert_array_equal(read, WIDE)


def test_masks_and_complex_matrices_are_not_the_image(tmp_path: Path) -> None:
    held = {"camera": {"img": WIDE, "mask": np.ones((70, 90), bool)}, "fft": np.full((70, 90), 1 + 2j)}
    savemat(tmp_path / "a.mat", held, do_compression=True)
    [read] = read_images(tmp_path / "a.mat")
    np.testing.assert_array_equal(read, WIDE)
    savemat(tmp_path / "b.mat", {"fft": held["fft"], "axis": np.arange(5.0)})
    assert refusal(tmp_path / "b.mat") == (
        "it has no matrix of real numbers, but fft 70 x 90 complex128, axis 1 x 5 float64"
    )


def test_a_matlab_file_without_numbers_is_no_image(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"note": "nothing here", "empty": np.zeros((0, 0))})
    assert refusal(tmp_path / "a.mat") == "it has no matrix of real numbers, but empty 0 x 0 float64"


def test_matrices_of_the_same_size_are_listed_instead_of_guessed(tmp_path: Path) -> None:
    frames = np.empty((1, 2), object)
    frames[:] = [[WIDE, WIDE]]
    savemat(tmp_path / "a.mat", {"data": {"img": WIDE, "back": WIDE}, "frames": frames})
    reason = refusal(tmp_path / "a.mat")
    assert (
        reason == "data.img, data.back, frames{1}, frames{2} are of the same size, and each can be the image"
    )


@pytest.mark.parametrize("frames", [5, 10, 25])
def test_a_stack_with_its_frames_last_is_refused_with_its_shape(frames: int) -> None:
    """Taken for 102 frames, each would be 128 x 10 px."""
    with pytest.raises(NotAnImage, match=f"102 x 128 x {frames} uint16 would be frames of 128 x {frames} px"):
        frames_of(np.ones((102, 128, frames), np.uint16))


def test_a_stack_of_matlab_has_its_frames_along_the_third_dimension(tmp_path: Path) -> None:
    stack = np.dstack([n * WIDE for n in range(1, 6)])
    savemat(tmp_path / "a.mat", {"stack": stack, "xaxis": np.arange(128.0)[None]}, do_compression=True)
    np.testing.assert_array_equal(read_images(tmp_path / "a.mat"), np.moveaxis(stack, -1, 0))
    savemat(tmp_path / "b.mat", {"stack": stack[:, :, :3], "xaxis": np.arange(128.0)[None]})
    assert refusal(tmp_path / "b.mat").startswith("stack: 7 x 9 x 3 uint16 can be colours or frames")


def test_a_matrix_that_matlab_stored_in_fewer_bytes_has_its_own_type(tmp_path: Path) -> None:
    """A double of whole numbers is stored as uint8 or uint16, whichever is large enough."""
    for name, factor in (("faint", 1), ("bright", 900)):
        savemat(tmp_path / f"{name}.mat", {"img": GREY * float(factor)})
        assert read_images(tmp_path / f"{name}.mat")[0].dtype == np.float64


CLASSES = {"u": "uint16", "f": "double", "b": "logical"}


def save_v7_3(path: Path, change: Callable[[h5py.File], object] = len) -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in (
            ("data/img", WIDE),
            ("data/axis", np.arange(500.0)[None]),
            ("data/mask", WIDE > 9),
        ):
            file[name] = array.T
            file[name].attrs["MATLAB_class"] = np.bytes_(
                "logical" if array.dtype == bool else str(array.dtype)
            )
        change(file)
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(512))


def test_a_matlab_file_of_version_7_3_is_read(tmp_path: Path) -> None:
    save_v7_3(tmp_path / "a.mat")
    [read] = read_images(tmp_path / "a.mat")
    np.testing.assert_array_equal(read, WIDE)


def test_a_matlab_file_reads_no_other_file(tmp_path: Path) -> None:
    np.full((70, 90), 7, np.uint8).tofile(tmp_path / "secret")

    def refer(file: h5py.File) -> None:
        outside = [(str(tmp_path / "secret"), 0, 6300)]
        file.create_dataset("stolen", (90, 70), np.uint8, external=outside).attrs["MATLAB_class"] = np.bytes_(
            "uint8"
        )

    save_v7_3(tmp_path / "a.mat", refer)
    assert refusal(tmp_path / "a.mat") == "stolen refers to another file"


def test_absurd_dimensions_are_refused_before_anything_is_decoded(tmp_path: Path) -> None:
    header = np.lib.format.magic(1, 0) + (118).to_bytes(2, "little")
    text = "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000), }"
    (tmp_path / "a.npy").write_bytes(header + text.ljust(117).encode() + b"\n")
    Image.new("L", (20_000, 20_000)).save(tmp_path / "a.png", compress_level=1)
    save_v7_3(
        tmp_path / "a.mat",
        lambda file: file.create_dataset("huge", (1 << 20, 1 << 20), "f8", chunks=True).attrs.update(
            MATLAB_class=np.bytes_("double")
        ),
    )
    for name in ("a.npy", "a.png", "a.mat"):
        assert "more than 134,217,728" in refusal(tmp_path / name)


SAVED: dict[str, Callable[[Path], object]] = {
    "a.png": lambda path: Image.fromarray(WIDE).save(path),
    "a.pgm": lambda path: Image.fromarray(WIDE).save(path),
    "a.tif": lambda path: Image.fromarray(WIDE).save(path, compression="tiff_lzw"),
    "a.npy": lambda path: np.save(path, WIDE),
    "a.mat": lambda path: savemat(path, {"data": {"img": WIDE}}, do_compression=True),
    "b.mat": lambda path: savemat(path, {"img": WIDE.astype(float)}, format="4"),
    "c.mat": save_v7_3,
}


@pytest.mark.parametrize("name", SAVED)
def test_a_truncated_file_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    SAVED[name](path)
    whole = path.read_bytes()
    for size in (0, 10, len(whole) // 2):
        path.write_bytes(whole[:size])
        assert refusal(path)


@pytest.mark.fuzz
@pytest.mark.parametrize("name", SAVED)
@settings(max_examples=100)  # each starts a process if it is refused
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("damaged") / name
    SAVED[name](path)
    content = bytearray(path.read_bytes())
    places = st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255))
    for place, value in data.draw(st.lists(places, min_size=1, max_size=8)):
        content[place] = value
    path.write_bytes(content)
    try:
        images = read_images(path)
    except UnreadableImage:
        return
    assert all(np.isfinite(image).all() and image.ndim == 2 for image in images)


@pytest.mark.skipif(not CASES.exists(), reason="the shared cases are not beside the repository")
@pytest.mark.parametrize("path", sorted(CASES.glob("*.[mnt]*")), ids=lambda path: path.name)
def test_the_shared_damaged_files_are_refused(path: Path) -> None:
    if path.suffix != ".md":
        assert refusal(path)


# The process that decodes.


def decode_with(monkeypatch: pytest.MonkeyPatch, statements: str) -> None:
    """Replace the decoder by one that was changed."""
    run = (
        f"import os, signal, time; from shotwatch_simulator import image_decoder as d; {statements}; d.main()"
    )
    monkeypatch.setattr(image_reader, "_COMMAND", (sys.executable, "-P", "-c", run))
    monkeypatch.setattr(image_reader, "_DECODER", image_reader._Decoder())


@pytest.mark.parametrize(
    ("statements", "reason"),
    [
        ("d.decode = lambda path: os.kill(os.getpid(), signal.SIGSEGV)", "it crashes its reader, SIGSEGV"),
        ("d.decode = lambda path: os._exit(3)", "it crashes its reader, exit code 3"),
        ("d.SECONDS_PER_FILE = 1; d.decode = lambda path: time.sleep(100)", "it takes longer than 60 s"),
        ("d.decode = lambda path: bytearray(3 << 30)", "it needs more than 2 GiB of memory"),
        (
            "d.decode = lambda path: int('\\x1b[31m\\n' + 999 * 'x')",
            "it cannot be decoded, ValueError: invalid literal",
        ),
    ],
)
def test_a_file_that_takes_the_decoder_with_it_is_refused_and_the_next_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statements: str, reason: str
) -> None:
    np.save(tmp_path / "a.npy", GREY)
    with monkeypatch.context() as changed:
        decode_with(changed, statements)
        given = refusal(tmp_path / "a.npy")
        assert given.startswith(reason)
        assert given.isprintable()
        assert len(given) <= 300
        changed.setattr(
            image_reader, "_COMMAND", (sys.executable, "-P", "-m", "shotwatch_simulator.image_decoder")
        )
        np.testing.assert_array_equal(read_images(tmp_path / "a.npy")[0], GREY)


def test_the_decoder_gets_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOTWATCH_API_KEY", "secret")
    np.save(tmp_path / "a.npy", GREY)
    decode_with(monkeypatch, "d.decode = lambda path: {}[' '.join(os.environ)]")
    assert "HDF5_PLUGIN_PRELOAD" in refusal(tmp_path / "a.npy")
    assert "SHOTWATCH" not in refusal(tmp_path / "a.npy")


def test_what_a_library_prints_does_not_disturb_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "a.npy", GREY)
    decode_with(monkeypatch, "decode = d.decode; d.decode = lambda path: print('noise') or decode(path)")
    np.testing.assert_array_equal(read_images(tmp_path / "a.npy")[0], GREY)


# Folders.


def test_a_folder_gives_its_images_and_explains_why_others_are_skipped(tmp_path: Path) -> None:
    for n in (10, 9):
        np.save(tmp_path / f"frame-{n}.npy", n * GREY[:, :3].astype(float)[..., None])
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "linked.npy").symlink_to(tmp_path / "frame-9.npy")
    (tmp_path / "\x1b[31m.png").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.npy")

    found = list(read_recorded([tmp_path]))

    read = [file.path.name for file in found if isinstance(file, ImageFile)]
    assert read == ["frame-9.npy", "frame-10.npy", "linked.npy"]
    skipped = {file.name: file.reason for file in found if isinstance(file, SkippedFile)}
    no_file = dict.fromkeys(("folder.png", "gone.png", "loop.png", "pipe.npy"), "it is not a file")
    by_name = "its name does not end in .png, .pgm, .tif, .tiff, .npy, .mat"
    assert skipped == no_file | {"notes.txt": by_name, "\\x1b[31m.png": "it is not a PNG, PGM or TIFF file"}


@pytest.mark.parametrize("asked", ["iterdir", "is_file"])
def test_what_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    def denied(path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, asked, denied)
    path = tmp_path if asked == "iterdir" else tmp_path / "a.png"
    with pytest.raises(UnreadableImage, match="Permission denied"):
        list(read_recorded([path]))


def test_a_named_file_is_not_skipped(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(UnreadableImage, match=r"a\.png"):
        list(read_recorded([tmp_path / "a.png"]))
