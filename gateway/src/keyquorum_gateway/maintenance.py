"""What is done now and then: old idempotency records are forgotten, and the coordinator's state is measured."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import structlog

from keyquorum_gateway.problems import OperationFailed
from keyquorum_gateway.services import Services
from keyquorum_plugin_api.signer import SigningError

EVERY_S: Final = 10.0


@asynccontextmanager
async def maintenance(services: Services) -> AsyncIterator[None]:
    """Runs beside the server until it is left."""
    task = asyncio.create_task(_forever(services), name="maintenance")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _forever(services: Services) -> None:
    log: Any = structlog.get_logger("keyquorum_gateway.maintenance")
    was_up, matched = True, True
    while True:
        try:
            view = await services.readiness.parties()
        except SigningError as error:
            if was_up:
                log.warning("coordinator.lost", reason=error.code)
            was_up = False
        else:
            if not was_up:
                log.info("coordinator.back")
            was_up = True
            if matched and not services.readiness.matches(view):
                log.error("coordinator.other_roster", roster_hash=view.roster_hash.hex())
            matched = services.readiness.matches(view)
        try:
            await services.idempotency.purge()
        except OperationFailed as error:
            log.warning("idempotency.purge_failed", reason=error.detail)
        await asyncio.sleep(EVERY_S)
