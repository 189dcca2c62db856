"""Endemic oblivious transfer: one key of two, bound to its place, and nothing from malformed messages."""

from dataclasses import replace

import pytest

from keyquorum_core_signer.groups.secp256k1 import SECP256K1
from keyquorum_core_signer.primitives.ot import endemic
from keyquorum_core_signer.primitives.ot.endemic import InvalidTransfer, TransferAnswer, TransferRequest
from support.simulator import seeded_rng

CHOICES = (0, 1, 1, 0, 1)
PLACE = b"\x01" * 32


def transfer(choices=CHOICES, place=PLACE, sender_place=PLACE, alter=lambda request: request):
    """The sender's key pairs, and the receiver's keys."""
    receiver = endemic.receive(SECP256K1, place, choices, seeded_rng("receiver"))
    pairs, answer = endemic.send(SECP256K1, sender_place, len(choices), alter(receiver.request), seeded_rng("sender"))
    return pairs, receiver.keys(answer)


def test_the_receiver_gets_what_it_chose_and_not_the_other():
    """Key by key, and no two keys are alike."""
    pairs, keys = transfer()
    for choice, pair, key in zip(CHOICES, pairs, keys, strict=True):
        assert key == pair[choice] != pair[1 - choice]
    assert len({key for pair in pairs for key in pair}) == 2 * len(CHOICES)


def test_the_request_does_not_show_the_choice():
    """For all choices zero and all one, first and second points are of the same kind: neither is the generator's t * G."""
    rng = seeded_rng("receiver")
    t = SECP256K1.reduce_wide(rng(64))
    for choice in (0, 1):
        receiver = endemic.receive(SECP256K1, PLACE, (choice,), seeded_rng("receiver"))
        assert receiver.exponents == (t,)
        assert SECP256K1.base_multiply(t) not in receiver.request.pairs[0]


def test_keys_are_bound_to_the_place():
    """Another session, pair or direction gives the receiver nothing."""
    pairs, keys = transfer(sender_place=b"\x02" * 32)
    assert not {key for pair in pairs for key in pair} & set(keys)


def test_positions_are_bound():
    """A request whose pairs are exchanged gives other keys."""
    pairs, keys = transfer((0, 0), alter=lambda request: TransferRequest(request.pairs[::-1]))
    assert not {key for pair in pairs for key in pair} & set(keys)


def test_counts():
    """One pair and one answer for each transfer."""
    receiver = endemic.receive(SECP256K1, PLACE, CHOICES, seeded_rng(1))
    for pairs in ((), receiver.request.pairs[:-1], receiver.request.pairs * 2):
        with pytest.raises(InvalidTransfer):
            endemic.send(SECP256K1, PLACE, len(CHOICES), TransferRequest(pairs), seeded_rng(2))
    _, answer = endemic.send(SECP256K1, PLACE, len(CHOICES), receiver.request, seeded_rng(2))
    for points in ((), answer.points[:-1], answer.points * 2):
        with pytest.raises(InvalidTransfer):
            receiver.keys(TransferAnswer(points))


@pytest.mark.parametrize("j", [0, 1])
def test_a_key_that_everybody_knows_is_refused(j):
    """r_j = -H(r_{1-j}) would make M_j the identity, whose product with any b is known."""
    other = SECP256K1.base_multiply(SECP256K1.scalar(7))
    identity = -endemic._masks(SECP256K1, PLACE, 0, 1 - j, other)
    pair = (identity, other) if j == 0 else (other, identity)
    with pytest.raises(InvalidTransfer):
        endemic.send(SECP256K1, PLACE, 1, TransferRequest((pair,)), seeded_rng(1))


def test_reprs():
    """The receiver's state does not show choices or exponents."""
    receiver = endemic.receive(SECP256K1, PLACE, CHOICES, seeded_rng(1))
    assert "choices" not in repr(receiver)
    assert "exponents" not in repr(receiver)
    assert repr(replace(receiver, choices=(1, 1))) == repr(receiver)
