"""Traces and logs: one trace from the object event to the anomaly event, with its id in every log line."""

import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from io import TextIOWrapper
from pathlib import Path
from threading import Thread, main_thread

import structlog
from opentelemetry import trace
from opentelemetry._logs import Logger, SeverityNumber
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
from opentelemetry.trace import (
    Link,
    SpanContext,
    StatusCode,
    TraceFlags,
    Tracer,
    format_span_id,
    format_trace_id,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shotwatch_common.printable import printable_json

Log = structlog.stdlib.BoundLogger
MOST_TRACES_BYTES = 64 << 20
"""Size at which a file of spans begins anew."""
LONGEST_END_S = 5.0
"""Time that a process has after its main thread, for example to send its last log lines to the collector."""
_COLLECTOR = "OTEL_EXPORTER_OTLP_ENDPOINT"
_SEVERITIES = {
    "info": SeverityNumber.INFO,
    "warning": SeverityNumber.WARN,
    "error": SeverityNumber.ERROR,
    "critical": SeverityNumber.FATAL,
}


def configure_logs(service: str) -> Log:
    """Write logs as JSON lines in visible ASCII to stderr, each with the service and the current trace.

    If the standard OTEL variable names a collector, each line is also sent there.
    """
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _add_trace,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(printable_json),
            *([_send_to(_collector(service))] if os.environ.get(_COLLECTOR) else []),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    log: Log = structlog.get_logger().bind(service=service)
    return log


@contextmanager
def fatal_errors_logged(service: str, *expected: type[Exception]) -> Iterator[Log]:
    """Configure logs. Log the error that ends the process as one JSON line, and exit with status 1.

    An expected error is logged with its message, any other error with its traceback. A plain traceback on
    stderr would not reach the collector, so a service that dies at each start would appear silent there.

    The process ends within LONGEST_END_S, whatever threads are left. One that stayed would keep its sockets,
    and nothing would restart it.
    """
    Thread(target=_end_after_main_thread, name="end of the process", daemon=True).start()
    log = configure_logs(service)
    try:
        yield log
    except expected as error:
        log.critical("cannot go on", why=str(error))
    except Exception as error:
        log.critical("crashed", why=repr(error), exc_info=True)
    else:
        return
    sys.exit(1)


def _end_after_main_thread() -> None:
    """End the process if it has not ended some time after its main thread.

    Python joins all threads before it ends. A thread of AnyIO that waits for work never ends if the event
    loop crashed while its request was being answered.
    """
    main_thread().join()
    time.sleep(LONGEST_END_S)
    os._exit(1)


def _collector(service: str) -> Logger:
    """Return a logger whose records are sent to the collector by a thread, the last ones at exit.

    Its queue holds 2048 records. While the collector is unavailable, the oldest are dropped; stderr has all
    of them.
    """
    provider = LoggerProvider(Resource.create({"service.name": service}))
    provider.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
    return provider.get_logger("shotwatch")


def _send_to(collector: Logger) -> structlog.typing.Processor:
    """Return a processor for the end of the chain: it sends the line, its fields, and the current trace."""

    def send(_logger: object, level: str, event: object) -> str:
        line = str(event)  # the renderer before has made it one
        collector.emit(
            timestamp=time.time_ns(),
            severity_number=_SEVERITIES[level],
            severity_text=level,
            body=line,
            attributes=json.loads(line),
        )
        return line

    return send


class _SpanFile(TextIOWrapper):
    """A file of spans that begins anew when it is full: requests of strangers have spans, too."""

    def write(self, text: str, /) -> int:
        if self.tell() >= MOST_TRACES_BYTES:
            self.seek(0)
            self.truncate()
        return super().write(text)


def configure_traces(service: str, traces_folder: Path | None) -> TracerProvider:
    """Export spans to a file in the folder, and to a collector if the standard OTEL variable names one."""
    provider = TracerProvider(resource=Resource.create({"service.name": f"shotwatch-{service}"}))
    if traces_folder is not None:
        traces_folder.mkdir(parents=True, exist_ok=True)
        out = _SpanFile((traces_folder / f"{service}-{os.getpid()}.jsonl").open("ab"), encoding="utf-8")
        exporter = ConsoleSpanExporter(out=out, formatter=_json_line)
        provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=500))
    if os.environ.get(_COLLECTOR):
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return provider


def current_trace_id() -> str:
    """Return the id of the current trace, 32 hex digits; empty outside a trace."""
    context = trace.get_current_span().get_span_context()
    return format_trace_id(context.trace_id) if context.is_valid else ""


def attempting(attempt: int) -> AbstractContextManager[object]:
    """Mark logs and ledger entries within the context with the number of the attempt, from 1."""
    return structlog.contextvars.bound_contextvars(attempt=attempt)


def current_attempt() -> int:
    """Return the number of the attempt at the current message; 1 outside `attempting`."""
    attempt: int = structlog.contextvars.get_contextvars().get("attempt", 1)
    return attempt


def current_traceparent() -> str:
    """Return the current span in W3C form; empty outside a span."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return ""
    return (
        f"00-{format_trace_id(context.trace_id)}-{format_span_id(context.span_id)}-{context.trace_flags:02x}"
    )


@contextmanager
def continued_trace(tracer: Tracer, name: str, traceparent: str) -> Iterator[None]:
    """Start a span that continues the trace of an earlier one, for work without a message."""
    before = TraceContextTextMapPropagator().extract({"traceparent": traceparent})
    with tracer.start_as_current_span(name, context=before):
        yield


def fail_current_span(error: Exception) -> None:
    """Mark the current span as failed, although its message is settled and nothing is raised."""
    span = trace.get_current_span()
    span.record_exception(error)
    span.set_status(StatusCode.ERROR, str(error))


def link_current_span(traceparents: Sequence[str]) -> None:
    """Link the current span to spans of other traces; so a join shows whose files it combined."""
    span = trace.get_current_span()
    for traceparent in traceparents:
        link = _link(traceparent)
        span.add_link(link.context, link.attributes)


def _link(traceparent: str) -> Link:
    _, trace_id, span_id, flags = traceparent.split("-")
    context = SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16))
    )
    return Link(context, {"shotwatch.link": "member"})


def _json_line(span: ReadableSpan) -> str:
    line: str = span.to_json(indent=None)
    return line + "\n"


def _add_trace(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    trace_id = current_trace_id()
    return {**event, "trace_id": trace_id} if trace_id else dict(event)
