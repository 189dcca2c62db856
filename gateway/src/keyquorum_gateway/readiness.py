"""Whether the coordinator answers and serves the roster that is pinned here; asked at most every two seconds."""

import asyncio
import time

from keyquorum_gateway.bounds import READINESS_CACHE_S
from keyquorum_gateway.roster import Roster
from keyquorum_gateway.signer_client import PartiesView, SignerClient
from keyquorum_gateway.telemetry import Metrics
from keyquorum_plugin_api.signer import SigningError


class Readiness:
    """The coordinator's latest answer about the parties."""

    def __init__(self, client: SignerClient, roster: Roster, metrics: Metrics) -> None:
        self._client = client
        self._roster = roster
        self._metrics = metrics
        self._lock = asyncio.Lock()
        self._asked = -READINESS_CACHE_S
        self._view: PartiesView | None = None
        self._error: SigningError | None = None

    async def parties(self) -> PartiesView:
        """The parties; ``SigningError`` where the coordinator did not answer."""
        async with self._lock:
            if time.monotonic() - self._asked >= READINESS_CACHE_S:
                await self._ask()
        if self._view is None:
            raise self._error or SigningError("coordinator-unavailable", "the coordinator was not asked yet")
        return self._view

    def matches(self, view: PartiesView) -> bool:
        """Whether the coordinator serves the pinned roster."""
        return (view.cell_id, view.roster_hash) == (self._roster.cell_id, self._roster.roster_hash)

    async def _ask(self) -> None:
        try:
            self._view, self._error = await self._client.parties(), None
        except SigningError as error:
            self._view, self._error = None, error
        self._asked = time.monotonic()
        self._metrics.coordinator_up.set(self._view is not None)
        connected = sum(party.connected for party in self._view.parties) if self._view else 0
        self._metrics.parties_connected.set(connected)
