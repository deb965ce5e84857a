"""Compare two versions of the model on stored shots: `python -m shotwatch_inference.compare`.

Write the steps and the result as JSON lines to standard output. Exit status: 0 compared, 1 comparison
impossible, 2 wrong arguments or settings, 3 a server cannot be reached.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import TextIO

from shotwatch_common.archive import TRANSIENT, Archive
from shotwatch_common.archive.promotions import Promotions
from shotwatch_common.clock import latest_record_ms
from shotwatch_common.command_line import (
    exit_status,
    own_output,
    read_list,
    read_time,
    report,
)
from shotwatch_common.facility_file import load_facility
from shotwatch_common.promoted import download_pinned
from shotwatch_common.registry import ModelRegistry
from shotwatch_common.store import ObjectStore
from shotwatch_inference.models import Model, prepared
from shotwatch_inference.replay import Progress, Replay
from shotwatch_inference.settings import InferenceSettings
from shotwatch_shots.durations import HOUR_MS
from shotwatch_shots.event import ModelRef
from shotwatch_shots.pulses import epoch_ms


class CannotCompare(ValueError):
    """An error that prevents the comparison; the message gives the reason."""


def main(arguments: Sequence[str], output: TextIO) -> int:
    """Compare two versions as the command line requests, and return the exit status."""
    asked, progress = _parse(arguments), partial(report, to=output)
    return exit_status(lambda: asyncio.run(_run(asked, progress)), CannotCompare, away=TRANSIENT, to=output)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="shotwatch_inference.compare", description="Two versions of the model on stored shots."
    )
    parser.add_argument("versions", nargs=2, metavar="VERSION")
    parser.add_argument("--from", dest="start", type=read_time, help="default: an hour before the end")
    parser.add_argument("--to", dest="end", type=read_time, help="default: the end of the data")
    parser.add_argument("--places", default=(), type=read_list, help="such as LA-A1-11,LA-A2-00; default all")
    parser.add_argument(
        "--unpinned", action="store_true", help="also versions of which no promotion pinned the files"
    )
    return parser.parse_args(arguments)


async def _run(asked: argparse.Namespace, progress: Progress) -> None:
    settings = InferenceSettings.load()
    async with (
        ObjectStore.of(settings) as store,
        Archive.of(settings) as archive,
        ModelRegistry.of(settings) as registry,
    ):
        progress("loading")
        one, other = [
            await _fetch(registry, archive.promotions, version, asked.unpinned) for version in asked.versions
        ]
        facility = load_facility(settings.facility)
        start, end = await _span(asked, archive, latest_record_ms(facility))
        all_expected = [
            expected
            for expected in facility.places
            if not asked.places or str(expected.place) in asked.places
        ]
        replay = Replay(archive, store, facility, settings.false_alarms_per_hour)
        comparison = await replay.compare((one, other), all_expected, start, end, progress)
    if not comparison.shots:
        raise CannotCompare(f"no shot of that time can be replayed; frames of {comparison.expired} expired")
    progress("compared", start=start, end=end, **asdict(comparison))


async def _fetch(registry: ModelRegistry, promotions: Promotions, version: str, unpinned: bool) -> Model:
    """Download the bundle of any version and prepare it for scoring.

    Args:
        registry: the registry that has the version.
        promotions: the promotions that pin the digest of the bundle.
        version: the version.
        unpinned: whether to accept a version whose digest is not pinned by any promotion.

    Raises:
        CannotCompare: the version cannot be loaded; the message gives the reason.
        Retry: the registry does not answer.
    """
    found = await registry.find(version)
    if found is None:
        raise CannotCompare(f"version {version} cannot be loaded: {registry.name} has no version {version}")
    try:
        detector = await prepared(download_pinned(registry, promotions, found, unpinned))
    except ValueError as error:
        raise CannotCompare(f"version {version} cannot be loaded: {error}") from error
    return Model(ModelRef(name=registry.name, version=found.version, run_id=found.run_id), "", detector)


async def _span(asked: argparse.Namespace, archive: Archive, latest_ms: int) -> tuple[int, int]:
    """Return start and end of the comparison, in epoch ms.

    Raises:
        CannotCompare: nothing was recorded yet, or the start is not before the end.
    """
    newest = await archive.devices.newest(latest_ms)
    if newest is None:
        raise CannotCompare("nothing has been recorded yet")
    end = epoch_ms(asked.end) if asked.end else newest + 1
    start = epoch_ms(asked.start) if asked.start else end - HOUR_MS
    if start >= end:
        raise CannotCompare("--from is not before --to")
    return start, end


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], own_output()))
