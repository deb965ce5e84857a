"""Manage training sets: `python -m shotwatch_training.datasets`.

Steps and results are written as JSON lines to standard output.

Exit status: 0 done, 1 impossible, 2 wrong arguments or settings, 3 a server cannot be reached.
"""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import TextIO

from shotwatch_common.archive import TRANSIENT, Archive
from shotwatch_common.command_line import (
    exit_status,
    own_output,
    read_list,
    read_time,
    report,
)
from shotwatch_common.facility_file import load_facility
from shotwatch_common.store import ObjectStore
from shotwatch_shots.pulses import epoch_ms
from shotwatch_shots.vocabulary import AnomalyKind
from shotwatch_training.datasets.checking import check
from shotwatch_training.datasets.choosing import DatasetSources
from shotwatch_training.datasets.making import make_set
from shotwatch_training.datasets.store import DatasetError, DatasetStore
from shotwatch_training.domain.manifest import DatasetManifest, ShotQuery
from shotwatch_training.progress import Progress
from shotwatch_training.settings import TrainingSettings


@dataclass(frozen=True, slots=True)
class _Context:
    sources: DatasetSources
    sets: DatasetStore
    progress: Progress


def main(arguments: Sequence[str], output: TextIO) -> int:
    """Execute the command line, and return the exit status."""
    asked, progress = parse(arguments), partial(report, to=output)
    return exit_status(lambda: asyncio.run(_run(asked, progress)), DatasetError, away=TRANSIENT, to=output)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the parsed command line, with its function in `work`; exit with a message if it is wrong."""
    parser = argparse.ArgumentParser(prog="shotwatch_training.datasets", description="Training sets.")
    commands = parser.add_subparsers(required=True)
    make = _command(commands, "make", _make)
    make.add_argument("--from", dest="start", type=read_time, help="ISO 8601, UTC unless it has an offset")
    make.add_argument("--to", dest="end", type=read_time)
    make.add_argument("--places", default=(), type=read_list, help="such as LA-A1-11,LA-A2-00; default all")
    make.add_argument("--incomplete", action="store_true", help="also shots that lack a kind of device")
    make.add_argument("--include", default=(), type=_kinds, help="only shots with such anomalies")
    make.add_argument("--exclude", default=(), type=_kinds, help="no shots with such anomalies")
    make.add_argument("--most", type=int, help="at most so many shots")
    _command(commands, "list", _list, named=False)
    _command(commands, "show", _show)
    _command(commands, "check", _check)
    return parser.parse_args(arguments)


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    work: Callable[[_Context, argparse.Namespace], Awaitable[None]],
    named: bool = True,
) -> argparse.ArgumentParser:
    command = commands.add_parser(name)
    command.set_defaults(work=work)
    if named:
        command.add_argument("name")
    return command


def _kinds(text: str) -> tuple[AnomalyKind, ...]:
    return tuple(map(AnomalyKind, read_list(text)))


async def _run(asked: argparse.Namespace, progress: Progress) -> None:
    async with _context(progress) as context:
        await asked.work(context, asked)


@asynccontextmanager
async def _context(progress: Progress) -> AsyncIterator[_Context]:
    settings = TrainingSettings.load()
    facility = load_facility(settings.facility)
    async with ObjectStore.of(settings) as store, Archive.of(settings) as archive:
        yield _Context(
            DatasetSources(archive, store, facility),
            DatasetStore(store, settings.dataset_bucket),
            progress,
        )


async def _make(context: _Context, asked: argparse.Namespace) -> None:
    query = ShotQuery(
        places=asked.places,
        start=asked.start and epoch_ms(asked.start),
        end=asked.end and epoch_ms(asked.end),
        incomplete=asked.incomplete,
        include=asked.include,
        exclude=asked.exclude,
        most=asked.most,
    )
    manifest = await make_set(asked.name, query, context.sources, context.sets, context.progress)
    context.progress("made", **_summary(manifest))


async def _list(context: _Context, _: argparse.Namespace) -> None:
    for name in await context.sets.names():
        context.progress("set", **_summary(await context.sets.find(name)))


async def _show(context: _Context, asked: argparse.Namespace) -> None:
    context.progress("set", **(await context.sets.find(asked.name)).model_dump(mode="json"))


async def _check(context: _Context, asked: argparse.Namespace) -> None:
    manifest = await context.sets.find(asked.name)
    checked = await check(manifest, context.sets, context.sources.archive, context.progress)
    context.progress("checked", **asdict(checked), good=checked.good)


def _summary(manifest: DatasetManifest) -> dict[str, object]:
    """Return the manifest without its long lists."""
    reported = manifest.model_dump(mode="json", exclude={"groups", "raw_objects", "shards"})
    return {**reported, "shards": len(manifest.shards), "bytes": sum(shard.size for shard in manifest.shards)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], own_output()))
