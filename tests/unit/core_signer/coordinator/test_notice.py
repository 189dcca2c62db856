"""A notice wakes all who wait, and only them; back-off grows to its bound."""

import asyncio

import pytest

from keyquorum_core_signer.coordinator.backoff import Backoff
from keyquorum_core_signer.coordinator.notice import Notice


async def test_everybody_who_waits_is_woken():
    """All present waiters, not a later one."""
    notice = Notice()
    waiters = [asyncio.create_task(notice.wait()) for _ in range(5)]
    await asyncio.sleep(0)
    notice.give()
    await asyncio.gather(*waiters)
    late = asyncio.create_task(notice.wait())
    await asyncio.sleep(0.01)
    assert not late.done()
    notice.give()
    await late


async def test_one_waiters_cancellation_is_its_own():
    """The others still hear of the change, and nothing is kept of the one that left."""
    notice = Notice()
    leaver, stayer = (asyncio.create_task(notice.wait()) for _ in range(2))
    await asyncio.sleep(0)
    leaver.cancel()
    await asyncio.sleep(0)
    assert len(notice._waiters) == 1
    notice.give()
    await stayer


def test_giving_without_waiters_is_nothing():
    """Nobody has to listen."""
    Notice().give()


@pytest.mark.parametrize(("rng", "factor"), [(lambda: 0.0, 0.5), (lambda: 0.999999, 1.0)])
def test_backoff_doubles_to_its_bound_and_starts_anew(rng, factor):
    """Each wait lies in the upper half of what it may be."""
    backoff = Backoff(0.1, 1.0, rng)
    waits = [backoff.next() for _ in range(6)]
    assert waits == pytest.approx([s * factor for s in (0.1, 0.2, 0.4, 0.8, 1.0, 1.0)], rel=1e-4)
    backoff.reset()
    assert backoff.next() == pytest.approx(0.1 * factor, rel=1e-4)
