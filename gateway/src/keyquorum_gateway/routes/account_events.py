"""What reaches and leaves an account on its chain, as server-sent events."""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, suppress
from typing import Final

from aiohttp import web

from keyquorum_gateway.adapter_calls import READ_S, adapter_call
from keyquorum_gateway.bounds import EVENT_STREAM_HEARTBEAT_S, EVENT_STREAMS_MAX
from keyquorum_gateway.chains import ReadyChain
from keyquorum_gateway.models.accounts import AccountEventModel
from keyquorum_gateway.models.pages import NoQuery
from keyquorum_gateway.problems import Problem
from keyquorum_gateway.routes.endpoint import Endpoint, RateClass
from keyquorum_gateway.routes.requests import parse_query
from keyquorum_gateway.services import EXTRA_HEADERS, PRINCIPAL, SERVICES
from keyquorum_gateway.state.api_keys import Scope
from keyquorum_plugin_api.chain import ChainEvent
from keyquorum_plugin_api.errors import ChainError

_CURSOR: Final = re.compile(r"[!-~]{1,256}")
_CURSOR_LATEST: Final = ""
_LOOK_S: Final = 1.0  # how often an open stream looks whether its client is still there


async def stream_account_events(request: web.Request) -> web.StreamResponse:
    """Events from now on, or from behind ``Last-Event-ID``, for as long as the client stays."""
    parse_query(request, NoQuery)
    services, tenant_id = request.app[SERVICES], request[PRINCIPAL].tenant_id
    account = services.wallets.account(request.match_info["account_id"], tenant_id)
    if account is None:
        raise Problem("not-found", "the tenant has no such account")
    cursor = request.headers.get("Last-Event-ID", _CURSOR_LATEST)
    if cursor and not _CURSOR.fullmatch(cursor):
        raise Problem("bad-request", "Last-Event-ID is the id of an event of this stream")
    chain = services.chains.find(account.chain, tenant_id, at="read").ready()
    if "stream_events" not in chain.info.capabilities:
        raise Problem("unsupported-operation", f"{chain.info.name} streams no events")
    if services.streams.open >= EVENT_STREAMS_MAX:
        raise Problem("busy", "too many event streams are open")
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream; charset=utf-8",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
        }
    )
    response.headers.update(request[EXTRA_HEADERS])

    def is_over() -> bool:
        flag = services.flags.rollout(chain.chain)
        return services.streams.draining or _is_gone(request) or (flag is not None and flag.kill)

    with services.streams.opened(tenant_id):
        async with adapter_call(chain.chain, "health", READ_S):
            await chain.adapter.health()  # an unreachable node is a problem document while it still can be one
        await response.prepare(request)
        with suppress(ConnectionResetError):
            await response.write(b": watching\n\n")
            try:
                async with aclosing(_watched(chain, account.address, cursor, is_over)) as watched:
                    async for event in watched:
                        await response.write(b": still here\n\n" if event is None else _frame(event))
            except ChainError as error:
                await response.write(f"event: error\ndata: {error.code}\n\n".encode())
            await response.write_eof()
    return response


async def _watched(
    chain: ReadyChain, address: str, cursor: str, is_over: Callable[[], bool]
) -> AsyncGenerator[ChainEvent | None, None]:
    """The chain's events, and None in every silence; ends with the chain's stream, or when it is over for another reason."""
    events = chain.adapter.stream_events([address], cursor)
    pending: asyncio.Task[ChainEvent | None] | None = None
    silent_since = time.monotonic()
    try:
        while not is_over():
            pending = pending or asyncio.create_task(_next(chain.chain, events))
            done, _ = await asyncio.wait([pending], timeout=_LOOK_S)
            if done:
                event, pending = pending.result(), None
                if event is None:
                    return
                yield event
            elif time.monotonic() - silent_since < EVENT_STREAM_HEARTBEAT_S:
                continue
            else:
                yield None
            silent_since = time.monotonic()
    finally:
        if pending is not None:
            pending.cancel()
            await asyncio.gather(pending, return_exceptions=True)
        if isinstance(events, AsyncGenerator):
            await events.aclose()


async def _next(chain: str, events: AsyncIterator[ChainEvent]) -> ChainEvent | None:
    """The next event, None at the end; nothing but ``ChainError`` comes out of the adapter."""
    async with adapter_call(chain, "stream_events", None):
        event = await anext(events, None)
        if event is not None and not _CURSOR.fullmatch(event.cursor):
            raise ChainError("the adapter's event has no usable cursor")
        return event


def _frame(event: ChainEvent) -> bytes:
    kind = "removed" if event.removed else "received" if event.amount > 0 else "paid"
    return f"id: {event.cursor}\nevent: {kind}\ndata: {AccountEventModel.of(event).model_dump_json()}\n\n".encode()


def _is_gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


ENDPOINTS: Final = (
    Endpoint(
        "GET",
        "/v1/accounts/{account_id}/events",
        stream_account_events,
        summary="Follow what reaches and leaves an account",
        description=(
            "Server-sent events, one per asset and transaction in the chain's blocks: `received`, `paid`, and `removed` for"
            " one whose block was dropped. `Last-Event-ID` resumes behind that event. `error` carries an error code and ends"
            " the stream."
        ),
        tag="accounts",
        scope=Scope.READ,
        rate=RateClass.READ,
        query=NoQuery,
        responses={200: "text/event-stream"},
        problems=(400, 403, 404, 422, 502, 503),
        headers={"Last-Event-ID": "Resume behind this event."},
        event=AccountEventModel,
    ),
)
