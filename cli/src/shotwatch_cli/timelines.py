"""A picture of devices over time: a bar each, in the colours of its states, white where unknown."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import cycle

from PIL import Image, ImageDraw, ImageFont

from shotwatch_cli.answers import Answer
from shotwatch_common.printable import printable
from shotwatch_shots.facility import StatePolicy

_WIDTH, _LABELS, _MARGIN = 1200, 240, 20
_ROW, _BAR, _HEAD, _FOOT = 18, 12, 40, 40
_TICKS = 6
_INK, _FRAME = "#222222", "#cccccc"
_WORKS, _NO_STATE = "#2e8b57", "#888888"
_BROKEN = ("#c0392b", "#7b1e14")
_OTHERS = ("#e6a700", "#1f4e9c", "#8e44ad", "#16a2b8", "#8b5a2b", "#e377c2")


def draw_timelines(reports: Sequence[Answer], policy: StatePolicy) -> Image.Image:
    """Draw a bar for each device over the span of the reports, of which there is at least one.

    Args:
        reports: of one span of time.
        policy: the states in which devices work, and those in which they are broken.
    """
    start, end = (datetime.fromisoformat(reports[0][edge]) for edge in ("start", "end"))
    canvas = Image.new("RGB", (_WIDTH, _HEAD + _ROW * len(reports) + _FOOT), "white")
    draw, colours = ImageDraw.Draw(canvas), _colours(reports, policy)
    _draw_legend(draw, colours)
    for row, report in enumerate(reports):
        top = _HEAD + row * _ROW
        _write(draw, _LABELS - 8, top + _ROW / 2, report["device"], "rm")
        draw.rectangle([_LABELS, top + 3, _WIDTH - _MARGIN, top + 3 + _BAR], outline=_FRAME)
        for segment in report["segments"]:
            left, right = (_place(segment[edge], start, end) for edge in ("start", "end"))
            draw.rectangle([left, top + 3, max(right, left + 1), top + 3 + _BAR], colours[segment["state"]])
    _draw_times(draw, start, end, _HEAD + _ROW * len(reports))
    return canvas


def _colours(reports: Sequence[Answer], policy: StatePolicy) -> dict[str | None, str]:
    """Return a colour for each state: green where devices work, red where they are broken."""
    found = {each["state"] for report in reports for each in report["segments"]}
    others = sorted(found - {policy.on, None, *policy.broken})
    colours: dict[str | None, str] = {policy.on: _WORKS}
    colours |= dict(zip(others, cycle(_OTHERS), strict=False))
    colours |= dict(zip(policy.broken, cycle(_BROKEN), strict=False))
    return {state: colour for state, colour in {**colours, None: _NO_STATE}.items() if state in found}


def _draw_legend(draw: ImageDraw.ImageDraw, colours: Mapping[str | None, str]) -> None:
    left = float(_LABELS)
    for state, colour in colours.items():
        draw.rectangle([left, 12, left + _BAR, 12 + _BAR], colour)
        name = printable(state or "no state")
        _write(draw, left + _BAR + 6, 12 + _BAR / 2, name, "lm")
        left += _BAR + 24 + draw.textlength(name, _font())


def _draw_times(draw: ImageDraw.ImageDraw, start: datetime, end: datetime, top: float) -> None:
    for n in range(_TICKS + 1):
        time = start + (end - start) * n / _TICKS
        text = f"{time:%m-%d %H:%M}" if end - start >= timedelta(hours=1) else f"{time:%H:%M:%S}"
        left = _place(time.isoformat(), start, end)
        draw.line([left, top, left, top + 5], _INK)
        _write(draw, left, top + 8, text, {0: "lt", _TICKS: "rt"}.get(n, "mt"))


def _place(time: str, start: datetime, end: datetime) -> float:
    """Return the position of a time, in px from the left."""
    share = (datetime.fromisoformat(time) - start) / (end - start)
    return _LABELS + min(max(share, 0), 1) * (_WIDTH - _MARGIN - _LABELS)


def _write(draw: ImageDraw.ImageDraw, x: float, y: float, text: str, anchor: str) -> None:
    draw.text((x, y), printable(text), _INK, _font(), anchor)


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(12)
