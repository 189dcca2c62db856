"""Shares of zero add up to zero for every set of parties, and are unrelated between places."""

import pytest

from keyquorum_core_signer.groups.secp256k1 import SECP256K1
from keyquorum_core_signer.primitives.zero_shares import Contribution, commitment, pair_seed, zero_share


def part(value):
    return Contribution(bytes([value]) * 32)


def seeds(me, parties):
    return {j: pair_seed(b"pair", part(min(me, j)), part(max(me, j))) for j in parties if j != me}


@pytest.mark.parametrize("parties", [(1, 2), (2, 7), (1, 2, 3), (1, 3, 5, 60)])
def test_they_add_up_to_zero(parties):
    """Whoever takes part, and no share is zero itself."""
    shares = [zero_share(SECP256K1, b"place", me, seeds(me, parties)) for me in parties]
    assert sum(shares, SECP256K1.zero()).is_zero()
    assert not any(share.is_zero() for share in shares)


def test_each_place_has_its_own():
    """Another place, or one party more, gives other shares."""
    found = {
        zero_share(SECP256K1, place, 1, seeds(1, parties)).value
        for place in (b"one", b"two")
        for parties in ((1, 2), (1, 3), (1, 2, 3))
    }
    assert len(found) == 6


def test_commitments_bind_party_place_and_contribution():
    """A commitment is nobody else's, and the order of contributions matters to the seed."""
    made = {commitment(place, party, part(value)) for place in (b"a", b"b") for party in (1, 2) for value in (1, 2)}
    assert len(made) == 8
    assert pair_seed(b"p", part(1), part(2)) != pair_seed(b"p", part(2), part(1))
    assert pair_seed(b"p", part(1), part(2)) != pair_seed(b"r", part(1), part(2))


def test_a_contribution_does_not_show():
    """Whoever knows both knows every share of zero of the pair."""
    assert repr(part(7)) == "Contribution()"
