"""A host for one adapter: what the gateway gives it, in memory."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from keyquorum_plugin_api.chain import ChainContext, Clock, Reservations
from keyquorum_plugin_api.signer import Signer


class SystemClock:
    """The time of this machine."""

    def now(self) -> float:
        """Seconds since the Unix epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


@dataclass(slots=True)
class RecordingLogger:
    """Keeps what was logged."""

    records: list[tuple[str, str, Mapping[str, Any]]] = field(default_factory=list)

    def info(self, event: str, **fields: Any) -> None:
        """Something happened."""
        self.records.append(("info", event, fields))

    def warning(self, event: str, **fields: Any) -> None:
        """Something is off."""
        self.records.append(("warning", event, fields))


class MemoryReservations:
    """Reservations of one process; atomic, as nothing here awaits."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: dict[tuple[str, str, str], tuple[str, float]] = {}

    async def reserve(self, chain: str, account: str, item: str, owner: str, ttl_s: float) -> bool:
        """Whether ``owner`` now holds ``item``."""
        now = self._clock.monotonic()
        holder, until = self._held.get((chain, account, item), (owner, now))
        if holder != owner and until > now:
            return False
        self._held[chain, account, item] = (owner, now + ttl_s)
        return True

    async def release(self, chain: str, account: str, item: str, owner: str) -> None:
        """Give ``item`` back, if ``owner`` holds it."""
        if self._held.get((chain, account, item), ("", 0.0))[0] == owner:
            del self._held[chain, account, item]

    async def held(self, chain: str, account: str) -> Mapping[str, str]:
        """Item to owner."""
        now = self._clock.monotonic()
        return {
            item: owner
            for (held_chain, held_account, item), (owner, until) in self._held.items()
            if (held_chain, held_account) == (chain, account) and until > now
        }


def local_context(
    chain: str,
    signer: Signer,
    http: Any,
    config: Mapping[str, Any],
    *,
    clock: Clock | None = None,
    reservations: Reservations | None = None,
) -> ChainContext:
    """A context for an adapter under test. ``http`` is an aiohttp.ClientSession that the test owns."""
    clock = clock or SystemClock()
    return ChainContext(
        chain=chain,
        signer=signer,
        http=http,
        clock=clock,
        log=RecordingLogger(),
        reservations=reservations or MemoryReservations(clock),
        config=config,
    )
