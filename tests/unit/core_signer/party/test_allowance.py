"""Bursts and rates."""

from keyquorum_core_signer.party.allowance import Allowance


def test_a_burst_and_then_a_rate() -> None:
    """What was saved may go at once; afterwards it comes back with time, never above the burst."""
    allowance = Allowance(burst=3, per_s=2)
    assert [allowance.take(0) for _ in range(4)] == [True, True, True, False]
    assert [allowance.take(500), allowance.take(500)] == [True, False]
    assert [allowance.take(10_000_000) for _ in range(4)] == [True, True, True, False]


def test_a_clock_that_goes_back_gives_nothing() -> None:
    """Nor does the way forward again count twice as far as it is."""
    allowance = Allowance(burst=1, per_s=1)
    assert allowance.take(10_000)
    assert not allowance.take(0)
    assert not allowance.take(999)
    assert allowance.take(1000)
