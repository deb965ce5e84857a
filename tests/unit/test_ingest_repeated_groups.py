"""Groups that repeat are listed past HDF5, and always as HDF5 lists them."""

import io
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import pytest
from h5py import h5g, h5o
from hypothesis import given
from hypothesis import strategies as st

from shotwatch_ingest.domain.hdf5.image import ROOT, Hdf5Image, Link, Unreadable
from shotwatch_ingest.domain.hdf5.structures import RepeatedGroups
from shotwatch_shots.errors import Reject

Write = Callable[[h5py.Group, int], None]
COUNT = 7
NAMES = ["STATE", "image", "energy", "a", "quality"]


def hdf5(write: Write, count: int = COUNT, **options: Any) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", **options) as file:
        for n in range(count):
            write(file.create_group(f"{n:03d}"), n)
    return buffer.getvalue()


def listed(image: bytes, list_links: Callable[[Link], dict[bytes, Link]]) -> list[list[Link] | str]:
    """The links of each group in order, or why it is refused."""
    found: list[list[Link] | str] = []
    with Hdf5Image("test", image) as file:
        groups = file.links(ROOT).values()
    for group in groups:
        try:
            found.append(list(list_links(group).values()))
        except Unreadable as error:
            found.append(error.detail)
    return found


def by_hdf5(image: bytes) -> list[list[Link] | str]:
    with Hdf5Image("test", image) as file:
        return listed(image, file.links)


def repeated(image: bytes) -> tuple[list[list[Link] | str], int]:
    """What is listed, and how many groups HDF5 had to list."""
    with Hdf5Image("test", image) as file:
        asked: list[Link] = []
        list_links = file.links
        file.links = lambda group: asked.append(group) or list_links(group)  # type: ignore[method-assign, func-returns-value]
        return listed(image, RepeatedGroups(file).links), len(asked)


def fill(group: h5py.Group, names: list[str]) -> None:
    for name in names:
        group[name] = 1


def test_the_objects_are_those_that_hdf5_opens_by_their_names():
    image = hdf5(lambda group, _: fill(group, NAMES))

    found, asked = repeated(image)

    with h5py.File(io.BytesIO(image)) as file:
        addresses = [
            {name.encode(): h5o.get_info(group[name].id).addr for name in group} for group in file.values()
        ]
    assert [{link.name: link.address for link in links} for links in found] == addresses
    assert asked == 1


@pytest.mark.parametrize("count", [0, 1, 8, 9, 90])
def test_of_groups_with_the_same_names_hdf5_lists_the_first(count: int):
    """More than eight names take several symbol table nodes."""
    image = hdf5(lambda group, _: fill(group, [f"LA_A1_11-Camera_{n}-Camera-{n}" for n in range(count)]))

    found, asked = repeated(image)

    assert found == by_hdf5(image)
    assert [len(links) for links in found] == [count] * COUNT
    assert asked == 1


def test_several_kinds_of_groups_take_a_template_each():
    image = hdf5(lambda group, n: fill(group, NAMES[: 1 + n % 3]), 30)

    found, asked = repeated(image)

    assert found == by_hdf5(image)
    assert asked == 3


def test_groups_of_more_kinds_than_templates_are_listed_by_hdf5():
    image = hdf5(lambda group, n: fill(group, [f"x{n}"]), 40)

    assert repeated(image) == (by_hdf5(image), 40)


contents = st.lists(
    st.fixed_dictionaries(
        {
            "names": st.permutations(NAMES).flatmap(lambda names: st.sampled_from([names, names[:2], []])),
            "soft": st.sampled_from([False, False, True]),
            "attributes": st.booleans(),
            "removed": st.booleans(),
            "accent": st.sampled_from([False, False, False, True]),
            "compound": st.booleans(),
        }
    ),
    min_size=2,
    max_size=COUNT,
)


@given(
    contents, st.sampled_from([{}, {}, {"libver": "latest"}, {"userblock_size": 512}, {"track_order": True}])
)
def test_whatever_groups_hold_they_are_listed_as_by_hdf5(
    groups: list[dict[str, Any]], options: dict[str, Any]
):
    def write(group: h5py.Group, n: int) -> None:
        made = groups[n]
        fill(group, made["names"])
        if made["soft"]:
            group["b"] = h5py.SoftLink("/000")
            group["c"] = h5py.ExternalLink("x.h5", "/x")
        if made["attributes"]:
            group.attrs["gain"] = n
        if made["removed"] and made["names"]:
            del group[made["names"][0]]
        if made["accent"]:
            group["é"] = 1
        if made["compound"]:
            group.create_group("inner")["x"] = n

    image = hdf5(write, len(groups), **options)

    assert repeated(image)[0] == by_hdf5(image)


def structure_of(image: bytes, n: int) -> list[int]:
    """The addresses of all bytes between a group and the next: its header, tree, names and nodes."""
    with h5py.File(io.BytesIO(image)) as file:
        groups = [h5o.get_info(h5g.open(file.id, f"{each:03d}".encode())).addr for each in (n, n + 1)]
    return list(range(*groups))


def test_damage_to_any_byte_of_a_group_is_seen_as_by_hdf5():
    image = hdf5(lambda group, _: fill(group, NAMES[:2]), 4)
    random = np.random.default_rng(8)
    seen = set()
    for place in random.permutation(structure_of(image, 2))[:400]:
        damaged = bytearray(image)
        damaged[place] = random.choice([0, 1, 0xFF, image[place] ^ 0x20])

        expected = by_hdf5(bytes(damaged))

        assert repeated(bytes(damaged))[0] == expected, place
        seen.add(type(expected[2]))
    assert seen == {list, str}


def test_names_of_repeated_groups_count(monkeypatch: pytest.MonkeyPatch):
    image = hdf5(lambda group, _: fill(group, NAMES))
    monkeypatch.setattr("shotwatch_ingest.domain.hdf5.image.MAX_NAMES", COUNT * len(NAMES))
    assert repeated(image)[1] == 1
    monkeypatch.setattr("shotwatch_ingest.domain.hdf5.image.MAX_NAMES", COUNT * len(NAMES) - 1)

    with pytest.raises(Reject, match="has over 34 names"):
        repeated(image)
