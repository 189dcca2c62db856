"""What signers send each other; position k of every tuple belongs to message k of the batch."""

from dataclasses import dataclass

from keyquorum_core_signer.groups.ciphersuite import Point, Scalar
from keyquorum_core_signer.wire.codec import Bytes32


@dataclass(frozen=True, slots=True)
class NonceCommitment:
    """D_i = d_i * G and E_i = e_i * G."""

    hiding: Point
    binding: Point


@dataclass(frozen=True, slots=True)
class FrostCommitments:
    """Round 1, to all: one commitment per message."""

    commitments: tuple[NonceCommitment, ...]


@dataclass(frozen=True, slots=True)
class FrostShares:
    """Round 2, to all: z_i per message, and the hash of the whole commitment list that they were made for."""

    seen: Bytes32
    shares: tuple[Scalar, ...]
