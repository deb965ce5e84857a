"""`shotwatch audit`: who made which change."""

import asyncio
from collections.abc import Mapping
from typing import Annotated

import typer

from shotwatch_cli.answers import Answer
from shotwatch_cli.deployment import ROOT, Deployment, NameOption, RootOption, find_deployment
from shotwatch_cli.options import FromOption, JsonOption, ToOption
from shotwatch_cli.output import print_json, stdout, table

_COLUMNS = ("at", "who", "from", "what", "which", "outcome", "status#", "count#", "trace")


def audit(
    start: FromOption = None,
    end: ToOption = None,
    limit: Annotated[
        int, typer.Option("--last", min=1, max=1000, help="Maximum number of changes, newest first.")
    ] = 100,
    name: NameOption = None,
    root: RootOption = ROOT,
    json: JsonOption = False,
) -> None:
    """Show the changes requested from the REST API, refused ones included, and those made by `shotwatch`.

    It requires the scope `admin`. Without a time, the last day is shown.

    \b
    Examples:
      shotwatch audit
      shotwatch audit --from 2022-07-01 --json | jq 'select(.outcome == "refused")'
    """
    span = {"from": start, "to": end}
    query = {edge: time.isoformat() for edge, time in span.items() if time is not None}
    changes = asyncio.run(_newest(find_deployment(root, name), query, limit))
    if not json:
        stdout.print(table(f"{len(changes)} changes", _COLUMNS, map(_row, changes)))
        return
    for change in changes:
        print_json(change)


async def _newest(deployment: Deployment, span: Mapping[str, str], limit: int) -> list[Answer]:
    """Return up to `limit` changes.

    A page may be shorter than its limit if there were few changes in a long time.
    """
    changes: list[Answer] = []
    async with deployment.api() as api:
        page = await api.get("/audit", limit=limit, **span)
        changes += page["changes"]
        while page["next"] and len(changes) < limit:
            page = await api.get("/audit", limit=limit - len(changes), cursor=page["next"])
            changes += page["changes"]
    return changes


def _row(change: Answer) -> tuple[object, ...]:
    at = change["at"][:19].replace("T", " ")
    fields = (change[name] for name in ("who", "address", "what", "which", "outcome"))
    return at, *fields, change["status"] or "", change["count"], change["trace_id"]
