"""`shotwatch models`: list, compare and promote the versions of the model."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from itertools import chain
from typing import Annotated

import typer

from shotwatch_cli.answers import Answer
from shotwatch_cli.deployment import ROOT, Deployment, NameOption, RootOption, find_deployment
from shotwatch_cli.failures import Failure
from shotwatch_cli.models import comparison_tables, history_table, load_problems, version_table
from shotwatch_cli.options import FromOption, JsonOption, ToOption, UnpinnedOption, WhoOption
from shotwatch_cli.output import counting, print_json, report, stderr, stdout, styled
from shotwatch_cli.places import named_places
from shotwatch_cli.steps import Step, run_steps
from shotwatch_common.archive import Archive
from shotwatch_common.facility_file import load_facility
from shotwatch_common.registry import ModelRegistry
from shotwatch_operations.promotion import Promoter, PromotionError
from shotwatch_shots.models import Promotion
from shotwatch_shots.vocabulary import ModelAlias

models = typer.Typer(no_args_is_help=True, help="Versions of the model, and which of them scores.")

_MODULE = "shotwatch_inference.compare"

VersionArgument = Annotated[int, typer.Argument(metavar="VERSION", min=1, help="Number of a version.")]
WhyOption = Annotated[str, typer.Option("--why", help="Reason, stored with the change.")]


@models.command("list")
def list_versions(
    history: Annotated[
        bool, typer.Option("--history", help="Also list which version was champion when, and who decided it.")
    ] = False,
    name: NameOption = None,
    root: RootOption = ROOT,
    json: JsonOption = False,
) -> None:
    """List the versions with aliases, training data, and the numbers of confirmed and false alarms.

    \b
    Examples:
      shotwatch models list
      shotwatch models list --history
    """
    model, changes = asyncio.run(_known(find_deployment(root, name)))
    if json:
        print_json({**model, "promotions": changes} if history else model)
        return
    stdout.print(version_table(model["versions"]))
    of_loads = chain.from_iterable(load_problems(model, alias) for alias in ModelAlias)
    for problem in (*of_loads, *model["promotion_differences"]):
        stderr.print(styled((problem, "bold red")))
    if history:
        stdout.print(history_table(changes))


@models.command("compare")
def compare(
    one: VersionArgument,
    other: VersionArgument,
    start: FromOption = None,
    end: ToOption = None,
    places: Annotated[
        list[str] | None,
        typer.Option("--places", help="Such as LA-A1-11; may be repeated. Default: all places."),
    ] = None,
    unpinned: UnpinnedOption = False,
    name: NameOption = None,
    root: RootOption = ROOT,
    json: JsonOption = False,
) -> None:
    """Replay stored shots through two versions, and show the shots that only one of them finds anomalous.

    Without a time, the last hour of data is replayed. Shots whose frames have expired are left out. Rules are
    the same for both versions, and are left out too. A version is loaded only if its files are those that
    were promoted, or that training made a challenger.

    \b
    Examples:
      shotwatch models compare 3 4
      shotwatch models compare 3 4 --from 2022-07-01 --to 2022-07-02 --places LA-A1-11
    """
    deployment = find_deployment(root, name)
    all_expected = named_places(load_facility(deployment.settings.facility), places or [])
    given = {
        "from": start and start.isoformat(),
        "to": end and end.isoformat(),
        "places": ",".join(str(expected.place) for expected in all_expected),
    }
    options = [f"--{option}={value}" for option, value in given.items() if value]
    options += ["--unpinned"] if unpinned else []
    compared = _replay(deployment, str(one), str(other), *options)
    report(json, compared, comparison_tables(compared))


@models.command("promote")
def promote(
    version: VersionArgument,
    who: WhoOption,
    why: WhyOption = "",
    alias: Annotated[ModelAlias, typer.Option(help="The alias that it gets.")] = ModelAlias.CHAMPION,
    name: NameOption = None,
    root: RootOption = ROOT,
    json: JsonOption = False,
) -> None:
    """Make a version the champion; inference loads it by itself, without interruption.

    Pins the digest of the version's bundle: inference loads no other bytes. Promote the champion again if its
    alias was moved in the registry, or if it was promoted before bundles were pinned.

    \b
    Examples:
      shotwatch models promote 4 --why "fewer false alarms on LA-A1-11"
      shotwatch models promote 5 --alias challenger
    """
    made = asyncio.run(_change(find_deployment(root, name), who, why, str(version), alias))
    report(json, asdict(made), _summary(made))


@models.command("rollback")
def rollback(
    who: WhoOption,
    why: WhyOption = "",
    name: NameOption = None,
    root: RootOption = ROOT,
    json: JsonOption = False,
) -> None:
    """Make the previous champion the champion again.

    \b
    Example:
      shotwatch models rollback --why "misses hot spots"
    """
    made = asyncio.run(_change(find_deployment(root, name), who, why))
    report(json, asdict(made), _summary(made))


async def _known(deployment: Deployment) -> tuple[Answer, Sequence[Answer]]:
    """Return the model with its versions, and every change of the champion."""
    async with deployment.api() as api:
        return await api.get("/models"), (await api.get("/models/promotions"))["promotions"]


async def _change(
    deployment: Deployment,
    who: str,
    why: str,
    version: str | None = None,
    alias: ModelAlias = ModelAlias.CHAMPION,
) -> Promotion:
    """Promote a version, or roll back if none is given."""
    async with _promoter(deployment) as promoter:
        try:
            if version is None:
                return await promoter.roll_back(who, why)
            return await promoter.promote(version, who, why, alias)
        except PromotionError as error:
            raise Failure(str(error), "`shotwatch models list --history` shows what there is") from error


@asynccontextmanager
async def _promoter(deployment: Deployment) -> AsyncIterator[Promoter]:
    async with ModelRegistry.of(deployment.settings) as registry, Archive.of(deployment.settings) as archive:
        yield Promoter(registry, archive)


def _summary(made: Promotion) -> str:
    before = f", version {made.before} no longer" if made.before else ""
    return f"version {made.version} is the {made.alias} now{before}"


def _replay(deployment: Deployment, *arguments: str) -> Step:
    """Run a comparison, show its progress, and return its result."""
    with counting() as progress:
        task = progress.add_task("starting", total=None)

        def show_step(step: Step) -> None:
            progress.update(task, description=step["step"], completed=step.get("done"), total=step.get("of"))

        compared = run_steps(_MODULE, deployment.environment, arguments, show_step)
    return {name: value for name, value in compared.items() if name != "step"}
