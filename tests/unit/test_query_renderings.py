"""Frames and spectra as pictures and files."""

import csv
import io
from datetime import UTC, datetime

import matplotlib
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from shotwatch_query.domain.colours import BLUE_WHITE_RED, INFERNO
from shotwatch_query.domain.columns import spreadsheet_cell
from shotwatch_query.domain.frames import colour_png, grey_png, pixels_csv, residual_png, spectrum_csv
from shotwatch_query.domain.plots import LEFT, RIGHT, WIDTH, Axis, spectrum_png
from shotwatch_query.routes.devices import RecordDocument, _row_csv
from shotwatch_shots.device_kinds import DeviceKind


def picture(png: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_inferno_is_the_one_of_matplotlib() -> None:
    theirs = matplotlib.colormaps["inferno"](np.linspace(0, 1, 256))[:, :3]
    assert np.abs(INFERNO / 255 - theirs).max() < 0.04


def test_a_frame_uses_the_whole_colour_map() -> None:
    frame = np.array([[100, 300], [200, 150]], np.uint16)
    drawn = picture(colour_png(frame))
    assert np.array_equal(drawn[0, 0], INFERNO[0])
    assert np.array_equal(drawn[0, 1], INFERNO[255])


def test_a_flat_frame_is_dark() -> None:
    assert np.array_equal(picture(colour_png(np.full((3, 3), 4092, np.uint16)))[1, 1], INFERNO[0])


def test_grey_keeps_sixteen_bits() -> None:
    frame = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(grey_png(frame)))), frame)


def test_the_polarity_of_a_residual_is_its_colour() -> None:
    drawn = picture(residual_png(np.array([[-2, 0, 1]], np.float32)))
    assert np.array_equal(drawn[0, 0], BLUE_WHITE_RED[0])
    assert drawn[0, 1].min() > 250
    assert drawn[0, 2, 0] > drawn[0, 2, 2]


@pytest.mark.parametrize("values", [[0.1, -1e-30, 3.4e38, 1 / 3], [16777217.0, 1e-7, 5.0, -0.0]])
def test_csv_gives_single_precision_back(values: list[float]) -> None:
    spectrum = np.array(values, np.float32)
    column = np.loadtxt(io.BytesIO(spectrum_csv(spectrum)), delimiter=",", skiprows=1, dtype=np.float32)
    assert np.array_equal(column[:, 1], spectrum)
    table = np.loadtxt(io.BytesIO(pixels_csv(spectrum.reshape(2, 2))), delimiter=",", dtype=np.float32)
    assert np.array_equal(table, spectrum.reshape(2, 2))


def test_the_peak_of_a_spectrum_is_drawn_where_it_is() -> None:
    spectrum = np.zeros(1001, np.float32)
    spectrum[750] = 1000
    drawn = picture(spectrum_png(spectrum, "", "counts")).astype(int)
    blue = drawn[60:300, :, 2] - drawn[60:300, :, 0] > 40
    (columns,) = np.nonzero(blue.any(axis=0))
    expected = LEFT + 0.75 * (WIDTH - LEFT - RIGHT)
    assert abs(columns.mean() - expected) < 2


@pytest.mark.parametrize(
    "spectrum",
    [np.full(10, np.nan), np.zeros(10), np.zeros(1), np.array([3e38, -3e38, np.inf]), np.full(5, -7.0)],
)
def test_any_spectrum_can_be_drawn(spectrum: NDArray[np.float64]) -> None:
    assert picture(spectrum_png(spectrum.astype(np.float32), "title", "counts")).shape == (400, 800, 3)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 2046, [0, 500, 1000, 1500, 2000]),
        (-0.1, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (3, 4, [3, 3.2, 3.4, 3.6, 3.8, 4]),
    ],
)
def test_ticks_are_round_numbers(low: float, high: float, ticks: list[float]) -> None:
    assert Axis(low, high, 0, 1).ticks == pytest.approx(ticks)


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("ON", "ON"),
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-cmd", "'-cmd"),
        ("@SUM(A1)", "'@SUM(A1)"),
        (" =1", "' =1"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("-1.5", "'-1.5"),
        ("\t=1", r"\t=1"),
        ("a\r\n=1", r"a\r\n=1"),
        ("\u202egnp", r"\u202egnp"),
        (-1.5, -1.5),
        (None, None),
    ],
)
def test_a_cell_is_no_formula_to_a_spreadsheet(value: object, cell: object) -> None:
    assert spreadsheet_cell(value) == cell


def test_a_row_holds_text_in_quotes_and_numbers_as_they_are() -> None:
    hostile = RecordDocument(
        shot="shot",
        device='=HYPERLINK("http://evil.example")',
        kind=DeviceKind.ENERGY_METER,
        time=datetime(2022, 7, 1, tzinfo=UTC),
        state="a;=1+1",
        readable=True,
        verdict="\t@SUM(A1)",
        block="block",
        row=0,
        values={"energy1": -1.5},
        unit="J",
        arrays={},
    )
    names, cells = csv.reader(_row_csv(hostile).splitlines())
    row = dict(zip(names, cells, strict=True))
    assert row["device"] == """'=HYPERLINK("http://evil.example")"""
    assert row["verdict"] == r"\t@SUM(A1)"
    assert '"a;=1+1"' in _row_csv(hostile), "in quotes, or it is two cells where the semicolon separates"
    assert row["energy1"] == "-1.5"


@pytest.mark.parametrize("title", ["a\nb", "\x1b[2J", "\u202egnp", ""])
def test_a_picture_may_have_any_title(title: str) -> None:
    assert picture(spectrum_png(np.ones(10, np.float32), title, title)).size
