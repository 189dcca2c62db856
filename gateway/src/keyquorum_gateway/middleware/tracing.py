"""A span per request, its trace id for problems and logs, the request histogram, and a line of log for what changes."""

import time
from typing import Any, Final

import structlog
from aiohttp import web
from opentelemetry import context as otel_context
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from keyquorum_gateway.routes.endpoint import ENDPOINT, ENDPOINTS, Handler
from keyquorum_gateway.services import EXTRA_HEADERS, PRINCIPAL, TRACE_ID, Headers
from keyquorum_gateway.telemetry import Metrics

_UNMATCHED: Final = "unmatched"
_QUIET: Final = frozenset({"GET", "HEAD", _UNMATCHED})
_ALWAYS: Final = {"Server": "keyquorum", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def tracing(tracer: Tracer, metrics: Metrics) -> Any:
    """The outermost middleware: what it measures is what the client waits for."""
    propagator = TraceContextTextMapPropagator()
    series: dict[tuple[str, str, int], Any] = {}
    log: Any = structlog.get_logger("keyquorum_gateway.requests")

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.perf_counter()
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else _UNMATCHED
        method = request.method if resource is not None else _UNMATCHED
        parent = propagator.extract(request.headers) if "traceparent" in request.headers else None
        span = tracer.start_span(f"{method} {route}", context=parent, kind=SpanKind.SERVER)
        context = span.get_span_context()
        trace_id = format(context.trace_id, "032x")
        request[TRACE_ID] = trace_id
        endpoint = request.app[ENDPOINTS].get(request.match_info.handler)
        if endpoint is not None:
            request[ENDPOINT] = endpoint
        traceparent = f"00-{trace_id}-{context.span_id:016x}-{context.trace_flags:02x}"
        headers = request[EXTRA_HEADERS] = Headers(_ALWAYS, Traceparent=traceparent)
        token = otel_context.attach(set_span_in_context(span))
        status = 500
        try:
            response = await handler(request)
            status = response.status
            if not response.prepared:
                if "Cache-Control" in response.headers:
                    del headers["Cache-Control"]
                response.headers.update(headers)
            return response
        finally:
            otel_context.detach(token)
            if span.is_recording():
                span.set_attributes(
                    {"http.request.method": method, "http.route": route, "http.response.status_code": status}
                )
                if status >= 500:
                    span.set_status(Status(StatusCode.ERROR))
            span.end()
            key = (method, route, status)
            histogram = series.get(key)
            if histogram is None:
                histogram = series[key] = metrics.requests.labels(method, route, str(status))
            elapsed_s = time.perf_counter() - started
            histogram.observe(elapsed_s)
            if status >= 500 or method not in _QUIET:
                principal = request.get(PRINCIPAL)
                log.info(
                    "request",
                    method=method,
                    route=route,
                    status=status,
                    duration_ms=round(elapsed_s * 1000, 3),
                    trace_id=trace_id,
                    tenant_id=principal.tenant_id if principal else None,
                    key_id=principal.key_id if principal else None,
                )

    return middleware
