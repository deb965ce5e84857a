"""Logs that are sent to a collector: what it receives, by the protocol's own definitions."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, SeverityNumber

PROGRAM = """
from opentelemetry.sdk.trace import TracerProvider
from shotwatch_common.telemetry import fatal_errors_logged

with fatal_errors_logged("validate") as log:
    log.info("ready", devices=3, places=["LA-A2-00"], shot=None, anomalous={"nested": 0.5})
    with TracerProvider().get_tracer("test").start_as_current_span("work"):
        log.warning("rejected", key="a\\x1b[31m")
    1 / 0
"""


@dataclass
class Collector:
    """Keeps what it is sent."""

    port: int
    requests: list[ExportLogsServiceRequest] = field(default_factory=list)

    def records(self) -> list[LogRecord]:
        return [
            record
            for request in self.requests
            for resource in request.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]

    def services(self) -> set[str]:
        return {
            attribute.value.string_value
            for request in self.requests
            for resource in request.resource_logs
            for attribute in resource.resource.attributes
            if attribute.key == "service.name"
        }


@pytest.fixture
def collector() -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/logs"
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.requests.append(ExportLogsServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        received = Collector(server.server_port)
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield received
        server.shutdown()
        thread.join()


def run(**environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program that logs twice and crashes."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return subprocess.run(
        (sys.executable, "-c", PROGRAM),
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_collector_gets_every_line_of_stderr_even_those_of_a_process_that_crashes(
    collector: Collector,
) -> None:
    ended = run(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{collector.port}")
    assert ended.returncode == 1
    lines = ended.stderr.splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["ready", "rejected", "crashed"]
    assert "ZeroDivisionError" in lines[2]
    assert [record.body.string_value for record in collector.records()] == lines
    assert collector.services() == {"validate"}


def test_a_line_has_its_severity_its_fields_and_its_trace(collector: Collector) -> None:
    run(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{collector.port}")
    ready, rejected, crashed = collector.records()
    assert [each.severity_number for each in (ready, rejected, crashed)] == [
        SeverityNumber.SEVERITY_NUMBER_INFO,
        SeverityNumber.SEVERITY_NUMBER_WARN,
        SeverityNumber.SEVERITY_NUMBER_FATAL,
    ]
    assert rejected.trace_id.hex() == json.loads(rejected.body.string_value)["trace_id"]
    assert not ready.trace_id
    fields = {each.key: each.value for each in ready.attributes}
    assert fields["devices"].int_value == 3
    assert [each.string_value for each in fields["places"].array_value.values] == ["LA-A2-00"]
    assert [each.key for each in fields["anomalous"].kvlist_value.values] == ["nested"]


def test_without_a_collector_nothing_is_sent_and_stderr_has_all() -> None:
    events = [json.loads(line)["event"] for line in run().stderr.splitlines()]
    assert events == ["ready", "rejected", "crashed"]
