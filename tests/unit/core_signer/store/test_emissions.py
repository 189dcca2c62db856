"""Claims and withdrawals: every way through the table of the module."""

import pytest

from keyquorum_core_signer.store import emissions as module
from keyquorum_core_signer.store.emissions import Claim, Emissions

UNTIL_MS = 1000


@pytest.fixture
def emissions() -> Emissions:
    return Emissions()


def test_unknown_operation_may_do_nothing(emissions: Emissions) -> None:
    """Not admitted here, not remembered: no emission, no release."""
    assert emissions.claim("op_1", 0) is Claim.NOT_HELD
    assert not emissions.withdraw("op_1")


def test_held_operation_may_do_either_once(emissions: Emissions) -> None:
    """After a claim no withdrawal, after a withdrawal no claim."""
    for op_id in ("op_1", "op_2"):
        emissions.admit(op_id, UNTIL_MS, reserved_now=True)
    assert emissions.claim("op_1", 0) is Claim.GRANTED
    assert not emissions.withdraw("op_1")
    assert emissions.withdraw("op_2")
    assert emissions.claim("op_2", 0) is Claim.NOT_HELD
    assert not emissions.withdraw("op_2")


def test_operation_of_an_earlier_process_is_never_withdrawn(emissions: Emissions) -> None:
    """Found recorded, not remembered: its message may be out, and may leave again."""
    emissions.admit("op_1", UNTIL_MS, reserved_now=False)
    assert not emissions.withdraw("op_1")
    assert emissions.claim("op_1", 0) is Claim.GRANTED


def test_repeated_admission_changes_nothing(emissions: Emissions) -> None:
    """A second session of the operation neither revives a withdrawn claim nor makes a claimed one releasable."""
    for op_id in ("held", "claimed", "withdrawn"):
        emissions.admit(op_id, UNTIL_MS, reserved_now=True)
    emissions.claim("claimed", 0)
    emissions.withdraw("withdrawn")
    for op_id in ("held", "claimed", "withdrawn"):
        emissions.admit(op_id, UNTIL_MS, reserved_now=False)
    assert emissions.withdraw("held")
    assert not emissions.withdraw("claimed")
    assert emissions.claim("withdrawn", 0) is Claim.NOT_HELD


def test_new_reservation_makes_a_new_decision(emissions: Emissions) -> None:
    """Released and admitted again: held, as on the first day."""
    emissions.admit("op_1", UNTIL_MS, reserved_now=True)
    emissions.withdraw("op_1")
    emissions.admit("op_1", UNTIL_MS, reserved_now=True)
    assert emissions.claim("op_1", 0) is Claim.GRANTED


def test_expired_claim_is_refused_and_stays_releasable(emissions: Emissions) -> None:
    """At the very end of its validity nothing leaves, so it may be given back."""
    emissions.admit("op_1", UNTIL_MS, reserved_now=True)
    assert emissions.claim("op_1", UNTIL_MS) is Claim.EXPIRED
    assert emissions.withdraw("op_1")
    emissions.admit("op_2", UNTIL_MS, reserved_now=True)
    assert emissions.claim("op_2", UNTIL_MS - 1) is Claim.GRANTED


def test_forgotten_operation_may_do_nothing(emissions: Emissions) -> None:
    """What was rolled back allows nothing."""
    emissions.admit("op_1", UNTIL_MS, reserved_now=True)
    emissions.forget("op_1")
    emissions.forget("op_1")
    assert emissions.claim("op_1", 0) is Claim.NOT_HELD
    assert not emissions.withdraw("op_1")


def test_oldest_entries_are_forgotten_first(emissions: Emissions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded, and forgetting only ever allows less."""
    monkeypatch.setattr(module, "EMISSIONS_MAX", 3)
    for number in range(4):
        emissions.admit(f"op_{number}", UNTIL_MS, reserved_now=True)
    assert emissions.claim("op_0", 0) is Claim.NOT_HELD
    assert not emissions.withdraw("op_0")
    assert all(emissions.claim(f"op_{number}", 0) is Claim.GRANTED for number in (1, 2, 3))
