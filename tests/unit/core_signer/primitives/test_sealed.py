"""What is sealed opens at its place only, and keys of small order are refused."""

from dataclasses import replace

import pytest

from keyquorum_core_signer.primitives.sealed import CannotOpen, InvalidKey, Place, SealingKey, seal, unseal

ALICE, BOB, EVE = (SealingKey(bytes([i]) * 32) for i in (1, 2, 3))
PLACE = Place(b"\x07" * 32, 1, 2, ALICE.public, BOB.public)
SECRET = b"a share of thirty-two bytes ...."


def test_round_trip():
    """Sender and recipient agree; the sealed form has the length of the secret and a tag."""
    sealed = seal(ALICE.shared(BOB.public), PLACE, SECRET)
    assert unseal(BOB.shared(ALICE.public), PLACE, sealed) == SECRET
    assert len(sealed) == len(SECRET) + 16


@pytest.mark.parametrize(
    "place",
    [
        replace(PLACE, context=b"\x08" * 32),
        replace(PLACE, sender=3),
        replace(PLACE, recipient=3),
        replace(PLACE, sender=2, recipient=1),
        replace(PLACE, sender_key=EVE.public),
        replace(PLACE, recipient_key=EVE.public),
    ],
)
def test_another_place_does_not_open(place):
    """Session, sender, recipient and both keys are bound."""
    with pytest.raises(CannotOpen):
        unseal(BOB.shared(ALICE.public), place, seal(ALICE.shared(BOB.public), PLACE, SECRET))


def test_every_bit_counts():
    """A flipped bit, a cut, an addition or another key does not open."""
    shared = BOB.shared(ALICE.public)
    sealed = seal(ALICE.shared(BOB.public), PLACE, SECRET)
    flipped = [sealed[:i] + bytes([sealed[i] ^ 1]) + sealed[i + 1 :] for i in range(len(sealed))]
    for forged in [*flipped, sealed[:-1], sealed + b"\x00", b"", bytes(15)]:
        with pytest.raises(CannotOpen):
            unseal(shared, PLACE, forged)
    with pytest.raises(CannotOpen):
        unseal(EVE.shared(ALICE.public), PLACE, sealed)


SMALL_ORDER = [  # the canonical ones of RFC 7748's curve: 0, 1, two of order 8, p - 1; and p, p + 1
    "00" * 32,
    "01" + "00" * 31,
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


@pytest.mark.parametrize("key", [*map(bytes.fromhex, SMALL_ORDER), b"", bytes(31), bytes(33)])
def test_small_order_keys_are_refused(key):
    """A key that makes the shared value predictable proves misbehaviour."""
    with pytest.raises(InvalidKey):
        ALICE.shared(key)


def test_secrets_do_not_show():
    """The sealing secret is in no repr."""
    assert ALICE.secret.hex() not in repr(ALICE)
    assert repr(ALICE.secret) not in repr(ALICE)
