"""Logs show nothing secret; spans leave in W3C form, as one line of JSON each."""

import json
import os
import subprocess
import sys

import pytest
import structlog
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult

from keyquorum_core_signer.telemetry import (
    REDACTED,
    JsonLinesSpanExporter,
    configure_logging,
    context_of,
    redact,
    start_telemetry,
    traceparent_of,
)

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(autouse=True)
def _structlog_as_it_was():
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize(
    "name",
    [
        "secret",
        "share",
        "key_share",
        "api_token",
        "passphrase",
        "hsm_pin",
        "pin",
        "nonces",
        "authorization",
        "kek",
        "seed",
    ],
)
@pytest.mark.parametrize("value", ["abc", b"abc", 7, ["abc"], {"inner": "abc"}, None])
def test_a_telling_name_hides_its_value(name, value):
    """Whatever a secretly named field holds is not shown."""
    assert redact(None, "info", {"event": "x", name: value})[name] == REDACTED


@pytest.mark.parametrize(
    "text",
    [
        "ab" * 32,
        "0x" + "ab" * 20,
        "9WzDXwBbmkg8ZTbNMqUxvQRAyrZzDsGYdLVL9zYtAWWM",
        "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
        "q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=",
        "a3+/" * 10 + "a3k=",
    ],
)
def test_opaque_runs_keep_only_their_ends(text):
    """Keys, signatures and addresses inside a sentence are cut to their ends."""
    line = redact(None, "info", {"event": f"moved {text} at last", "deep": {"list": [text]}})
    assert text not in json.dumps(line)
    assert line["event"].startswith("moved ")
    assert line["event"].endswith(" at last")


def test_bytes_and_scalars_are_not_shown():
    """A byte string is its length, and an integer beyond 64 bits is nothing."""
    line = redact(None, "info", {"event": "x", "data": b"\x01\x02", "scalar": 2**64, "many": (b"12345",), "count": 12})
    assert line == {"event": "x", "data": "<2 bytes>", "scalar": REDACTED, "many": ["<5 bytes>"], "count": 12}


def test_ordinary_values_stay_readable():
    """Operation ids, key ids, node ids, paths and numbers are what an operator reads."""
    line = {
        "event": "an operation ended",
        "operation_id": "op_" + "ab" * 16,
        "key_id": "key_01941f29-7c00-7000-8000-0123456789ab",
        "node_id": "party-1",
        "kek_kind": "soft",
        "path": "/var/lib/keyquorum/cell-local/coordinator-1/operations.sqlite3",
        "duration_ms": 12.5,
        "retriable": True,
    }
    assert redact(None, "info", dict(line)) == line


def test_depth_and_length_are_bounded():
    """A peer's text or nesting does not decide how large a line is."""
    nested = {"a": {"b": {"c": {"d": {"e": "deep"}}}}}
    line = redact(None, "info", {"event": "z " * 5000, "nested": nested})
    assert len(line["event"]) == 2048
    assert "deep" not in json.dumps(line)


def test_log_lines_carry_service_and_trace(capsys):
    """A line is one JSON object that names its process and the trace it belongs to."""
    configure_logging("keyquorum-coordinator", "coordinator-1", level="info", log_format="json")
    with trace.use_span(trace.NonRecordingSpan(trace.get_current_span(context_of(TRACEPARENT)).get_span_context())):
        structlog.get_logger().info("linked", node_id="party-1", share=b"123")
        structlog.get_logger().debug("not shown")
    (line,) = capsys.readouterr().err.splitlines()
    record = json.loads(line)
    assert record["service"] == "keyquorum-coordinator"
    assert record["instance"] == "coordinator-1"
    assert record["trace_id"] == TRACEPARENT[3:35]
    assert record["share"] == REDACTED


def test_a_logged_traceback_holds_no_secret(capsys):
    """An exception whose text holds key material is logged without it."""
    configure_logging("keyquorum-party", "party-1", level="info", log_format="json")
    secret = "5f" * 32
    try:
        int(secret)
    except ValueError:
        structlog.get_logger().exception("failed")
    shown = capsys.readouterr().err
    assert "ValueError" in shown
    assert secret not in shown


def test_traceparent_goes_out_and_comes_in():
    """A child made from a traceparent is in its trace, and what it passes on names the child."""
    telemetry = start_telemetry("keyquorum-party", "party-1")
    with telemetry.span("session", TRACEPARENT) as span:
        passed_on = traceparent_of(span)
        assert span.parent.span_id == int(TRACEPARENT[36:52], 16)
    telemetry.shutdown()
    assert passed_on.split("-")[1] == TRACEPARENT.split("-")[1]
    assert passed_on.split("-")[2] != TRACEPARENT.split("-")[2]


@pytest.mark.parametrize("text", ["", "nonsense", "00-" + "0" * 32 + "-b7ad6b7169203331-01", TRACEPARENT + "x"])
def test_a_malformed_traceparent_starts_a_new_trace(text):
    """A peer cannot make us fail, nor join a trace, by a traceparent that is none."""
    telemetry = start_telemetry("keyquorum-party", "party-1")
    with telemetry.span("session", text) as span:
        assert span.parent is None
        assert span.get_span_context().is_valid
    telemetry.shutdown()


def test_spans_become_lines_of_json(tmp_path):
    """Every finished span is one line with ids, times, attributes and where it comes from."""
    path = tmp_path / "spans.jsonl"
    telemetry = start_telemetry("keyquorum-coordinator", "coordinator-1", span_file=path)
    with telemetry.span("outer", TRACEPARENT, operation_id="op_1") as outer:
        outer.add_event("round", {"n": 1})
        with telemetry.tracer.start_as_current_span("inner"):
            pass
    telemetry.shutdown()
    inner_line, outer_line = (json.loads(line) for line in path.read_text().splitlines())
    assert outer_line["trace_id"] == inner_line["trace_id"] == TRACEPARENT[3:35]
    assert outer_line["parent_span_id"] == TRACEPARENT[36:52]
    assert inner_line["parent_span_id"] == outer_line["span_id"]
    assert outer_line["attributes"] == {"operation_id": "op_1"}
    assert outer_line["events"][0]["name"] == "round"
    assert outer_line["service"] == "keyquorum-coordinator"
    assert outer_line["end_ns"] >= outer_line["start_ns"]
    assert path.stat().st_mode & 0o077 == 0


def test_the_span_file_is_bounded(tmp_path):
    """Over its bound the file is moved aside, so that the two of them never hold more than twice the bound."""
    path = tmp_path / "spans.jsonl"
    exporter = JsonLinesSpanExporter(path, bytes_max=2000)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for _ in range(40):
        with provider.get_tracer("test").start_as_current_span("x"):
            pass
    provider.shutdown()
    assert path.stat().st_size <= 2000
    assert (tmp_path / "spans.jsonl.1").stat().st_size <= 2000


def test_a_full_disk_loses_spans_and_nothing_else(tmp_path, monkeypatch):
    """An export that cannot be written is reported as failed, not raised."""
    exporter = JsonLinesSpanExporter(tmp_path / "spans.jsonl")

    def no_space(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", no_space)
    assert exporter.export([]) is SpanExportResult.FAILURE
    exporter.shutdown()


def test_telemetry_needs_neither_party_nor_coordinator():
    """Importing it pulls in no other part of the signer."""
    code = (
        "import sys, keyquorum_core_signer.telemetry;"
        "print([m for m in sys.modules if m.startswith('keyquorum') and m.count('.') >= 1])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "['keyquorum_core_signer.telemetry']"
