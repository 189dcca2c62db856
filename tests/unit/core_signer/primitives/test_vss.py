"""Feldman's commitments tell right shares from wrong ones."""

import pytest

from keyquorum_core_signer.groups.ed25519 import ED25519
from keyquorum_core_signer.groups.secp256k1 import SECP256K1
from keyquorum_core_signer.primitives import shamir, vss

each_group = pytest.mark.parametrize("group", [ED25519, SECP256K1], ids=lambda group: group.name)


@each_group
@pytest.mark.parametrize("index", [1, 2, 9, 64, 2**31])
def test_shares_are_checked_in_the_exponent(group, index):
    """The right share verifies; another value or another index does not."""
    coefficients = [group.scalar(v) for v in (2**200, 7, -3)]
    commitment = vss.commit(coefficients)
    share = shamir.evaluate(coefficients, index)
    assert vss.verify_share(share, index, commitment)
    assert not vss.verify_share(share + group.scalar(1), index, commitment)
    assert not vss.verify_share(share, index + 1, commitment)
    assert vss.public_share(commitment, index) == group.base_multiply(share)


@each_group
def test_commitments_add_up(group):
    """The sum of commitments commits to the sum of polynomials; different degrees do not add."""
    f, g = ([group.scalar(v) for v in values] for values in ((1, 2), (3, 2**250)))
    total = vss.add_commitments([vss.commit(f), vss.commit(g)])
    assert total == vss.commit([a + b for a, b in zip(f, g, strict=True)])
    with pytest.raises(ValueError):
        vss.add_commitments([vss.commit(f), vss.commit(g)[:1]])
