"""The most recent activity of every place of the facility."""

import asyncio
from time import monotonic

from pydantic import Field

from shotwatch_common.archive import Archive
from shotwatch_common.clock import epoch_now, latest_record_ms
from shotwatch_query.devices import period_ms
from shotwatch_query.schema import Instant, Where
from shotwatch_shots.facility import ExpectedDevices, Facility
from shotwatch_shots.pulses import WINDOW_MS, instant
from shotwatch_shots.shot import JudgedShot, ShotFilter

FRESH_S = 2.0
"""Time in seconds for which a result is reused, however many callers request it."""
SHOTS = 100
"""Number of newest shots of a place that are evaluated."""


class PlaceActivity(Where):
    """The newest shots of a place."""

    recorded_at: Instant = Field(description="Time of its newest record.")
    shot_at: Instant | None = Field(description="Time of its newest shot that was judged; null before it.")
    judged_at: Instant | None = Field(description="When that shot was judged.")
    shots_per_minute: float | None = Field(description="Over the shots below; null for fewer than two.")
    scores: list[float | None] = Field(
        description="Of up to a hundred newest shots, oldest first; null where no model scored one."
    )
    threshold: float | None = Field(description="A score above this is an anomaly; null without a model.")


class Overview:
    """A reader of the newest shots of each place; one read runs at a time."""

    def __init__(self, facility: Facility, archive: Archive) -> None:
        self._facility = facility
        self._archive = archive
        self._reading = asyncio.Lock()
        self._places: list[PlaceActivity] = []
        self._stale_at = 0.0

    async def read(self) -> list[PlaceActivity]:
        """Return the places that have recorded anything, in the facility file's order; up to FRESH_S old."""
        async with self._reading:
            if monotonic() >= self._stale_at:
                self._places = await self._read()
                self._stale_at = monotonic() + FRESH_S
            return self._places

    async def _read(self) -> list[PlaceActivity]:
        all_expected = self._facility.places
        groups = [group for expected in all_expected for group in expected.devices]
        seen = await self._archive.devices.last_states(groups, latest_record_ms(self._facility))
        newest = [
            max((seen[group].time for group in r.devices if group in seen), default=0) for r in all_expected
        ]
        return [await self._place(*each) for each in zip(all_expected, newest, strict=True) if each[1]]

    async def _place(self, expected: ExpectedDevices, newest: int) -> PlaceActivity:
        """Return the activity of a place; its shots may be a window behind its records.

        The newest record may be ahead of this clock, but one device whose clock is ahead hides no shot.
        """
        start = min(newest, epoch_now()) - 2 * WINDOW_MS - SHOTS * period_ms(self._facility, expected)
        wanted = ShotFilter(area=expected.place, interval=expected.interval)
        found = await self._archive.shots.page(wanted, start, newest + WINDOW_MS, SHOTS, True)
        shots = found[::-1]
        last = shots[-1] if shots else None
        return PlaceActivity(
            place=expected.place,
            interval=expected.interval,
            recorded_at=instant(newest),
            shot_at=last and instant(last.pulse),
            judged_at=last and instant(last.judged_at),
            shots_per_minute=_per_minute(shots),
            scores=[shot.verdict.score for shot in shots],
            threshold=last and last.verdict.threshold,
        )


def _per_minute(shots: list[JudgedShot]) -> float | None:
    if len(shots) < 2:
        return None
    return 60_000 * (len(shots) - 1) / float(shots[-1].pulse - shots[0].pulse)
