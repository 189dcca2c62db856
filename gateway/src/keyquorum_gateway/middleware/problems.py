"""Whatever goes wrong leaves as problem+json; what nobody expected leaves without a word about its inside."""

import asyncio
from typing import Any

import structlog
from aiohttp import web

from keyquorum_gateway.problems import MEDIA_TYPE, OperationFailed, Problem, problem_of
from keyquorum_gateway.routes.endpoint import Handler
from keyquorum_gateway.services import TRACE_ID
from keyquorum_plugin_api.errors import ChainError
from keyquorum_plugin_api.signer import SigningError

_HTTP_CODES = {
    400: "bad-request",
    404: "not-found",
    405: "method-not-allowed",
    406: "not-acceptable",
    408: "request-timeout",
    413: "body-too-large",
    415: "unsupported-media-type",
}
_HTTP_DETAILS = {
    404: "there is nothing at this path",
    405: "the resource has no such method",
    413: "the body is larger than is allowed",
}


def problems() -> Any:
    """Turns exceptions into responses."""
    log: Any = structlog.get_logger("keyquorum_gateway.requests")

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            problem = as_problem(error)
            if problem.status == 500:
                log.exception("request.failed", trace_id=request[TRACE_ID], method=request.method, exc_info=error)
            return problem_response(request, problem)

    return middleware


def as_problem(error: Exception) -> Problem:
    """Any exception as a problem. An unknown one shows its code, ``internal``, and nothing else."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, ChainError | SigningError | OperationFailed):
        return problem_of(error)
    if isinstance(error, web.HTTPException):
        code = _HTTP_CODES.get(error.status, "bad-request" if error.status < 500 else "internal")
        allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return Problem(code, _HTTP_DETAILS.get(error.status, ""), status=error.status, headers=allow)
    return Problem("internal", "an unexpected error; the log has it under the trace id")


def problem_response(request: web.Request, problem: Problem) -> web.Response:
    """The response for a problem."""
    return web.Response(
        status=problem.status,
        body=problem.body(request.path, request[TRACE_ID]),
        content_type=MEDIA_TYPE,
        headers=problem.headers,
    )
