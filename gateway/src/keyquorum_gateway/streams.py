"""Counts open event streams, so that there can be a limit on them."""

from types import TracebackType

from keyquorum_gateway.telemetry import Metrics


class EventStreams:
    """Entered once per stream, for as long as it is open."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self.open = 0

    def __enter__(self) -> None:
        self._count(1)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._count(-1)

    def _count(self, change: int) -> None:
        self.open += change
        self._metrics.event_streams.set(self.open)
