"""The breaker's table, row by row, and its promise of exactly one probe."""

import asyncio

import pytest

from keyquorum_core_signer.coordinator.breaker import BreakerPolicy, BreakerState, CircuitBreaker, Outcome


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def make(clock, *, jitter=0.0, seen=None):
    policy = BreakerPolicy(failures_max=3, reset_s=1.0, reset_s_max=8.0)
    return CircuitBreaker(policy, clock, lambda: jitter, (seen if seen is not None else []).append)


def fail(breaker, times):
    for _ in range(times):
        breaker.admit().settle(Outcome.FAILURE)


def opened(clock, **kwargs):
    breaker = make(clock, **kwargs)
    fail(breaker, 3)
    return breaker


def test_three_consecutive_failures_open(clock):
    """Two failures leave it closed, the third opens it, and then nobody is admitted."""
    breaker = make(clock)
    fail(breaker, 2)
    assert breaker.state is BreakerState.CLOSED
    fail(breaker, 1)
    assert breaker.state is BreakerState.OPEN
    assert breaker.admit() is None
    assert not breaker.admits()
    assert breaker.retry_in() == pytest.approx(1.0)


def test_a_success_starts_the_count_again(clock):
    """Failures that are not consecutive never open it."""
    breaker = make(clock)
    for _ in range(10):
        fail(breaker, 2)
        breaker.admit().settle(Outcome.SUCCESS)
    assert breaker.state is BreakerState.CLOSED


def test_cancellations_are_not_failures(clock):
    """Neither do they count, nor do they forgive."""
    breaker = make(clock)
    fail(breaker, 2)
    for _ in range(10):
        breaker.admit().settle(Outcome.CANCELLED)
    assert breaker.state is BreakerState.CLOSED
    fail(breaker, 1)
    assert breaker.state is BreakerState.OPEN


def test_exactly_one_probe_after_the_time_out(clock):
    """At the time-out one caller is admitted; the others wait for what it finds."""
    breaker = opened(clock)
    clock.now += 0.999
    assert breaker.admit() is None
    clock.now += 0.001
    probe = breaker.admit()
    assert probe is not None
    assert breaker.state is BreakerState.HALF_OPEN
    assert [breaker.admit() for _ in range(50)] == [None] * 50
    clock.now += 1000
    assert breaker.admit() is None
    probe.settle(Outcome.SUCCESS)
    assert breaker.state is BreakerState.CLOSED
    assert breaker.admit() is not None


async def test_fifty_concurrent_callers_make_one_probe(clock):
    """Fifty tasks that call the party at once when the time-out has passed reach it once."""
    breaker = opened(clock)
    clock.now += 1.0
    reached = 0
    start = asyncio.Event()

    async def call():
        nonlocal reached
        await start.wait()
        permit = breaker.admit()
        if permit is None:
            return
        reached += 1
        await asyncio.sleep(0.01)
        permit.settle(Outcome.FAILURE)

    tasks = [asyncio.create_task(call()) for _ in range(50)]
    start.set()
    await asyncio.gather(*tasks)
    assert reached == 1
    assert breaker.state is BreakerState.OPEN


def test_failed_probes_back_off_exponentially_up_to_the_maximum(clock):
    """1, 2, 4, 8, 8 … seconds; a successful probe forgets all of it."""
    breaker = opened(clock)
    waits = []
    for _ in range(5):
        waits.append(breaker.retry_in())
        clock.now += waits[-1]
        breaker.admit().settle(Outcome.FAILURE)
    assert waits == [pytest.approx(s) for s in (1, 2, 4, 8, 8)]
    clock.now += breaker.retry_in()
    breaker.admit().settle(Outcome.SUCCESS)
    fail(breaker, 3)
    assert breaker.retry_in() == pytest.approx(1.0)


def test_a_cancelled_probe_lets_the_next_caller_probe_at_once(clock):
    """A probe whose caller went away neither closes the breaker nor prolongs its time-out."""
    breaker = opened(clock)
    clock.now += 1.0
    breaker.admit().settle(Outcome.CANCELLED)
    assert breaker.state is BreakerState.OPEN
    probe = breaker.admit()
    assert probe is not None
    probe.settle(Outcome.FAILURE)
    assert breaker.retry_in() == pytest.approx(2.0)


@pytest.mark.parametrize("outcome", list(Outcome), ids=lambda outcome: outcome.name)
@pytest.mark.parametrize("moment", ["open", "half open", "closed again"])
def test_what_was_admitted_before_it_opened_says_nothing_new(clock, outcome, moment):
    """Late outcomes of old permits neither close, open nor take the place of the probe."""
    breaker = make(clock)
    late = [breaker.admit() for _ in range(3)]
    fail(breaker, 3)
    if moment != "open":
        clock.now += 1.0
        probe = breaker.admit()
        if moment == "closed again":
            probe.settle(Outcome.SUCCESS)
    before = breaker.state
    for permit in late:
        permit.settle(outcome)
    assert breaker.state is before
    assert breaker.retry_in() == pytest.approx(1.0 if moment == "open" else 0.0)


def test_a_permit_counts_once(clock):
    """The first outcome that is reported is the one that counts."""
    breaker = make(clock)
    permit = breaker.admit()
    for _ in range(5):
        permit.settle(Outcome.FAILURE)
    permit.settle(Outcome.SUCCESS)
    fail(breaker, 1)
    assert breaker.state is BreakerState.CLOSED
    fail(breaker, 1)
    assert breaker.state is BreakerState.OPEN


def test_jitter_only_lengthens_the_time_out(clock):
    """Between the time-out and a quarter more."""
    breaker = opened(clock, jitter=0.999)
    assert 1.0 < breaker.retry_in() < 1.25


def test_changes_are_told(clock):
    """Whoever watches sees every change of state in order."""
    seen = []
    breaker = opened(clock, seen=seen)
    clock.now += 1.0
    breaker.admit().settle(Outcome.FAILURE)
    clock.now += 2.0
    breaker.admit().settle(Outcome.SUCCESS)
    assert seen == [
        BreakerState.OPEN,
        BreakerState.HALF_OPEN,
        BreakerState.OPEN,
        BreakerState.HALF_OPEN,
        BreakerState.CLOSED,
    ]
