"""Datasets that repeat are read past HDF5, and always as HDF5 reads them."""

import io
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import h5py
import numpy as np
import pytest
from h5py import h5d
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from shotwatch_ingest.domain.hdf5.datasets import RepeatedDatasets, load_numbers, load_text
from shotwatch_ingest.domain.hdf5.image import ROOT, Hdf5Image, Unreadable

SHAPE = (6, 8)
ARRAYS = np.random.default_rng(3).integers(0, 200, (7, *SHAPE))
Write = Callable[[h5py.Group, int], None]


def hdf5(write: Write, count: int = len(ARRAYS), **options: Any) -> bytes:
    """Datasets named `data`, one in each group."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", **options) as file:
        for n in range(count):
            write(file.create_group(f"{n:03d}"), n)
    return buffer.getvalue()


def read(
    image: bytes, load: Callable[[h5d.DatasetID], NDArray[Any]]
) -> tuple[list[NDArray[Any] | None], int]:
    """What is read of each dataset (None where it is refused), and how many of them HDF5 had to open."""
    with Hdf5Image("test", image) as file:
        repeated = RepeatedDatasets(file, load)
        opened = []
        open_dataset = file.dataset
        file.dataset = lambda link: opened.append(link) or open_dataset(link)  # type: ignore[method-assign, func-returns-value]
        found: list[NDArray[Any] | None] = []
        for group in file.links(ROOT).values():
            try:
                found.append(repeated.read(file.links(group)[b"data"]))
            except Unreadable:
                found.append(None)
        return found, len(opened)


numbers = partial(load_numbers, shape=SHAPE, whole=False)

storages = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["u1", "u2", ">u2", "i4", ">i8", "f4", ">f8", "f2"]),
        "compression": st.sampled_from([None, "gzip"]),
        "shuffle": st.booleans(),
        "fletcher32": st.booleans(),
        "chunks": st.sampled_from([SHAPE, (3, 8), (6, 5), True]),
        "track_times": st.booleans(),
    }
) | st.fixed_dictionaries({"dtype": st.sampled_from(["u2", ">f8"]), "track_times": st.booleans()})


@given(storages, st.sampled_from([{}, {"libver": "latest"}, {"userblock_size": 512}]), st.booleans())
def test_however_datasets_are_stored_they_are_read_as_they_were_written(
    storage: dict[str, Any], options: dict[str, Any], attributes: bool
):
    def write(group: h5py.Group, n: int) -> None:
        dataset = group.create_dataset("data", data=ARRAYS[n].astype(storage["dtype"]), **storage)
        if attributes:
            dataset.attrs["gain"] = n

    found, _ = read(hdf5(write, **options), numbers)

    np.testing.assert_array_equal(found, ARRAYS)


@pytest.mark.parametrize(
    "storage",
    [
        {},
        {"track_times": True},
        {"chunks": SHAPE},
        {"chunks": SHAPE, "shuffle": True},
        {"chunks": SHAPE, "compression": "gzip"},
        {"chunks": SHAPE, "compression": "gzip", "shuffle": True, "track_times": True},
    ],
)
@pytest.mark.parametrize("dtype", ["u2", "f8", ">i4"])
def test_of_datasets_in_the_common_storage_hdf5_opens_the_first(storage: dict[str, Any], dtype: str):
    of_two_bytes = 251 * ARRAYS
    image = hdf5(lambda group, n: group.create_dataset("data", data=of_two_bytes[n].astype(dtype), **storage))

    found, opened = read(image, numbers)

    np.testing.assert_array_equal(found, of_two_bytes)
    assert opened == 1


def test_of_texts_of_one_length_hdf5_opens_the_first():
    found, opened = read(hdf5(lambda group, _: group.create_dataset("data", data=np.bytes_("ON"))), load_text)

    assert [text[0] for text in found if text is not None] == [b"ON"] * 7
    assert opened == 1


@given(st.lists(st.sampled_from(["u2", ">u2", "i2", "f4", "S2", "(2,)u2"]), min_size=2, max_size=7))
def test_datasets_that_differ_are_distinguished(dtypes: list[str]):
    def write(group: h5py.Group, n: int) -> None:
        group.create_dataset("data", SHAPE, dtypes[n])
        if not dtypes[n].startswith(("S", "(")):
            group["data"][...] = ARRAYS[n]

    found, _ = read(hdf5(write, len(dtypes)), numbers)

    for dtype, array, expected in zip(dtypes, found, ARRAYS, strict=False):
        if dtype.startswith(("S", "(")):
            assert array is None
        else:
            assert array is not None
            np.testing.assert_array_equal(array, expected)


def test_a_dataset_never_written_has_its_fill_value():
    def write(group: h5py.Group, n: int) -> None:
        dataset = group.create_dataset("data", SHAPE, "u2", chunks=SHAPE, fillvalue=9)
        if n != 3:
            dataset[...] = ARRAYS[n]

    found, _ = read(hdf5(write), numbers)

    np.testing.assert_array_equal(found[3], np.full(SHAPE, 9))
    np.testing.assert_array_equal(found[4], ARRAYS[4])


def test_a_chunk_that_skipped_a_filter_is_read_by_hdf5():
    def write(group: h5py.Group, n: int) -> None:
        dataset = group.create_dataset("data", SHAPE, "u2", chunks=SHAPE, compression="gzip")
        dataset[...] = ARRAYS[n]
        if n == 3:
            dataset.id.write_direct_chunk((0, 0), ARRAYS[n].astype("u2").tobytes(), filter_mask=1)

    found, opened = read(hdf5(write), numbers)

    np.testing.assert_array_equal(found, ARRAYS)
    assert opened == 2


@pytest.mark.parametrize("chunk", [b"not deflated", b"\x78\x9c\x03"])
def test_a_damaged_chunk_is_refused_like_hdf5_refuses_it(chunk: bytes):
    def write(group: h5py.Group, n: int) -> None:
        dataset = group.create_dataset("data", SHAPE, "u2", chunks=SHAPE, compression="gzip")
        dataset[...] = ARRAYS[n]
        if n == 3:
            dataset.id.write_direct_chunk((0, 0), chunk)

    found, _ = read(hdf5(write), numbers)

    assert [array is None for array in found] == [n == 3 for n in range(7)]


SHORT = ARRAYS[3].astype("u2").tobytes()[:-2]


@pytest.mark.parametrize(
    ("chunk", "filter_mask"),
    [(zlib.compress(SHORT), 0), (SHORT, 1), (zlib.compress(SHORT + bytes(4)), 0), (b"\0", 1)],
)
@pytest.mark.parametrize("spoiled", [0, 3])
@pytest.mark.parametrize("chunks", [SHAPE, (3, 8)])
@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_a_chunk_of_another_size_is_refused(
    chunk: bytes, filter_mask: int, spoiled: int, chunks: tuple[int, int], libver: str
):
    """HDF5 would leave the rest as the memory was, with data of earlier files in it."""

    def write(group: h5py.Group, n: int) -> None:
        dataset = group.create_dataset("data", data=ARRAYS[n].astype("u2"), chunks=chunks, compression="gzip")
        if n == spoiled:
            dataset.id.write_direct_chunk((0, 0), chunk, filter_mask)

    found, _ = read(hdf5(write, libver=libver), numbers)

    assert [array is None for array in found] == [n == spoiled for n in range(7)]


@pytest.mark.parametrize("chunk", [SHORT, b"\0"])
@pytest.mark.parametrize("spoiled", [0, 3])
@pytest.mark.parametrize("chunks", [SHAPE, (3, 8)])
def test_an_unfiltered_chunk_of_another_size_is_refused(chunk: bytes, spoiled: int, chunks: tuple[int, int]):
    """Only the earliest format stores a size of such chunks. The latest one always takes the full size."""

    def write(group: h5py.Group, n: int) -> None:
        dataset = group.create_dataset("data", data=ARRAYS[n].astype("u2"), chunks=chunks)
        if n == spoiled:
            dataset.id.write_direct_chunk((0, 0), chunk)

    found, _ = read(hdf5(write, libver="earliest"), numbers)

    assert [array is None for array in found] == [n == spoiled for n in range(7)]


def test_filters_that_may_yield_another_size_are_refused():
    def write(group: h5py.Group, n: int) -> None:
        group.create_dataset("data", data=ARRAYS[n], compression="lzf")

    assert read(hdf5(write), numbers) == ([None] * 7, 7)


def test_two_images_open_at_once_are_not_taken_for_each_other():
    first = hdf5(lambda group, _: group.create_dataset("data", data=1))
    second = hdf5(lambda group, _: group.create_dataset("other", data=1))

    with Hdf5Image("first", first), Hdf5Image("second", second) as file:
        group = file.links(ROOT)[b"000"]
        assert list(file.links(group)) == [b"other"]
