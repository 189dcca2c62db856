"""Schnorr proof of knowledge of a discrete logarithm, non-interactive, bound to a statement about its circumstances.

Against a rogue key X_m = X - sum of X_j, whose logarithm the attacker does not know.
"""

from dataclasses import dataclass
from typing import Any, Final

from keyquorum_core_signer.groups.ciphersuite import Point, Scalar
from keyquorum_core_signer.primitives.transcript import challenge

_TAG: Final = "keyquorum/proof-of-possession/v1"
_NONCE_TAG: Final = "keyquorum/proof-of-possession-nonce/v1"


@dataclass(frozen=True, slots=True)
class PossessionProof:
    """Challenge c and response s; the commitment R = s*G - c*X is recomputed, so no malformed R exists."""

    c: Scalar
    s: Scalar


def prove(secret: Scalar, public: Point, entropy: bytes, *circumstances: Any) -> PossessionProof:
    """Know ``secret`` of ``public = secret * G``.

    ``circumstances`` are encoded injectively into the challenge: session, prover, round, and all that goes with it. The
    nonce is hashed from ``entropy``, 32 random bytes, with the secret and the circumstances, so that a generator which
    repeats itself repeats no nonce under two challenges.
    """
    group = secret.group
    nonce = challenge(group, _NONCE_TAG, entropy, secret, public, *circumstances)
    c = challenge(group, _TAG, public, group.base_multiply(nonce), *circumstances)
    return PossessionProof(c, nonce + c * secret)


def verify(proof: PossessionProof, public: Point, *circumstances: Any) -> bool:
    """Whether the prover knew the logarithm of ``public`` under exactly these circumstances."""
    group = public.group
    R = group.base_multiply(proof.s) - group.multiply(public, proof.c)
    return proof.c == challenge(group, _TAG, public, R, *circumstances)
