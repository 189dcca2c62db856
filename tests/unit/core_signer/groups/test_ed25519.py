"""Nothing outside the prime-order subgroup of edwards25519, and no second encoding, gets in."""

import pytest

from keyquorum_core_signer.groups import ed25519
from keyquorum_core_signer.groups.ciphersuite import InvalidEncoding
from keyquorum_core_signer.groups.ed25519 import ED25519, UnsafeLibrary
from support.curves import P_ED, Edwards, torsion

TORSION = torsion()


@pytest.mark.parametrize("order", [1, 2, 4, 8])
def test_small_order_points_are_refused(order):
    """All eight points whose order divides the cofactor."""
    members = [point for point in TORSION if order * point == Edwards(0, 1)]
    assert len(members) == order
    for point in members:
        with pytest.raises(InvalidEncoding):
            ED25519.decode_point(point.encode())


@pytest.mark.parametrize("k", range(1, 8))
def test_mixed_order_points_are_refused(k):
    """A good point plus any small-order one, among them the order-2 one that CVE-2025-69277 let through."""
    good = ED25519.base_multiply(ED25519.scalar(2**200 + 3)).to_bytes()
    mixed = (Edwards.decode(good) + TORSION[k]).encode()
    with pytest.raises(InvalidEncoding):
        ED25519.decode_point(mixed)


def test_non_canonical_encodings_are_refused():
    """y at or above the field's prime, with either sign bit, and the negative zero x."""
    encodings = [((y + P_ED) | sign << 255).to_bytes(32, "little") for y in range(19) for sign in (0, 1)]
    for data in [*encodings, (1 | 1 << 255).to_bytes(32, "little"), ((P_ED - 1) | 1 << 255).to_bytes(32, "little")]:
        with pytest.raises(InvalidEncoding):
            ED25519.decode_point(data)


@pytest.mark.parametrize("data", [b"", bytes(31), bytes(32), bytes(33), b"\xff" * 32, (2).to_bytes(32, "little")])
def test_malformed_points_are_refused(data):
    """Wrong lengths and points off the curve."""
    with pytest.raises(InvalidEncoding):
        ED25519.decode_point(data)


def test_a_libsodium_with_the_subgroup_bug_is_refused(monkeypatch):
    """The group does not come to be over a library that accepts points of mixed order."""
    monkeypatch.setattr(ed25519, "crypto_core_ed25519_is_valid_point", lambda _: True)
    with pytest.raises(UnsafeLibrary):
        ed25519.Ed25519()
