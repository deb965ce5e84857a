"""Spans in a file, which is what an embedded stack has instead of a collector."""

import json
from pathlib import Path

import pytest
from opentelemetry import trace

from shotwatch_common import telemetry


def test_a_file_of_spans_begins_anew_when_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "set_tracer_provider", lambda _: None)
    monkeypatch.setattr(telemetry, "MOST_TRACES_BYTES", 5000)
    provider = telemetry.configure_traces("query", tmp_path)
    sizes = []
    for n in range(60):
        with provider.get_tracer("tests").start_as_current_span(f"span {n}"):
            pass
        provider.force_flush()
        [file] = tmp_path.iterdir()
        sizes.append(file.stat().st_size)
    provider.shutdown()
    lines = file.read_text().splitlines()
    assert max(sizes) < 5000 + len(lines[-1]) + 2
    assert sorted(sizes) != sizes, "it became shorter"
    assert json.loads(lines[-1])["name"] == "span 59"
    assert all(json.loads(line)["name"] for line in lines)
