"""Calls into adapters: a deadline on each, and nothing but typed errors out of them.

An adapter is somebody else's code that talks to somebody else's node. Whatever it raises besides the contract's errors
is logged and becomes ``chain-error``; whatever takes too long becomes ``chain-unavailable``.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog

from keyquorum_plugin_api.errors import ChainError, ChainUnavailable
from keyquorum_plugin_api.signer import SigningError

READ_S: Final = 10.0
BUILD_S: Final = 20.0
SUBMIT_S: Final = 20.0
DISCARD_S: Final = 5.0


class AdapterFailed(ChainError):
    """The adapter raised what its contract does not know: nothing follows from it, not even that nothing happened."""


@asynccontextmanager
async def adapter_call(chain: str, what: str, deadline_s: float | None) -> AsyncIterator[None]:
    """Run the body under a deadline; it raises ``ChainError`` and ``SigningError`` only."""
    try:
        async with asyncio.timeout(deadline_s):
            yield
    except (ChainError, SigningError):
        raise
    except TimeoutError:
        raise ChainUnavailable(f"{what} took longer than {deadline_s:g} s") from None
    except Exception as error:
        log: Any = structlog.get_logger("keyquorum_gateway.adapter")
        log.exception("adapter.failed", chain=chain, call=what)
        raise AdapterFailed(f"the chain's adapter failed in {what} ({type(error).__name__})") from None
