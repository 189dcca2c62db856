"""Liveness, readiness and metrics."""

from typing import Final

from aiohttp import web
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from keyquorum_gateway.models.platform import HealthModel, ReadinessModel
from keyquorum_gateway.problems import Problem
from keyquorum_gateway.routes.answers import answer
from keyquorum_gateway.routes.endpoint import Endpoint
from keyquorum_gateway.services import METRICS, SERVICES
from keyquorum_gateway.state.api_keys import Scope
from keyquorum_plugin_api.signer import SigningError


async def healthz(_request: web.Request) -> web.Response:
    """The process answers."""
    return answer(HealthModel(status="ok"))


async def readyz(request: web.Request) -> web.Response:
    """The coordinator answers and serves the pinned roster. A chain that is down is shown, and does not count."""
    services = request.app[SERVICES]
    checks = {f"chain {chain.chain}": chain.state.value for chain in services.chains}
    checks["chain flags"] = services.flags.health
    try:
        view = await services.readiness.parties()
    except SigningError as error:
        checks["coordinator"] = error.code
    else:
        checks["coordinator"] = "ok" if services.readiness.matches(view) else "another roster"
        checks["parties"] = f"{sum(party.connected for party in view.parties)} of {len(view.parties)} connected"
    ready = checks["coordinator"] == "ok"
    return answer(ReadinessModel(status="ready" if ready else "not-ready", checks=checks), status=200 if ready else 503)


async def metrics(request: web.Request) -> web.Response:
    """Prometheus series."""
    services = request.app[SERVICES]
    if not services.config.telemetry.metrics_public:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        principal = services.api_keys.recognise(key.strip()) if scheme.lower() == "bearer" else None
        if principal is None:
            raise Problem("authentication-required", headers={"WWW-Authenticate": 'Bearer realm="keyquorum"'})
        if Scope.ADMIN not in principal.scopes:
            raise Problem("insufficient-scope", "the key lacks the scope admin")
    body = generate_latest(request.app[METRICS].registry)
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


ENDPOINTS: Final = (
    Endpoint("GET", "/healthz", healthz, summary="Is the process alive", tag="health", responses={200: HealthModel}),
    Endpoint(
        "GET",
        "/readyz",
        readyz,
        summary="Can requests be served",
        tag="health",
        responses={200: ReadinessModel, 503: ReadinessModel},
    ),
    Endpoint(
        "GET",
        "/metrics",
        metrics,
        summary="Prometheus metrics",
        description="Needs an API key with the scope admin, unless `telemetry.metrics_public` is set.",
        tag="health",
        responses={200: "text/plain"},
        problems=(401, 403),
    ),
)
