"""What parties send each other during key generation."""

from dataclasses import dataclass

from keyquorum_core_signer.groups.ciphersuite import Point
from keyquorum_core_signer.primitives.possession import PossessionProof
from keyquorum_core_signer.wire.codec import Bytes32


@dataclass(frozen=True, slots=True)
class KeygenCommitment:
    """Round 1, to all: a hash of the opening, and the key that shares for this party are to be sealed to."""

    commitment: Bytes32
    sealing_key: Bytes32  # X25519, ephemeral


@dataclass(frozen=True, slots=True)
class KeygenOpening:
    """Round 2, to all: the polynomial in the exponent, knowledge of its constant, a contribution to the chain code."""

    coefficients: tuple[Point, ...]  # A_{i,0} to A_{i,t-1}
    proof: PossessionProof  # for A_{i,0}
    chain_code: Bytes32


@dataclass(frozen=True, slots=True)
class KeygenShare:
    """Round 2, to each: f_i(j), sealed to party j."""

    sealed: bytes


@dataclass(frozen=True, slots=True)
class KeygenCertification:
    """Round 3, to all: the hash of everything broadcast so far, and a signature on the statement about the key."""

    transcript_hash: Bytes32
    signature: bytes
