"""Hashes over elements and plain values are injective and tagged."""

import pytest

from keyquorum_core_signer.groups.ed25519 import ED25519
from keyquorum_core_signer.groups.secp256k1 import SECP256K1
from keyquorum_core_signer.primitives.transcript import challenge, digest
from keyquorum_core_signer.wire.codec import hash_typed


def test_plain_values_hash_as_everywhere():
    """Without curve elements the digest is the codec's."""
    assert digest("tag", b"x", 1, ("y", None)) == hash_typed("tag", b"x", 1, ("y", None))


def test_elements_are_typed():
    """A scalar, a point and bytes that share an encoding hash differently, and so do moved boundaries."""
    G = ED25519.generator
    scalar = ED25519.scalar(int.from_bytes(G.to_bytes(), "little"))
    inputs = [(G,), (scalar,), (G.to_bytes(),), (G, G), ((G, G),), ((G,), (G,)), (), (SECP256K1.generator,)]
    assert len({digest("t", *values) for values in inputs}) == len(inputs)
    assert digest("t", G) != digest("u", G)


@pytest.mark.parametrize("group", [ED25519, SECP256K1], ids=lambda group: group.name)
def test_challenges_use_the_whole_range(group):
    """Challenges are scalars of full length, one per tag and input."""
    drawn = [challenge(group, "t", i) for i in range(64)] + [challenge(group, "u", 0)]
    assert len({c.value for c in drawn}) == len(drawn)
    assert max(c.value for c in drawn).bit_length() >= group.order.bit_length() - 1
