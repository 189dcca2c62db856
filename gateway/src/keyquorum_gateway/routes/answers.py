"""Writing responses."""

import asyncio
from collections.abc import Callable
from typing import Final

from aiohttp import web
from pydantic import BaseModel

from keyquorum_gateway.models.operations import OperationModel
from keyquorum_gateway.operations.engine import LiveOperation, OperationEngine
from keyquorum_gateway.operations.record import OperationState
from keyquorum_gateway.problems import Problem
from keyquorum_gateway.state.database import StateUnavailable

_DURABLE_RETRY_S: Final = 0.25


def answer(model: BaseModel, *, status: int = 200, location: str = "") -> web.Response:
    """A model as JSON."""
    return web.Response(
        status=status,
        body=model.model_dump_json().encode(),
        content_type="application/json",
        headers={"Location": location} if location else None,
    )


async def operation_answer(
    engine: OperationEngine, live: LiveOperation, wait_s: float, made: Callable[[], web.Response]
) -> web.Response:
    """What was made, if the operation ends within the wait budget; its problem, if it failed; else 202 and the operation.

    Before an id leaves with 202, the operation is durable.
    """
    operation = live.operation
    settled = await engine.settle(live, wait_s)
    if settled and operation.state is OperationState.SUCCEEDED:
        return made()
    if settled and operation.state is OperationState.FAILED:
        if operation.error is None:
            raise Problem("internal", operation_id=operation.id)
        raise operation.error.problem(operation.id if live.queued else "")
    while not live.durable:
        try:
            await engine.make_durable(live)
        except StateUnavailable:  # "nothing happened" would be a lie while it runs: it ends now, or becomes durable
            await asyncio.sleep(_DURABLE_RETRY_S)
            if live.settled:
                return await operation_answer(engine, live, 0, made)
    return answer(OperationModel.of(operation), status=202, location=f"/v1/operations/{operation.id}")
