"""Bounds a request before anything looks at it: media type, size, and time to arrive."""

import asyncio
from typing import Any

from aiohttp import web

from keyquorum_gateway.bounds import BODY_READ_S
from keyquorum_gateway.problems import Problem
from keyquorum_gateway.routes.endpoint import ENDPOINT, Handler


def limits() -> Any:
    """Reads the whole body, of at most the application's ``client_max_size``, so that later steps have it at once."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        endpoint = request.get(ENDPOINT)
        if endpoint is not None and request.body_exists:
            if endpoint.body is not None and request.content_type != "application/json":
                raise Problem("unsupported-media-type")
            size = request.content_length
            if size is not None and size > request.client_max_size:
                raise Problem("body-too-large", f"at most {request.client_max_size} bytes are taken")
            try:
                async with asyncio.timeout(BODY_READ_S):
                    await request.read()
            except TimeoutError:
                raise Problem("request-timeout", headers={"Connection": "close"}) from None
        return await handler(request)

    return middleware
