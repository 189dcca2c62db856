"""Rate limits, with the headers of draft-ietf-httpapi-ratelimit-headers-10."""

from typing import Any

from aiohttp import web

from keyquorum_gateway.problems import Problem
from keyquorum_gateway.routes.endpoint import ENDPOINT, Handler
from keyquorum_gateway.services import EXTRA_HEADERS, PRINCIPAL, SERVICES
from keyquorum_gateway.telemetry import Metrics


def rate_limit(metrics: Metrics) -> Any:
    """Takes each authenticated request from its budgets."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        endpoint = request.get(ENDPOINT)
        if endpoint is not None and endpoint.rate is not None and PRINCIPAL in request:
            verdict = await request.app[SERVICES].rates.take(endpoint.rate, request[PRINCIPAL])
            headers = request[EXTRA_HEADERS]
            headers["RateLimit-Policy"] = verdict.policy_header
            headers["RateLimit"] = verdict.limit_header
            if verdict.policy:
                metrics.rate_limited.labels(verdict.policy).inc()
                retry_after = {"Retry-After": str(verdict.retry_after_s)}
                raise Problem("rate-limited", f"the budget {verdict.policy} is used up", headers=retry_after)
        return await handler(request)

    return middleware
