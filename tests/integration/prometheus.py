"""Debian's Prometheus beside a running stack: unpacked, never installed, and asked over HTTP."""

import asyncio
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from shotwatch_embedded.ports import LOOPBACK
from shotwatch_embedded.servers.probes import answers
from tests.installing import alone
from tests.ports import free_port

PACKAGE = "prometheus"
Targets = Mapping[str, Sequence[int]]
"""Job → the ports at which its processes answer /metrics."""


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A server that scrapes every second."""

    url: str
    targets: int

    async def query(self, promql: str) -> list[dict[str, Any]]:
        """The series of an instant query, each `{"metric": labels, "value": [time, text]}`."""
        series: list[dict[str, Any]] = (await self._ask("query", query=promql))["result"]
        return series

    async def exemplars(self, promql: str) -> list[dict[str, Any]]:
        """All exemplars that the selected series have kept, each `{"labels": …, "value": …}`."""
        found = await self._ask("query_exemplars", query=promql, start="0", end=str(time.time()))
        return [exemplar for series in found for exemplar in series["exemplars"]]

    async def ready(self) -> bool:
        return await answers(f"{self.url}/-/ready")

    async def sees_all(self) -> bool:
        """Whether the last scrape of every target succeeded."""
        return len(await self.query("up == 1")) == self.targets

    async def parse(self, promql: str) -> None:
        """Fail when it is no PromQL, with Prometheus' message."""
        await self._ask("format_query", query=promql)

    async def fires(self, alert: str, **labels: str) -> bool:
        """Whether an alert with such labels fires now."""
        wanted = {"alertname": alert, "alertstate": "firing", **labels}
        selector = ",".join(f'{name}="{value}"' for name, value in wanted.items())
        return bool(await self.query(f"ALERTS{{{selector}}}"))

    async def _ask(self, what: str, **parameters: str) -> Any:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.url}/api/v1/{what}", params=parameters) as response,
        ):
            answer = await response.json()
            assert answer["status"] == "success", answer
            return answer["data"]


def promtool(*arguments: str | Path) -> None:
    """Run promtool; fail with its output."""
    done = subprocess.run([_programs() / "promtool", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@asynccontextmanager
async def started(folder: Path, targets: Targets, rules: Path) -> AsyncIterator[Prometheus]:
    """Prometheus on a free port, with all that it keeps in the folder; its rules fire at once."""
    port = free_port()
    (folder / "rules.yml").write_text(yaml.safe_dump(_at_once(rules)))
    (folder / "prometheus.yml").write_text(yaml.safe_dump(_configuration(targets)))
    command = [
        _programs() / "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={LOOPBACK}:{port}",
        "--enable-feature=exemplar-storage",
    ]
    with (folder / "log").open("w") as log:
        server = await asyncio.create_subprocess_exec(*command, stderr=log)
        try:
            yield Prometheus(f"http://{LOOPBACK}:{port}", sum(map(len, targets.values())))
        finally:
            server.terminate()
            await server.wait()


def _configuration(targets: Targets) -> dict[str, Any]:
    jobs = [
        {"job_name": job, "static_configs": [{"targets": [f"{LOOPBACK}:{port}" for port in ports]}]}
        for job, ports in targets.items()
    ]
    often = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    return {"global": often, "rule_files": ["rules.yml"], "scrape_configs": jobs}


def _at_once(rules: Path) -> Any:
    """The rules without the time for which a fault must last."""
    groups = yaml.safe_load(rules.read_text(encoding="utf-8"))
    for group in groups["groups"]:
        for rule in group["rules"]:
            rule.pop("for", None)
    return groups


def _programs() -> Path:
    """Where Prometheus is; unpacked from Debian's package where it is nowhere, so that nothing starts it."""
    installed = shutil.which("prometheus")
    if installed and shutil.which("promtool"):
        return Path(installed).parent
    folder = Path(sys.prefix) / "prometheus"
    with alone():
        if not (folder / "usr" / "bin" / "promtool").exists():
            _unpack(folder)
    return folder / "usr" / "bin"


def _unpack(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["apt-get", "-q", "download", PACKAGE], cwd=folder, capture_output=True, text=True)
    package = next(folder.glob(f"{PACKAGE}_*.deb"), None)
    assert package, (
        f"{done.stderr}apt-get cannot download {PACKAGE}: run `sudo apt-get update`, or install it"
    )
    subprocess.run(["dpkg-deb", "--extract", package, folder], check=True)
    package.unlink()
