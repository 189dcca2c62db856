"""Operations: state, authorization by a client, and the event stream."""

import asyncio
import re
from typing import Final

from aiohttp import web

from keyquorum_gateway.bounds import EVENT_STREAM_HEARTBEAT_S, EVENT_STREAMS_MAX
from keyquorum_gateway.intents import Authorization
from keyquorum_gateway.models.operations import AuthorizeRequest, EventModel, OperationModel
from keyquorum_gateway.models.pages import NoQuery, PageOf, PageQuery
from keyquorum_gateway.operations.engine import LiveOperation
from keyquorum_gateway.problems import Problem
from keyquorum_gateway.routes.answers import answer
from keyquorum_gateway.routes.endpoint import Endpoint, Idempotency, RateClass
from keyquorum_gateway.routes.requests import page_request, parse_body, parse_query, wait_budget_s
from keyquorum_gateway.services import CLAIM, EXTRA_HEADERS, PRINCIPAL, SERVICES
from keyquorum_gateway.state.api_keys import Scope

_EVENT_ID: Final = re.compile(r"[0-9]{1,9}")


async def list_operations(request: web.Request) -> web.Response:
    """The tenant's operations."""
    query = parse_query(request, PageQuery)
    services = request.app[SERVICES]
    page = services.operations.page(request[PRINCIPAL].tenant_id, page_request(query))
    return answer(
        PageOf[OperationModel](
            items=tuple(OperationModel.of(services.engine.freshest(operation)) for operation in page.items),
            next_page_token=page.next_page_token or None,
        )
    )


async def get_operation(request: web.Request) -> web.Response:
    """One operation as it stands."""
    parse_query(request, NoQuery)
    return answer(OperationModel.of(_find(request).operation))


async def authorize_operation(request: web.Request) -> web.Response:
    """Take the initiator's signature and run the operation on, within the wait budget."""
    wanted = await parse_body(request, AuthorizeRequest)
    services = request.app[SERVICES]
    live = _find(request)
    proof = Authorization(bytes.fromhex(wanted.public_key), bytes.fromhex(wanted.signature))
    services.engine.authorize(live, proof, request.get(CLAIM))
    await services.engine.settle(live, wait_budget_s(request))
    error = live.operation.error
    if live.settled and error is not None:
        raise error.problem(live.operation.id)
    model = OperationModel.of(live.operation)
    done = live.operation.terminal
    return answer(model, status=200 if done else 202, location=f"/v1/operations/{live.operation.id}")


async def stream_events(request: web.Request) -> web.StreamResponse:
    """Server-sent events, from the one after ``Last-Event-ID`` to the terminal one."""
    parse_query(request, NoQuery)
    live = _find(request)
    after = _last_event_id(request)
    streams = request.app[SERVICES].streams
    if streams.open >= EVENT_STREAMS_MAX:
        raise Problem("busy", "too many event streams are open")
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream; charset=utf-8",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
        }
    )
    response.headers.update(request[EXTRA_HEADERS])
    with streams.opened(request[PRINCIPAL].tenant_id):
        await response.prepare(request)
        try:
            async for event in request.app[SERVICES].engine.follow(live, after, EVENT_STREAM_HEARTBEAT_S):
                if event is None:
                    await response.write(b": still here\n\n")
                    continue
                data = EventModel.of(live.operation.id, event).model_dump_json()
                await response.write(f"id: {event.sequence}\nevent: {event.stage}\ndata: {data}\n\n".encode())
            await response.write_eof()
        except (ConnectionResetError, asyncio.CancelledError):
            return response
    return response


def _find(request: web.Request) -> LiveOperation:
    live = request.app[SERVICES].engine.find(request.match_info["operation_id"], request[PRINCIPAL].tenant_id)
    if live is None:
        raise Problem("not-found", "the tenant has no such operation")
    return live


def _last_event_id(request: web.Request) -> int:
    text = request.headers.get("Last-Event-ID", "0")
    if not _EVENT_ID.fullmatch(text):
        raise Problem("bad-request", "Last-Event-ID is the id of an event of this stream")
    return int(text)


ENDPOINTS: Final = (
    Endpoint(
        "GET",
        "/v1/operations",
        list_operations,
        summary="List operations",
        tag="operations",
        scope=Scope.READ,
        rate=RateClass.READ,
        query=PageQuery,
        responses={200: PageOf[OperationModel]},
    ),
    Endpoint(
        "GET",
        "/v1/operations/{operation_id}",
        get_operation,
        summary="Get an operation",
        tag="operations",
        scope=Scope.READ,
        rate=RateClass.READ,
        query=NoQuery,
        responses={200: OperationModel},
        problems=(404,),
    ),
    Endpoint(
        "POST",
        "/v1/operations/{operation_id}/authorization",
        authorize_operation,
        summary="Authorize an operation",
        description=(
            "The initiator's Ed25519 signature over the intent in `awaiting`: over the ASCII tag, a zero byte, and the"
            " intent's bytes. If it comes to nothing for a retriable reason (503), the operation waits again and the same"
            " signature may be sent again."
        ),
        tag="operations",
        scope=Scope.TRANSACT,
        rate=RateClass.WRITE,
        idempotency=Idempotency.REQUIRED,
        body=AuthorizeRequest,
        responses={200: OperationModel, 202: OperationModel},
        problems=(403, 404, 409, 422, 429, 502, 503, 504),
        waits=True,
    ),
    Endpoint(
        "GET",
        "/v1/operations/{operation_id}/events",
        stream_events,
        summary="Follow an operation",
        description=(
            "Server-sent events, one per step, with one for every signing round as it happens. `Last-Event-ID` resumes"
            " after that event; the stream ends with the terminal one."
        ),
        tag="operations",
        scope=Scope.READ,
        rate=RateClass.READ,
        query=NoQuery,
        responses={200: "text/event-stream"},
        problems=(400, 404, 503),
        headers={"Last-Event-ID": "Resume after this event."},
        event=EventModel,
    ),
)
