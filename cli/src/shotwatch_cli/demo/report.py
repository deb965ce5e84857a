"""The tables at the end of the demo."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.text import Text

from shotwatch_cli.demo.figures import FalseDetection, KindFigures, Latency, SlowChange
from shotwatch_cli.output import styled, table
from shotwatch_common.printable import printable
from shotwatch_shots.reconciliation.sides import Tally
from shotwatch_shots.vocabulary import ObjectState

_MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Throughput:
    """One part of the demo: how much was uploaded, and how long it took until all of it was judged."""

    name: str
    files: int
    size: int
    """In bytes."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Report:
    """The results of the demo."""

    uploaded: int
    tally: Tally
    problems: Sequence[str]
    """Each imbalance that was found, as text."""
    adds_up: bool
    under_way: int
    complete: int
    incomplete: int
    unjudged: int
    kinds: Sequence[KindFigures]
    false_alarms: Sequence[FalseDetection]
    normal_shots: int
    slow_changes: Sequence[SlowChange]
    latencies: Sequence[Latency]
    throughput: Sequence[Throughput]
    model: str

    @property
    def balances(self) -> bool:
        """Whether every uploaded file is settled, every shot judged, and all sources agree."""
        settled = self.tally.objects - self.tally.states[ObjectState.WAITING]
        return self.adds_up and self.uploaded == self.tally.objects == settled and not self.unjudged

    @property
    def overlooked(self) -> list[str]:
        """Kinds of which an injection was not reported."""
        return [kind.kind for kind in self.kinds if kind.reported < kind.injected]


def rendered(report: Report) -> RenderableType:
    """Return the report as text for people."""
    return Group(
        table("Objects: where each file ended", ("state", "files#"), _ledger_rows(report)),
        table(
            "Shots",
            ("", "shots#"),
            [
                ("complete", report.complete),
                ("incomplete", report.incomplete),
                ("not judged", report.unjudged),
            ],
        ),
        table(
            "Anomalies: injected, and reported under their name",
            ("kind", "injected#", "reported#", "shots#", "of these reported#"),
            [(k.kind, k.injected, k.reported, k.shots, k.shots_reported) for k in report.kinds],
        ),
        _alarms(report),
        _slow_changes(report.slow_changes),
        table(
            "Speed",
            ("part", "files#", "MB#", "s#", "files/s#", "MB/s#"),
            [_speed_row(part) for part in report.throughput],
        ),
        table(
            "From the end of a minute's upload to its events; the next minute waits until this one is judged",
            ("place", "interval", "events#", "half within s#", "all within s#"),
            map(_latency_row, report.latencies),
        ),
        _verdict(report),
    )


def _ledger_rows(report: Report) -> list[tuple[str, int]]:
    reasons = [(f"  {reason}", count) for reason, count in sorted(report.tally.reasons.items())]
    return [
        ("uploaded", report.uploaded),
        ("in the ledger", report.tally.objects),
        *report.tally.states.items(),
        *reasons,
    ]


def _alarms(report: Report) -> Text:
    shots = {alarm.shot for alarm in report.false_alarms}
    kinds = ", ".join(sorted({alarm.kind for alarm in report.false_alarms}))
    share = 1000 * len(shots) / max(report.normal_shots, 1)
    return styled(
        f"Normal shots: {report.normal_shots}, of which {len(shots)} raised an event"
        f" ({share:.2f} in 1,000){f': {kinds}' if kinds else ''}; scored by {report.model}\n"
    )


def _slow_changes(changes: Sequence[SlowChange]) -> Text:
    """Return the slow changes.

    They belong to no single shot, so they count neither as found nor as false alarms.
    """
    lines = [f"{change.kind}: {printable(change.why)}\n" for change in changes]
    return styled("".join([f"Slow changes of a device, over many shots: {len(changes)}\n", *lines]))


def _speed_row(part: Throughput) -> tuple[str, int, str, str, str, str]:
    megabytes = part.size / _MEGABYTE
    return (
        part.name,
        part.files,
        f"{megabytes:.1f}",
        f"{part.seconds:.1f}",
        f"{part.files / part.seconds:.1f}",
        f"{megabytes / part.seconds:.1f}",
    )


def _latency_row(latency: Latency) -> tuple[str, str, int, str, str]:
    series = latency.series
    return str(series.place), series.interval, latency.events, f"{latency.p50:.1f}", f"{latency.longest:.1f}"


def _verdict(report: Report) -> Text:
    if not report.balances:
        return styled(("\n".join(["The ledger does not add up.", *report.problems]), "bold red"))
    if report.overlooked:
        return styled((f"The ledger adds up. Overlooked: {', '.join(report.overlooked)}.", "bold yellow"))
    return styled(("The ledger adds up, and no injected anomaly was overlooked.", "bold green"))
