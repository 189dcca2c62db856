"""Sharing, interpolation, and the indices that would give the secret away."""

from itertools import combinations

import pytest

from keyquorum_core_signer.groups.ed25519 import ED25519
from keyquorum_core_signer.groups.secp256k1 import SECP256K1
from keyquorum_core_signer.primitives.shamir import InvalidIndices, evaluate, lagrange, validate_indices

each_group = pytest.mark.parametrize("group", [ED25519, SECP256K1], ids=lambda group: group.name)


@each_group
def test_any_threshold_of_shares_interpolates_the_secret(group):
    """Every subset of t shares gives the constant coefficient; t - 1 shares do not."""
    coefficients = [group.scalar(v) for v in (2**200, 5, 2**250)]
    shares = {i: evaluate(coefficients, i) for i in range(1, 6)}
    for size, right in ((3, True), (4, True), (2, False)):
        for subset in combinations(shares, size):
            value = sum((lagrange(group, i, subset) * shares[i] for i in subset), group.zero())
            assert (value == coefficients[0]) is right


@each_group
def test_indices_are_compared_modulo_the_order(group):
    """q is 0, whose share is the secret; q + 1 is 1, which would be one party counted twice."""
    q = group.order
    validate_indices(group, [1, 2, q - 1])
    for indices in ([0, 1], [1, q], [1, 2 * q], [1, q + 1], [2, 2]):
        with pytest.raises(InvalidIndices):
            validate_indices(group, indices)
