"""What is counted is served, on the port that was asked for and no longer than asked for."""

import asyncio
import urllib.error
import urllib.request

import pytest

from keyquorum_core_signer.coordinator.breaker import BreakerState
from keyquorum_core_signer.coordinator.metrics import Metrics, MetricsServer
from keyquorum_core_signer.coordinator.states import State


def value(metrics, name, **labels):
    return metrics.registry.get_sample_value(f"keyquorum_coordinator_{name}", labels)


def test_operations_are_counted_from_beginning_to_end():
    """In flight while they run, then in the histogram of their outcome."""
    metrics = Metrics()
    metrics.operation_began()
    metrics.operation_began()
    assert value(metrics, "operations_in_flight") == 2
    metrics.stage_ended("sign", "eddsa_ed25519", State.SIGN_ROUND1, 0.004)
    metrics.stage_ended("sign", "eddsa_ed25519", State.SIGN_ROUND1, 0.004)
    metrics.operation_ended("sign", "eddsa_ed25519", "complete", 0.012)
    labels = {"kind": "sign", "scheme": "eddsa_ed25519"}
    assert value(metrics, "operations_in_flight") == 1
    assert value(metrics, "operation_seconds_count", outcome="complete", **labels) == 1
    assert value(metrics, "stage_seconds_count", stage="sign_round1", **labels) == 2
    assert value(metrics, "operation_seconds_bucket", outcome="complete", le="0.01", **labels) == 0
    assert value(metrics, "operation_seconds_bucket", outcome="complete", le="0.015", **labels) == 1


def test_breakers_links_sessions_and_recoveries_have_series():
    """Each under its own name."""
    metrics = Metrics()
    metrics.breaker_changed("party-1", BreakerState.OPEN)
    metrics.breaker_changed("party-1", BreakerState.HALF_OPEN)
    metrics.link_changed("party-1", up=True)
    metrics.session_began()
    metrics.recovering("sign", "party_lost")
    metrics.recovered("sign", 0.03)
    assert value(metrics, "breaker_state", party="party-1") == 1
    assert value(metrics, "breaker_trips_total", party="party-1") == 1
    assert value(metrics, "party_connected", party="party-1") == 1
    assert value(metrics, "sessions_in_flight") == 1
    assert value(metrics, "recoveries_total", kind="sign", cause="party_lost") == 1
    assert value(metrics, "recovery_seconds_count", kind="sign") == 1


async def test_the_endpoint_serves_and_stops():
    """Plain HTTP on loopback; after the stop nobody answers."""
    metrics = Metrics()
    metrics.operation_began()
    server = MetricsServer(metrics, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.port}/metrics"

    def fetch():
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.read().decode()

    assert "keyquorum_coordinator_operations_in_flight 1.0" in await asyncio.to_thread(fetch)
    await asyncio.to_thread(server.stop)
    with pytest.raises(urllib.error.URLError):
        await asyncio.to_thread(fetch)
