"""Write docs/metrics.md from the module that declares the metrics; a test compares the page with the code."""

from collections.abc import Iterator
from pathlib import Path

from prometheus_client.metrics import MetricWrapperBase

from shotwatch_common import metrics

FILE = Path(__file__).resolve().parent.parent / "docs" / "metrics.md"
SUFFIXES = {"counter": "_total", "info": "_info"}
MORE_LABELS = {metrics.BUILD: ("service", "version"), metrics.MODEL: ("version", "run")}
"""Labels of an info metric that come with its value."""
HEAD = """\
# Metrics

Written by `make metrics` from `shotwatch_common/metrics.py`. Every service of the path answers `GET /metrics`
beside `/live` and `/ready`, on its health port (8080 in images; `shotwatch status` prints the embedded
stack's). The format is OpenMetrics if the client accepts it. The answer has metrics of the process, too
(`process_…`, `python_…`). Training is a job that ends, and has no metrics.

Histograms carry exemplars: the `trace_id` of the trace in which something was observed. Compose's Prometheus
finds each replica by its name; `job` is the service. In Kubernetes pods have the annotations
`prometheus.io/scrape`, `port` and `path`, and Prometheus may come from the namespace `monitoring`.

A series appears with its first observation, and belongs to a process: add up the rates of counters over
replicas, and take the largest of gauges that each of them reports. `place` and `device` are
those of the facility file. To avoid thousands of series, records are counted by kind of device, not by
device, and drift is the largest one of a device, not that of each feature.

| metric | type | labels | what |
| --- | --- | --- | --- |
"""


def declared() -> Iterator[MetricWrapperBase]:
    """Yield the metrics in the order of their declaration."""
    return (each for each in vars(metrics).values() if isinstance(each, MetricWrapperBase))


def page() -> str:
    return HEAD + "".join(map(_row, declared()))


def _row(metric: MetricWrapperBase) -> str:
    [described] = metric.describe()
    name = described.name + SUFFIXES.get(described.type, "")
    labels = ", ".join(f"`{label}`" for label in (*metric._labelnames, *MORE_LABELS.get(metric, ())))
    return f"| `{name}` | {described.type} | {labels} | {described.documentation} |\n"


if __name__ == "__main__":
    FILE.write_text(page(), encoding="utf-8")
