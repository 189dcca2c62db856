"""Traces and logs of a signer process: set up once, at the composition root, and handed to whoever needs them.

Nothing global is touched but structlog's configuration: the tracer provider is an object that its process owns and
shuts down. W3C trace context goes in and out as the ``traceparent`` text that our frames and gRPC metadata carry.

Redaction is a log processor, so that no caller can forget it: byte strings are shown by their length, values under a
telling name not at all, and what looks like key material, a signature or a full address keeps only its two ends.
"""

import json
import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Span, SpanKind, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

SPAN_FILE_BYTES_MAX = 64 * 1024 * 1024  # then it is moved aside once; a development aid never fills a disk
SPAN_EXPORT_DELAY_MS = 200  # how long a finished span waits for company
SPAN_QUEUE_MAX = 8192  # spans beyond it are dropped: telemetry never slows a signature down
LOG_VALUE_CHARS_MAX = 2048  # a peer's text does not decide how large a log line is
LOG_DEPTH_MAX = 4

REDACTED = "[redacted]"

_SECRET_NAMES = re.compile(
    r"secret|share|token|passphrase|password|pepper|seed|private|nonce|authorization|(?:^|_)(?:pin|dek|kek)(?:$|_(?!kind))",
    re.IGNORECASE,
)
_OPAQUE_RUN = re.compile(r"(?:0x)?[0-9A-Za-z]{40,}(?:[+/][0-9A-Za-z+/]*)?=*|[0-9A-Za-z+/]{43}=")
_ENDS_CHARS = 6
_INTEGER_BOUND = 2**64  # counts and times are below; a scalar is above
_PROPAGATOR = TraceContextTextMapPropagator()
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["json", "console"]


class JsonLinesSpanExporter(SpanExporter):
    """Appends each finished span to a file as one line of JSON; several processes may share the file.

    A batch is one write to a descriptor opened for appending, so that lines of different processes do not mix. A file
    over its bound is renamed to ``<name>.1``, replacing the one before.
    """

    def __init__(self, path: Path, bytes_max: int = SPAN_FILE_BYTES_MAX) -> None:
        self._path = path
        self._bytes_max = bytes_max
        self._descriptor = self._open()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write the batch; a full disk loses spans and nothing else."""
        lines = "".join(json.dumps(span_record(span), separators=(",", ":")) + "\n" for span in spans).encode()
        try:
            if os.fstat(self._descriptor).st_size + len(lines) > self._bytes_max:
                self._rotate()
            os.write(self._descriptor, lines)
        except OSError:
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Close the file; called once."""
        os.close(self._descriptor)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _rotate(self) -> None:
        # Another process may have rotated already: then ours is the old file, and only the descriptor is changed.
        if os.fstat(self._descriptor).st_ino == self._path.stat().st_ino:
            self._path.replace(self._path.with_name(self._path.name + ".1"))
        os.close(self._descriptor)
        self._descriptor = self._open()


def span_record(span: ReadableSpan) -> dict[str, Any]:
    """A finished span as plain JSON values; ids in hex as W3C writes them, times in nanoseconds since the epoch."""
    context = span.get_span_context()
    parent = span.parent
    return {
        "trace_id": trace.format_trace_id(context.trace_id) if context else "",
        "span_id": trace.format_span_id(context.span_id) if context else "",
        "parent_span_id": trace.format_span_id(parent.span_id) if parent else "",
        "service": str(span.resource.attributes.get("service.name", "")),
        "instance": str(span.resource.attributes.get("service.instance.id", "")),
        "name": span.name,
        "kind": span.kind.name.lower(),
        "start_ns": span.start_time,
        "end_ns": span.end_time,
        "status": span.status.status_code.name.lower(),
        "attributes": {name: _plain(value) for name, value in (span.attributes or {}).items()},
        "events": [{"name": event.name, "time_ns": event.timestamp} for event in span.events],
    }


def _plain(value: object) -> object:
    return value if isinstance(value, bool | int | float | str) else str(value)


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What a process traces with; :meth:`shutdown` delivers what is still queued."""

    tracer: Tracer
    provider: TracerProvider

    def shutdown(self) -> None:
        """Deliver queued spans and stop the exporters' threads. Blocks for at most a few seconds."""
        self.provider.shutdown()

    @contextmanager
    def span(
        self,
        name: str,
        parent: Span | str = "",
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        **attributes: str | float,
    ) -> Iterator[Span]:
        """A span below ``parent``: another one, or what a ``traceparent`` names; a root where that does not parse."""
        context = context_of(parent) if isinstance(parent, str) else trace.set_span_in_context(parent, Context())
        with self.tracer.start_as_current_span(name, context=context, kind=kind, attributes=attributes) as span:
            yield span


def start_telemetry(
    service: str,
    instance: str,
    *,
    otlp_endpoint: str | None = None,
    span_file: Path | None = None,
    log_level: LogLevel = "info",
    log_format: LogFormat = "json",
) -> Telemetry:
    """Configure logging for this process and make its tracer.

    ``service`` is the kind of process ("keyquorum-party"), ``instance`` its name in the roster. Spans go to the OTLP
    gRPC endpoint, to the JSON-lines file, to both, or nowhere. A plaintext OTLP endpoint is for loopback collectors:
    anything but ``https://`` is dialled without TLS.
    """
    configure_logging(service, instance, level=log_level, log_format=log_format)
    provider = TracerProvider(
        resource=Resource.create({"service.name": service, "service.instance.id": instance}),
        shutdown_on_exit=False,
    )
    if otlp_endpoint is not None:
        insecure = not otlp_endpoint.startswith("https://")
        provider.add_span_processor(_batched(OTLPSpanExporter(endpoint=otlp_endpoint, insecure=insecure)))
    if span_file is not None:
        provider.add_span_processor(_batched(JsonLinesSpanExporter(span_file)))
    return Telemetry(tracer=provider.get_tracer("keyquorum_core_signer"), provider=provider)


def _batched(exporter: SpanExporter) -> BatchSpanProcessor:
    return BatchSpanProcessor(exporter, max_queue_size=SPAN_QUEUE_MAX, schedule_delay_millis=SPAN_EXPORT_DELAY_MS)


def context_of(traceparent: str) -> Context:
    """The trace context that a ``traceparent`` names; an empty one where it does not parse."""
    return _PROPAGATOR.extract({"traceparent": traceparent}, context=Context())


def traceparent_of(span: Span) -> str:
    """The ``traceparent`` that makes others' spans children of ``span``; empty for one that is not recorded anywhere."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, context=trace.set_span_in_context(span, Context()))
    return carrier.get("traceparent", "")


def configure_logging(service: str, instance: str, *, level: LogLevel, log_format: LogFormat) -> None:
    """Send structlog's lines to standard error, redacted, with the service, the instance and the trace they belong to."""

    def identify(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["service"] = service
        event["instance"] = instance
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            event["trace_id"] = trace.format_trace_id(context.trace_id)
        return event

    renderer: Any = (
        structlog.processors.JSONRenderer(default=repr)
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            redact,
            identify,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: nothing secret, no token, no share and no full address leaves through a log line."""
    for name in event:
        event[name] = _redacted(name, event[name], LOG_DEPTH_MAX)
    return event


def _redacted(name: str, value: object, depth: int) -> object:
    if name not in ("event", "exception") and _SECRET_NAMES.search(name):
        return REDACTED
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return _redacted_container(value, depth)
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if abs(value) < _INTEGER_BOUND else REDACTED
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    text = value if isinstance(value, str) else repr(value)
    return _OPAQUE_RUN.sub(_ends, text)[:LOG_VALUE_CHARS_MAX]


def _redacted_container(value: Mapping[Any, object] | Iterable[object], depth: int) -> object:
    if depth == 0:
        return REDACTED
    if isinstance(value, Mapping):
        return {str(key): _redacted(str(key), item, depth - 1) for key, item in value.items()}
    return [_redacted("", item, depth - 1) for item in value]


def _ends(match: re.Match[str]) -> str:
    text = match.group()
    return f"{text[:_ENDS_CHARS]}…{text[-_ENDS_CHARS:]}"
