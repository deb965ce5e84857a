"""`shotwatch upload`: put snapshot files into the inbox of the running system."""

import asyncio
from pathlib import Path
from time import monotonic
from typing import Annotated

import typer
from rich.progress import Progress

from shotwatch_cli.deployment import ROOT, Deployment, NameOption, RootOption, find_deployment
from shotwatch_cli.options import JsonOption
from shotwatch_cli.output import megabytes, report, transferring
from shotwatch_cli.uploads import Upload, planned_uploads, upload_all
from shotwatch_common.store import ObjectStore


def upload(
    paths: Annotated[list[Path], typer.Argument(exists=True, help="Files, or folders of .h5 files.")],
    name: NameOption = None,
    root: RootOption = ROOT,
    json: JsonOption = False,
) -> None:
    """Put files into the inbox bucket, several at once.

    The key of a file in a folder is its path below the folder; the key of a file given directly is its name.

    \b
    Examples:
      shotwatch upload snapshots
      shotwatch upload LA_Camera_100ms_snapshot_2022-07-01_07-33-00.h5
    """
    uploads = planned_uploads(paths)
    deployment = find_deployment(root, name)
    began = monotonic()
    with transferring() as progress:
        asyncio.run(_upload(deployment, uploads, progress))
    size, seconds = sum(upload.size for upload in uploads), monotonic() - began
    speed = f"{megabytes(size)} in {seconds:.1f} s: {megabytes(size / seconds)}/s"
    report(
        json,
        {"files": len(uploads), "bytes": size, "seconds": seconds},
        f"{len(uploads)} files, {speed}",
    )


async def _upload(deployment: Deployment, uploads: list[Upload], progress: Progress) -> None:
    settings = deployment.settings
    task = progress.add_task("uploading", total=sum(upload.size for upload in uploads))
    async with ObjectStore.of(settings) as store:
        await upload_all(
            store, settings.inbox_bucket, uploads, lambda upload: progress.advance(task, upload.size)
        )
