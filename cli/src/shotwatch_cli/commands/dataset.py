"""`shotwatch dataset`: training sets, made of recorded shots and kept in the object store."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Annotated

import typer

from shotwatch_cli.answers import Answer
from shotwatch_cli.deployment import ROOT, Deployment, NameOption, RootOption, find_deployment
from shotwatch_cli.failures import Misuse
from shotwatch_cli.options import FromOption, JsonOption, ToOption
from shotwatch_cli.output import counting, megabytes, moment, print_json, report, stdout, styled, table
from shotwatch_cli.places import named_places
from shotwatch_cli.steps import Step, run_steps
from shotwatch_common.facility_file import load_facility
from shotwatch_shots.vocabulary import AnomalyKind

dataset = typer.Typer(no_args_is_help=True, help="Training sets, made of recorded shots.")

_MODULE = "shotwatch_training.datasets"
_COLUMNS = ("set", "made", "shots#", "examples#", "cameras#", "size#", "places")

SetArgument = Annotated[str, typer.Argument(metavar="SET", help="Name of the set.")]


@dataset.command("make")
def make(
    title: Annotated[
        str, typer.Argument(metavar="SET", help="Name of the set: small letters, digits and . _ -")
    ],
    start: FromOption = None,
    end: ToOption = None,
    places: Annotated[
        list[str] | None,
        typer.Option("--places", help="Such as LA-A1-11; may be repeated. Default: all places."),
    ] = None,
    incomplete: Annotated[
        bool, typer.Option("--incomplete", help="Include shots that lack a kind of device.")
    ] = False,
    include: Annotated[
        list[AnomalyKind] | None,
        typer.Option(help="Only shots with an anomaly of this kind; may be repeated."),
    ] = None,
    exclude: Annotated[
        list[AnomalyKind] | None, typer.Option(help="No shots with an anomaly of this kind; may be repeated.")
    ] = None,
    normal: Annotated[bool, typer.Option("--normal", help="No shots with any anomaly.")] = False,
    most: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of shots, spread evenly. Default: all.")
    ] = None,
    name: NameOption = None,
    root: RootOption = ROOT,
    json: JsonOption = False,
) -> None:
    """Write the shots of a span of time as TFRecords, with a manifest that lists their sources.

    An example is one frame of one camera with the spectrum and the energy of its shot. Only valid records
    count. A finished set never changes; if writing is interrupted, there is no set.

    \b
    Examples:
      shotwatch dataset make july --from 2022-07-01 --to 2022-07-08 --normal --most 10000
      shotwatch dataset make spots --places LA-A1-11 --include hot_spot
    """
    _refuse_nonsense(start, end, include or [], normal)
    deployment = find_deployment(root, name)
    all_expected = named_places(load_facility(deployment.settings.facility), places or [])
    excluded = list(AnomalyKind) if normal else exclude or []
    given = {
        "from": start and start.isoformat(),
        "to": end and end.isoformat(),
        "places": ",".join(str(expected.place) for expected in all_expected),
        "include": ",".join(include or []),
        "exclude": ",".join(excluded),
        "most": most,
    }
    arguments = [f"--{option}={value}" for option, value in given.items() if value]
    made = _run(deployment, "make", title, *arguments, *(["--incomplete"] if incomplete else []))
    report(json, made, f"set {title}: {_content(made)}")


@dataset.command("list")
def list_sets(name: NameOption = None, root: RootOption = ROOT, json: JsonOption = False) -> None:
    """List the training sets. With --json one line per set.

    \b
    Example:
      shotwatch dataset list
    """
    sets: list[Step] = []
    run_steps(_MODULE, find_deployment(root, name).environment, ["list"], sets.append)
    if json:
        for each in sets:
            print_json(_record(each))
    else:
        stdout.print(table(f"{len(sets)} sets", _COLUMNS, map(_row, sets)))


@dataset.command("show")
def show(
    title: SetArgument, name: NameOption = None, root: RootOption = ROOT, json: JsonOption = False
) -> None:
    """Show what a training set contains and what it was made from; with --json the whole manifest.

    \b
    Examples:
      shotwatch dataset show july
      shotwatch dataset show july --json > july.json
    """
    manifest = _run(find_deployment(root, name), "show", title)
    if json:
        print_json(manifest)
        return
    stdout.print(table(f"set {title}", ("", "value"), _facts(manifest)))
    features = (
        (each["name"], each["dtype"], each["shape"], each["description"]) for each in manifest["features"]
    )
    stdout.print(table("features", ("feature", "type", "shape", "what it is"), features))


@dataset.command("check")
def check(
    title: SetArgument, name: NameOption = None, root: RootOption = ROOT, json: JsonOption = False
) -> None:
    """Check that a set matches its manifest, and that the data it was made from still exists.

    A block that has expired can be made again from its raw file. Exit code 1 when a shard is broken, or a
    block cannot be recovered.

    \b
    Example:
      shotwatch dataset check july
    """
    checked = _run(find_deployment(root, name), "check", title)
    if json:
        print_json(checked)
    else:
        _show_check(checked)
    if not checked["good"]:
        raise typer.Exit(1)


def _refuse_nonsense(
    start: datetime | None, end: datetime | None, include: Sequence[AnomalyKind], normal: bool
) -> None:
    if start is not None and end is not None and start >= end:
        raise Misuse("--from is not before --to")
    if normal and include:
        raise Misuse("--normal and --include exclude each other")


def _run(deployment: Deployment, *arguments: str) -> Answer:
    """Run a command, show its progress, and return its result."""
    with counting() as progress:
        task = progress.add_task("starting", total=None)

        def show_step(step: Step) -> None:
            done = step.get("examples", step.get("shards")) if "of" in step else None
            progress.update(task, description=step["step"], completed=done, total=step.get("of"))

        return _record(run_steps(_MODULE, deployment.environment, arguments, show_step))


def _record(step: Step) -> Answer:
    return {name: value for name, value in step.items() if name != "step"}


def _content(summary: Answer) -> str:
    counts = summary["counts"]
    expired = (
        f"; {counts['expired']} were left out, as their blocks have expired" if counts["expired"] else ""
    )
    return (
        f"{counts['examples']} examples of {counts['cameras']} cameras in {counts['shots']} shots, "
        f"{summary['shards']} shards, {megabytes(summary['bytes'])}{expired}"
    )


def _row(summary: Step) -> Iterator[object]:
    counts = summary["counts"]
    yield summary["name"]
    yield moment(summary["made_at"])
    yield from (counts[of] for of in ("shots", "examples", "cameras"))
    yield megabytes(summary["bytes"])
    yield _places(summary["query"])


def _facts(manifest: Answer) -> Iterator[tuple[str, object]]:
    counts, query, shards = manifest["counts"], manifest["query"], manifest["shards"]
    yield (
        "made",
        f"{moment(manifest['made_at'])} by version {manifest['code_version']} at {manifest['facility']}",
    )
    yield "places", _places(query)
    yield (
        "from, to",
        ", ".join("open" if query[edge] is None else moment(query[edge]) for edge in ("start", "end")),
    )
    yield "shots", "complete or not" if query["incomplete"] else "complete"
    yield "only with", ", ".join(query["include"]) or "anything"
    yield (
        "none with",
        "any anomaly" if len(query["exclude"]) == len(AnomalyKind) else ", ".join(query["exclude"]),
    )
    yield "chosen", f"{counts['matched']} shots" + (f" (at most {query['most']})" if query["most"] else "")
    yield (
        "content",
        _content({**manifest, "shards": len(shards), "bytes": sum(each["size"] for each in shards)}),
    )
    yield "made from", f"{len(manifest['raw_objects'])} files"
    for shard in shards:
        yield (
            shard["key"],
            f"{shard['examples']} examples, {megabytes(shard['size'])}, SHA-256 {shard['sha256']}",
        )


def _places(query: Answer) -> str:
    return ", ".join(query["places"]) or "all"


def _show_check(checked: Answer) -> None:
    for why in checked["broken"]:
        stdout.print(styled((why, "bold red")))
    for key in checked["lost"]:
        stdout.print(styled((f"the block {key} is gone, and so is the file it was made from", "bold red")))
    intact = checked["shards"] - len(checked["broken"])
    stdout.print(f"{intact} of {checked['shards']} shards are as the manifest describes them")
    stdout.print(
        f"of {checked['blocks']} blocks {checked['expired']} have expired and can be made again from their "
        f"files, {len(checked['lost'])} are lost"
    )
    if checked["revised"]:
        stdout.print(f"{checked['revised']} shots have changed since: files of theirs came again")
    if checked["good"]:
        stdout.print(styled(("the set is good", "bold green")))
