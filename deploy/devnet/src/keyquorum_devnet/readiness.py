"""Whether the processes of a stack can be used: asked of themselves, over what they serve."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import aiohttp

from keyquorum_devnet.layout import PARTIES
from keyquorum_devnet.ports import HOST

READY_S_MAX: Final = 60.0
_PAUSE_S: Final = 0.05
_REQUEST_S_MAX: Final = 5.0


class NotReady(Exception):
    """A process did not become usable in time; the text names it and the last thing it said."""


async def until_ready(name: str, probe: Callable[[], Awaitable[bool]], alive: Callable[[], bool]) -> float:
    """Seconds until ``probe`` holds; :class:`NotReady` after a minute, or as soon as the process is gone."""
    began = time.monotonic()
    while time.monotonic() - began < READY_S_MAX:
        if await probe():
            return time.monotonic() - began
        if not alive():
            raise NotReady(f"{name} ended while it was starting")
        await asyncio.sleep(_PAUSE_S)
    raise NotReady(f"{name} was not ready within {READY_S_MAX:.0f} s")


async def listens(port: int) -> bool:
    """Whether something accepts connections on a loopback port."""
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    return True


async def get_json(session: aiohttp.ClientSession, url: str, api_key: str = "") -> Any:
    """The answer to a GET, or None where there is none."""
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        async with session.get(url, headers=headers, timeout=aiohttp.ClientTimeout(total=_REQUEST_S_MAX)) as answer:
            return await answer.json() if answer.ok else None
    except (aiohttp.ClientError, TimeoutError):
        return None


async def quorum_stands(
    session: aiohttp.ClientSession, base_url: str, api_key: str, wanted: int = len(PARTIES)
) -> bool:
    """Whether the gateway sees at least ``wanted`` parties, connected with each other."""
    answer = await get_json(session, f"{base_url}/v1/parties", api_key)
    if not isinstance(answer, dict):
        return False
    connected = [party for party in answer.get("items", []) if party.get("connected")]
    return len(connected) >= wanted and all(len(party.get("channels", [])) >= wanted - 1 for party in connected)
