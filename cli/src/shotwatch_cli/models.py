"""Versions of the model as people read them."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table

from shotwatch_cli.answers import Answer
from shotwatch_cli.output import moment, styled, table

_VERSION_COLUMNS = (
    *("version#", "alias", "created", "trained until", "network", "cameras#", "loss#"),
    *("raised#", "confirmed#", "false#", "anomalous in shadow#"),
)
_TAGS = ("trained_until", "architecture", "cameras", "spot_contrast")
_CHANGE_COLUMNS = ("at", "champion#", "before#", "who", "why")
_EXAMPLE_COLUMNS = ("shot", "kinds", "score#", "other's score#")


def version_table(versions: Sequence[Answer]) -> Table:
    return table(f"{len(versions)} versions", _VERSION_COLUMNS, map(_version_row, versions))


def history_table(changes: Sequence[Answer]) -> Table:
    return table("champions, newest first", _CHANGE_COLUMNS, map(_change_row, changes))


def load_problems(model: Answer, alias: str) -> list[str]:
    """Return why inference cannot load the version with this alias, and in how many of its replicas.

    Args:
        model: as the REST API reports it.
    """
    loads = [load for load in model["loads"] if load["alias"] == alias]
    problems = Counter(load["problem"] for load in loads if load["problem"])
    return [f"{problem} ({count} of {len(loads)} replicas)" for problem, count in problems.items()]


def comparison_tables(compared: Answer) -> RenderableType:
    """Return tables of how two versions differ, and in which shots."""
    one, other = compared["versions"]
    period = f"{moment(compared['start'])} to {moment(compared['end'])} UTC"
    columns = ("", f"version {one['version']}#", f"version {other['version']}#")
    facts = table(f"{compared['shots']} shots of {period}", columns, _facts(one, other))
    expired = f"{compared['expired']} shots were left out: frames of theirs have expired"
    alone = [_alone(only) for only in compared["only"]]
    return Group(facts, *([expired] if compared["expired"] else []), *alone)


def _version_row(version: Answer) -> Iterator[object]:
    tags, record = version["tags"], version["record"]
    yield version["version"]
    yield styled((", ".join(version["aliases"]), "bold green"))
    yield version["created_at"][:16].replace("T", " ")
    yield from (tags.get(tag, "")[:16].replace("T", " ") for tag in _TAGS)
    yield from (record[name] for name in ("raised", "confirmed", "false"))
    yield _shadow(version["shadow"])


def _shadow(shadow: Mapping[str, int] | None) -> str:
    return f"{shadow['anomalous']} of {shadow['shots']}" if shadow else ""


def _change_row(change: Answer) -> Iterator[object]:
    yield change["at"][:19].replace("T", " ")
    yield change["version"] or "none"
    yield change["before"] or ""
    yield change["who"]
    yield f"rolled back: {change['why']}" if change["rollback"] else change["why"]


def _facts(one: Answer, other: Answer) -> Iterator[tuple[object, ...]]:
    both = one, other
    yield "anomalous shots", *(each["anomalous"] for each in both)
    yield "alarms (incidents that began)", *(each["alarms"] for each in both)
    yield "anomalous shots an hour at 10 Hz", *(f"{each['anomalous_per_hour']:.2f}" for each in both)
    yield "alarms an hour at 10 Hz", *(f"{each['alarms_per_hour']:.2f}" for each in both)
    for kind in dict.fromkeys((*one["kinds"], *other["kinds"])):
        yield f"shots with {kind}", *(each["kinds"].get(kind, 0) for each in both)
    for quantile in one["scores"]:
        yield f"score, {float(quantile):.1%} quantile", *(f"{each['scores'][quantile]:.2f}" for each in both)
    yield "confirmed anomalies found", *(_share(each["labels"], "found", "confirmed") for each in both)
    yield "false alarms raised again", *(_share(each["labels"], "repeated", "false") for each in both)
    yield "shots scored a second", *(f"{each['shots_per_second']:.0f}" for each in both)


def _share(labels: Mapping[str, int], part: str, whole: str) -> str:
    return f"{labels[part]} of {labels[whole]}" if labels[whole] else "none known"


def _alone(only: Answer) -> Table:
    title = f"{only['shots']} shots are anomalous to version {only['version']} alone; the most anomalous"
    rows = (
        (each["shot"], ", ".join(each["kinds"]), f"{each['score']:.2f}", f"{each['other_score']:.2f}")
        for each in only["examples"]
    )
    return table(title, _EXAMPLE_COLUMNS, rows)
