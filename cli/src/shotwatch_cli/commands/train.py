"""`shotwatch train`: train a new model on recorded shots."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from shotwatch_cli.deployment import ROOT, NameOption, RootOption, find_deployment
from shotwatch_cli.options import FromOption, JsonOption, SeedOption, ToOption
from shotwatch_cli.output import print_json, stderr, stdout, styled, table
from shotwatch_cli.places import named_places
from shotwatch_cli.steps import Step
from shotwatch_cli.training import Thresholds, thresholds_of, train
from shotwatch_common.facility_file import load_facility
from shotwatch_shots.vocabulary import ModelAlias


def train_model(
    start: FromOption = None,
    end: ToOption = None,
    places: Annotated[
        list[str] | None,
        typer.Option("--places", help="Such as LA-A1-11; may be repeated. Default: all places."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Maximum number of epochs.")] = None,
    budget_seconds: Annotated[float | None, typer.Option(min=1, help="Time for fitting a network.")] = None,
    trials: Annotated[
        int | None,
        typer.Option(min=1, help="Number of networks to fit, with other hyperparameters; the best is used."),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(metavar="SET", help="Learn images from the frames of this set (`shotwatch dataset`)."),
    ] = None,
    alias: Annotated[
        ModelAlias | None,
        typer.Option(help="Of the new version. Default: champion if there is none yet, else challenger."),
    ] = None,
    seed: SeedOption = 0,
    name: NameOption = None,
    root: RootOption = ROOT,
    json: JsonOption = False,
) -> None:
    """Train a model on the normal shots of a span of time, and register it as champion or challenger.

    Inference loads it by itself. The champion scores; the challenger scores too, but raises no events
    (`shotwatch models`).

    \b
    Examples:
      shotwatch train
      shotwatch train --from 2022-07-01T07:00 --to 2022-07-01T08:00 --places LA-A1-11 --alias challenger
    """
    deployment = find_deployment(root, name)
    all_expected = named_places(load_facility(deployment.settings.facility), places or [])
    arguments = _arguments(
        {
            "from": start and start.isoformat(),
            "to": end and end.isoformat(),
            "places": ",".join(str(expected.place) for expected in all_expected),
            "epochs": epochs,
            "budget-seconds": budget_seconds,
            "trials": trials,
            "dataset": dataset,
            "seed": seed,
        }
    )
    with stderr.status("training") as spinner:
        trained = train(
            deployment.environment,
            list(arguments),
            alias,
            lambda step: spinner.update(styled(step_text(step))),
        )
    thresholds = asyncio.run(thresholds_of(deployment.settings, trained["version"]))
    if json:
        print_json({**trained, "thresholds": [asdict(each) for each in thresholds]})
    else:
        _show(trained, thresholds)


def step_text(step: Step) -> str:
    """Format a step: `epoch: number 3, loss 0.0123`."""
    figures = ", ".join(f"{name} {_short(value)}" for name, value in step.items() if name != "step")
    return f"{step['step']}: {figures}" if figures else str(step["step"])


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _arguments(given: Mapping[str, object]) -> Iterator[str]:
    return (f"--{name}={value}" for name, value in given.items() if value not in (None, ""))


def _show(trained: Step, thresholds: Sequence[Thresholds]) -> None:
    title = "what one usual shot in a hundred exceeds (robust σ)"
    rows = ((of.feature, of.devices, f"{of.lowest:.1f}", f"{of.highest:.1f}") for of in thresholds)
    stdout.print(table(title, ("feature", "devices#", "lowest#", "highest#"), rows))
    version, alias = trained["version"], trained["alias"]
    stdout.print(f"version {version} is the {alias} now; it knows {trained['cameras']} cameras")
