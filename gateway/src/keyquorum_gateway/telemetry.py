"""Traces and metrics of this process: one trace from the REST request to every call that it causes.

Spans go to OTLP where an endpoint is configured, and to a file of JSON lines where one is named (development, tests and
the demo); without either, span contexts are still made, so that ``trace_id`` means something in every log and problem.
"""

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler, TraceIdRatioBased
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from keyquorum_gateway.config import TelemetryConfig

TRACER_NAME: Final = "keyquorum_gateway"
_LATENCY_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 5, 10, 30)


class SpanFile(SpanExporter):
    """Writes each finished span as a line of JSON."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Append the spans."""
        with self._lock:
            if self._file.closed:
                return SpanExportResult.FAILURE
            self._file.writelines(json.dumps(_span_line(span), separators=(",", ":")) + "\n" for span in spans)
            self._file.flush()
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()


def tracer_provider(config: TelemetryConfig, instance: str) -> TracerProvider:
    """A provider with the configured exporters; the caller shuts it down."""
    exports = bool(config.otlp_endpoint) or config.span_file is not None
    provider = TracerProvider(
        sampler=ParentBased(_root_sampler(config.sample_ratio if exports else 0)),
        resource=Resource.create({"service.name": config.service_name, "service.instance.id": instance}),
        shutdown_on_exit=False,
    )
    if config.otlp_endpoint:
        exporter = OTLPSpanExporter(endpoint=config.otlp_endpoint, insecure=config.otlp_insecure)
        provider.add_span_processor(BatchSpanProcessor(exporter))
    if config.span_file is not None:
        provider.add_span_processor(BatchSpanProcessor(SpanFile(config.span_file), schedule_delay_millis=500))
    return provider


def _root_sampler(ratio: float) -> Sampler:
    """What becomes of traces that begin here. Where nothing is exported nothing is recorded, which is cheaper."""
    if ratio in (0, 1):
        return ALWAYS_ON if ratio else ALWAYS_OFF
    return TraceIdRatioBased(ratio)


def _span_line(span: ReadableSpan) -> dict[str, object]:
    context, parent = span.get_span_context(), span.parent
    return {
        "trace_id": format(context.trace_id, "032x") if context else "",
        "span_id": format(context.span_id, "016x") if context else "",
        "parent_span_id": format(parent.span_id, "016x") if parent else "",
        "service": span.resource.attributes.get("service.name", ""),
        "name": span.name,
        "kind": span.kind.name.lower(),
        "start_ns": span.start_time,
        "end_ns": span.end_time,
        "status": span.status.status_code.name.lower(),
        "attributes": dict(span.attributes or {}),
    }


class Metrics:
    """The gateway's Prometheus series; docs/metrics.md explains each. A registry of its own, so that tests are alone."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.requests = Histogram(
            "keyquorum_gateway_request_seconds",
            "Time from the request's first byte to the answer",
            ["method", "route", "status"],
            buckets=_LATENCY_S,
            registry=self.registry,
        )
        self.ceremonies = Histogram(
            "keyquorum_gateway_ceremony_seconds",
            "Time from sending an intent to its result, by stage of the operation",
            ["command", "scheme", "outcome"],
            buckets=_LATENCY_S,
            registry=self.registry,
        )
        self.operations = Counter(
            "keyquorum_gateway_operations_total",
            "Operations that ended",
            ["kind", "outcome", "code"],
            registry=self.registry,
        )
        self.live_operations = Gauge(
            "keyquorum_gateway_operations_live", "Operations that have not ended", registry=self.registry
        )
        self.event_streams = Gauge("keyquorum_gateway_event_streams", "Open event streams", registry=self.registry)
        self.transactions = Counter(
            "keyquorum_gateway_transactions_total",
            "Broadcast transactions by how they ended on their chain",
            ["chain", "outcome"],
            registry=self.registry,
        )
        self.reorganised = Counter(
            "keyquorum_gateway_transactions_reorganised_total",
            "Confirmed or failed transactions that a reorganisation took back",
            ["chain"],
            registry=self.registry,
        )
        self.flag_decisions = Counter(
            "keyquorum_chain_flag_decisions_total",
            "Whether a chain was open for whoever wanted something of it, and why",
            ["chain", "decision", "reason"],
            registry=self.registry,
        )
        self.flag_events = Counter(
            "keyquorum_chain_flag_events_total",
            "What became of the file of chain flags, as OpenFeature calls it",
            ["event"],
            registry=self.registry,
        )
        self.flags_stale = Gauge(
            "keyquorum_chain_flags_stale",
            "Whether the file of chain flags cannot be used as it is now",
            registry=self.registry,
        )
        self.refusals = Counter(
            "keyquorum_gateway_refusals_total",
            "What an untrusted part offered and the gateway refused",
            ["what"],
            registry=self.registry,
        )
        self.rate_limited = Counter(
            "keyquorum_gateway_rate_limited_total",
            "Requests refused by a rate limit",
            ["policy"],
            registry=self.registry,
        )
        self.coordinator_up = Gauge(
            "keyquorum_gateway_coordinator_up",
            "Whether the coordinator answered the last time it was asked",
            registry=self.registry,
        )
        self.parties_connected = Gauge(
            "keyquorum_gateway_parties_connected", "Parties connected, as the coordinator says", registry=self.registry
        )
