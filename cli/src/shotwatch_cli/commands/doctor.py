"""`shotwatch doctor`: check the system, and explain how to repair what is broken."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import typer
from rich.table import Table

from shotwatch_cli.checks import CheckResult, CheckStatus, deployment_findings, machine_findings
from shotwatch_cli.deployment import ROOT, Deployment, NameOption, RootOption, find_deployment
from shotwatch_cli.options import JsonOption
from shotwatch_cli.output import print_json, stdout, styled, table
from shotwatch_embedded.errors import StackNotFound

_STYLES = {CheckStatus.OK: "green", CheckStatus.WARN: "yellow", CheckStatus.FAIL: "bold red"}


def doctor(name: NameOption = None, root: RootOption = ROOT, json: JsonOption = False) -> None:
    """Check the running system, and this machine if it runs the embedded stack or no system is found.

    A system elsewhere is described by the variables of docs/settings.md and SHOTWATCH_QUERY_URL. Exit code 1
    when something is broken.

    \b
    Examples:
      shotwatch doctor
      shotwatch doctor --json | jq 'select(.verdict != "ok")'
    """
    findings = _findings(root, name)
    if json:
        for finding in findings:
            print_json(asdict(finding))
    else:
        stdout.print(finding_table(findings))
    if any(finding.verdict is CheckStatus.FAIL for finding in findings):
        raise typer.Exit(1)


def finding_table(findings: Sequence[CheckResult]) -> Table:
    """Return a table with a row for each finding."""
    return table("", ("what", "", "found", "what to do"), map(_row, findings))


def _findings(root: Path, name: str | None) -> list[CheckResult]:
    try:
        deployment = find_deployment(root, name)
    except StackNotFound as error:
        return [
            *machine_findings(root),
            CheckResult("system", CheckStatus.WARN, "none runs here", str(error)),
        ]
    here = machine_findings(root) if deployment.processes else ()
    return [*here, *asyncio.run(_check_deployment(deployment))]


async def _check_deployment(deployment: Deployment) -> list[CheckResult]:
    return [finding async for finding in deployment_findings(deployment)]


def _row(finding: CheckResult) -> tuple[object, ...]:
    verdict = styled((finding.verdict, _STYLES[finding.verdict]))
    return finding.subject, verdict, finding.found, finding.advice
