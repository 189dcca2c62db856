"""Counts open event streams, so that there can be a limit on all of them and on those of one tenant."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from keyquorum_gateway.bounds import EVENT_STREAMS_PER_TENANT_MAX
from keyquorum_gateway.problems import Problem
from keyquorum_gateway.telemetry import Metrics


class EventStreams:
    """Open streams. Those that have no end of their own look at ``draining``."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._of: Counter[str] = Counter()
        self.open = 0
        self.draining = False  # the gateway stops, and waits for whoever is still being answered

    @contextmanager
    def opened(self, tenant_id: str) -> Iterator[None]:
        """Around a stream, for as long as it is open; a 503 problem where its tenant has too many."""
        if self._of[tenant_id] >= EVENT_STREAMS_PER_TENANT_MAX:
            raise Problem("busy", "the tenant has too many event streams open")
        self._count(tenant_id, 1)
        try:
            yield
        finally:
            self._count(tenant_id, -1)

    def _count(self, tenant_id: str, change: int) -> None:
        self.open += change
        self._of[tenant_id] += change
        if not self._of[tenant_id]:
            del self._of[tenant_id]
        self._metrics.event_streams.set(self.open)
