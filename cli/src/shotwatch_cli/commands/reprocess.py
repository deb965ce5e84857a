"""`shotwatch reprocess`: compute recorded data again, with the current model and facility file."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import typer

from shotwatch_cli.deployment import ROOT, Deployment, NameOption, RootOption, find_deployment
from shotwatch_cli.failures import Failure, Misuse
from shotwatch_cli.options import FromOption, JsonOption, ToOption
from shotwatch_cli.output import counting, report
from shotwatch_common.archive import Archive
from shotwatch_common.facility_file import load_facility
from shotwatch_common.store import ObjectStore
from shotwatch_operations.reprocessing import (
    FROM_FILES,
    FROM_SHOTS,
    Reprocessing,
    ReprocessingRequest,
    ReprocessingStopped,
)
from shotwatch_shots.pulses import epoch_ms

_STAGES = (*FROM_FILES, *FROM_SHOTS)


def reprocess(
    stage: Annotated[str, typer.Option("--stage", help=f"Where to begin: {', '.join(_STAGES)}.")],
    start: FromOption = None,
    end: ToOption = None,
    rate: Annotated[float, typer.Option("--rate", min=0.1, help="Maximum number of files a minute.")] = 30.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count the files and shots.")] = False,
    name: NameOption = None,
    root: RootOption = ROOT,
    json: JsonOption = False,
) -> None:
    """Compute again what was recorded from --from to --to (times of pulses), beside live traffic.

    After a change of the facility file, begin at `ingest` (or `validate`): the raw files are read again.
    After a change of the model, begin at `inference` (or `aggregate`, `features`): the shots are measured and
    judged again. Every shot gets its next revision, events that are no longer true are superseded, and
    results that only the earlier revision had are removed. If it is stopped, run it again with the same
    options to continue.

    \b
    Examples:
      shotwatch reprocess --from 2022-07-01 --to 2022-07-02 --stage inference
      shotwatch reprocess --from 2022-07-01T07:30 --to 2022-07-01T08:00 --stage ingest --rate 10 --dry-run
    """
    if stage not in _STAGES:
        raise Misuse(f"nothing can be computed again from {stage}", f"the stages are {', '.join(_STAGES)}")
    if start is None or end is None or start >= end:
        raise Misuse("the span of time is missing or empty", "give --from TIME --to TIME")
    order = ReprocessingRequest(stage, epoch_ms(start), epoch_ms(end), rate)
    minutes, files, windows = asyncio.run(_reprocess(find_deployment(root, name), order, dry_run))
    record = {"stage": stage, "minutes": minutes, "files": files, "windows": windows, "dry_run": dry_run}
    verb = "would be" if dry_run else "were"
    report(json, record, f"{windows} windows of {minutes} minutes, from {files} files, {verb} computed again")


async def _reprocess(
    deployment: Deployment, order: ReprocessingRequest, dry_run: bool
) -> tuple[int, int, int]:
    async with _reprocessing(deployment, order) as work:
        minutes = [minute async for minute in work.minutes()]
        files = sum(len(minute.files) for minute in minutes)
        if not dry_run:
            with counting() as progress:
                bar = progress.add_task("files computed again", total=files)
                await work.run(lambda minute: progress.advance(bar, len(minute.files)))
    return len(minutes), files, sum(len(minute.windows) for minute in minutes)


@asynccontextmanager
async def _reprocessing(deployment: Deployment, order: ReprocessingRequest) -> AsyncIterator[Reprocessing]:
    settings = deployment.settings
    facility = load_facility(settings.facility)
    async with ObjectStore.of(settings) as store, Archive.of(settings) as archive:
        try:
            yield Reprocessing(archive, store, facility, settings, order)
        except ReprocessingStopped as error:
            advice = (
                "`shotwatch status` and `shotwatch dead list` show why; mend it and ask for the same again"
            )
            raise Failure(str(error), advice) from error
