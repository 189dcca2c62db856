"""A proof of possession holds for one secret, under the circumstances it was made for, and no others."""

import pytest

from keyquorum_core_signer.groups.ed25519 import ED25519
from keyquorum_core_signer.groups.secp256k1 import SECP256K1
from keyquorum_core_signer.primitives.possession import PossessionProof, prove, verify

each_group = pytest.mark.parametrize("group", [ED25519, SECP256K1], ids=lambda group: group.name)
ENTROPY = bytes(range(32))
SESSION = (b"\x01" * 32, 2, 1)  # context digest, prover, round


@each_group
def test_only_the_proven_statement_verifies(group):
    """Another key, prover, round, session or value moved across a boundary is refused."""
    secret = group.scalar(2**240 + 1)
    public = group.base_multiply(secret)
    proof = prove(secret, public, ENTROPY, *SESSION)
    assert verify(proof, public, *SESSION)
    one = group.scalar(1)
    assert not verify(PossessionProof(proof.c + one, proof.s), public, *SESSION)
    assert not verify(PossessionProof(proof.c, proof.s + one), public, *SESSION)
    assert not verify(PossessionProof(group.zero(), group.zero()), public, *SESSION)
    assert not verify(proof, -public, *SESSION)
    for circumstances in ((b"\x02" * 32, 2, 1), (b"\x01" * 32, 3, 1), (b"\x01" * 32, 2, 2), SESSION[:2], (*SESSION, 0)):
        assert not verify(proof, public, *circumstances)


@each_group
def test_a_key_without_its_secret_cannot_be_proven(group):
    """A rogue key, the negated sum of the others', has no proof by its maker."""
    others = [group.base_multiply(group.scalar(v)) for v in (5, 2**200)]
    rogue = -group.sum(others)
    own = group.scalar(77)
    assert not verify(prove(own, rogue, ENTROPY, *SESSION), rogue, *SESSION)


@each_group
def test_nonces_are_hedged(group):
    """Secret, circumstances and entropy all change the nonce R's logarithm, s - c * x; it is never the entropy alone."""
    secrets = [group.scalar(3), group.scalar(4)]
    nonces = set()
    for secret in secrets:
        public = group.base_multiply(secret)
        for entropy in (ENTROPY, bytes(32)):
            for circumstances in (SESSION, (*SESSION, 1)):
                proof = prove(secret, public, entropy, *circumstances)
                nonces.add((proof.s - proof.c * secret).value)
    assert len(nonces) == 8
