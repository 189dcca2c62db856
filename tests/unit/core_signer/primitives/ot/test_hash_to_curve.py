"""Hashing to the curve gives valid, unrelated points for all that is hashed."""

import pytest

from keyquorum_core_signer.groups.ed25519 import ED25519
from keyquorum_core_signer.groups.secp256k1 import SECP256K1
from keyquorum_core_signer.primitives.ot.hash_to_curve import hash_to_curve
from support.curves import Weierstrass


def test_points_are_on_the_curve_and_differ():
    """Both parities occur, every point decodes, and no two values give one point."""
    points = [hash_to_curve(SECP256K1, "tag", k) for k in range(200)]
    for point in points:
        Weierstrass.decode(point.to_bytes())
        assert SECP256K1.decode_point(point.to_bytes()) == point
    assert len({point.to_bytes()[1:] for point in points}) == 200
    assert 60 < sum(point.to_bytes()[0] == 2 for point in points) < 140


def test_tag_and_boundaries_matter():
    """The tag, and which value a byte belongs to, change the point; the same values give the same point."""
    values = [("tag", b"a", b"b"), ("other", b"a", b"b"), ("tag", b"ab", b""), ("tag", b"a")]
    assert len({hash_to_curve(SECP256K1, *value).encoded for value in values}) == len(values)
    assert hash_to_curve(SECP256K1, *values[0]) == hash_to_curve(SECP256K1, *values[0])


def test_other_curves_are_refused():
    """The encoding is SEC 1's."""
    with pytest.raises(ValueError):
        hash_to_curve(ED25519, "tag", 1)


def test_the_format_stays():
    """Nodes of one version must find the same points."""
    point = hash_to_curve(SECP256K1, "keyquorum/test", b"fixed")
    assert point.to_bytes().hex() == "0263cf4a04dd2556d933594a33dcd26c2b8f99d004f7ddd15a2efca029134fd281"
