"""What a coordinator counts, for Prometheus. Every series is named in docs/metrics.md."""

from threading import Thread
from typing import Final
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from keyquorum_core_signer.coordinator.breaker import BreakerState
from keyquorum_core_signer.coordinator.states import State

_LATENCY_S: Final = (0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0)


class Metrics:
    """One registry per coordinator, so that nothing global is shared between two in one process."""

    def __init__(self) -> None:
        self.registry: Final = CollectorRegistry()
        self._operations = Histogram(
            "keyquorum_coordinator_operation_seconds",
            "From an operation's acceptance to its terminal state",
            ("kind", "scheme", "outcome"),
            buckets=_LATENCY_S,
            registry=self.registry,
        )
        self._stages = Histogram(
            "keyquorum_coordinator_stage_seconds",
            "How long operations stay in a state",
            ("kind", "scheme", "stage"),
            buckets=_LATENCY_S,
            registry=self.registry,
        )
        self._recoveries = Counter(
            "keyquorum_coordinator_recoveries",
            "Quorums replaced under the same intent",
            ("kind", "cause"),
            registry=self.registry,
        )
        self._stage_of: dict[
            tuple[str, str, State], Histogram
        ] = {}  # a look-up by label costs more than an observation
        self._recovered = Histogram(
            "keyquorum_coordinator_recovery_seconds",
            "From an operation's first failed quorum to its completion",
            ("kind",),
            buckets=_LATENCY_S,
            registry=self.registry,
        )
        self._in_flight = Gauge(
            "keyquorum_coordinator_operations_in_flight", "Operations that run now", registry=self.registry
        )
        self._sessions = Gauge(
            "keyquorum_coordinator_sessions_in_flight", "Protocol sessions that run now", registry=self.registry
        )
        self._breakers = Gauge(
            "keyquorum_coordinator_breaker_state", "0 closed, 1 half open, 2 open", ("party",), registry=self.registry
        )
        self._trips = Counter(
            "keyquorum_coordinator_breaker_trips",
            "How often a party's breaker opened",
            ("party",),
            registry=self.registry,
        )
        self._connected = Gauge(
            "keyquorum_coordinator_party_connected", "Whether the link stands", ("party",), registry=self.registry
        )

    def operation_began(self) -> None:
        """An operation runs."""
        self._in_flight.inc()

    def operation_ended(self, kind: str, scheme: str, outcome: str, seconds: float) -> None:
        """An operation reached its terminal state; ``outcome`` is "complete" or the failure's code."""
        self._in_flight.dec()
        self._operations.labels(kind, scheme, outcome).observe(seconds)

    def stage_ended(self, kind: str, scheme: str, stage: State, seconds: float) -> None:
        """An operation left a state."""
        series = self._stage_of.get((kind, scheme, stage))
        if series is None:
            series = self._stage_of[kind, scheme, stage] = self._stages.labels(kind, scheme, stage.name.lower())
        series.observe(seconds)

    def session_began(self) -> None:
        """A quorum was asked to start."""
        self._sessions.inc()

    def session_ended(self) -> None:
        """Nobody waits for that quorum any more."""
        self._sessions.dec()

    def recovering(self, kind: str, cause: str) -> None:
        """A quorum failed and may be replaced."""
        self._recoveries.labels(kind, cause).inc()

    def recovered(self, kind: str, seconds: float) -> None:
        """An operation is complete although a quorum failed, so long after that."""
        self._recovered.labels(kind).observe(seconds)

    def breaker_changed(self, node_id: str, state: BreakerState) -> None:
        """A party's breaker changed."""
        self._breakers.labels(node_id).set(state.value)
        if state is BreakerState.OPEN:
            self._trips.labels(node_id).inc()

    def link_changed(self, node_id: str, *, up: bool) -> None:
        """A party's link came up or went down."""
        self._connected.labels(node_id).set(up)


class MetricsServer:
    """Serves ``/metrics`` in plain HTTP, on loopback only: configuration refuses any other address."""

    def __init__(self, metrics: Metrics, host: str, port: int) -> None:
        server, thread = start_http_server(port, host, metrics.registry)
        self._server: WSGIServer = server
        self._thread: Thread = thread

    @property
    def port(self) -> int:
        """Where it listens; of use where the system chose."""
        return self._server.server_port

    def stop(self) -> None:
        """Stop serving and close the socket."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
