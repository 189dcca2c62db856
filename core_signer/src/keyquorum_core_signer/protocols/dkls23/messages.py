"""What parties send each other when they pair, presign and sign."""

from dataclasses import dataclass

from keyquorum_core_signer.groups.ciphersuite import Point, Scalar
from keyquorum_core_signer.primitives.ot.endemic import TransferAnswer, TransferRequest
from keyquorum_core_signer.primitives.ot.extension import ExtensionMessage
from keyquorum_core_signer.primitives.rvole import MultiplicationMessage
from keyquorum_core_signer.primitives.zero_shares import Contribution
from keyquorum_core_signer.wire.codec import Bytes32


@dataclass(frozen=True, slots=True)
class PairRequest:
    """Pairing, round 1: where we stand, a commitment to our part of the seed, and the choice of Delta's keys."""

    context: Bytes32
    generation: int
    commitment: Bytes32
    request: TransferRequest


@dataclass(frozen=True, slots=True)
class PairAnswer:
    """Pairing, round 2: the part of the seed, and the answer to the peer's choices. The seed makes it private."""

    contribution: Contribution
    answer: TransferAnswer


@dataclass(frozen=True, slots=True)
class PairConfirmation:
    """Pairing, round 3: the set-up is stored, and this is its hash."""

    confirmation: Bytes32


@dataclass(frozen=True, slots=True)
class Handshake:
    """What two parties must agree on before a transfer of theirs is used: one field per reason to differ."""

    context: Bytes32  # cell, protocol, session id, parties, threshold, key id, epoch, intent with its roster
    epoch: int
    key: Bytes32  # public key, chain code, all public shares, path
    generation: int
    setup: Bytes32


@dataclass(frozen=True, slots=True)
class PresignCommitment:
    """Presigning, round 1, to all: a hash of the nonce point R_i."""

    commitment: Bytes32


@dataclass(frozen=True, slots=True)
class PresignExtension:
    """Presigning, round 1, to each: RVOLE's first message, with us as Bob."""

    handshake: Handshake
    extension: ExtensionMessage


@dataclass(frozen=True, slots=True)
class PresignOpening:
    """Presigning, round 2, to all: R_i opened, pk_i, and the hash of all commitments that we saw."""

    seen: Bytes32
    R: Point
    blind: Bytes32
    pk: Point


@dataclass(frozen=True, slots=True)
class PresignMultiplication:
    """Presigning, round 2, to each: RVOLE's second message, with us as Alice, and what ties it to R_i and pk_i."""

    Gamma_u: Point
    Gamma_v: Point
    psi: Scalar
    product: MultiplicationMessage


@dataclass(frozen=True, slots=True)
class PresignCommitments:
    """A batch; position k of every tuple belongs to presignature k."""

    each: tuple[PresignCommitment, ...]


@dataclass(frozen=True, slots=True)
class PresignExtensions:
    """A batch of extensions."""

    each: tuple[PresignExtension, ...]


@dataclass(frozen=True, slots=True)
class PresignOpenings:
    """A batch of openings."""

    each: tuple[PresignOpening, ...]


@dataclass(frozen=True, slots=True)
class PresignMultiplications:
    """A batch of multiplications."""

    each: tuple[PresignMultiplication, ...]


@dataclass(frozen=True, slots=True)
class OnlineShare:
    """w_i and u_i for one signature: 64 bytes."""

    w: Scalar
    u: Scalar


@dataclass(frozen=True, slots=True)
class OnlineShares:
    """The online round, to all: a share per signature, and the hash of what they were made for."""

    seen: Bytes32
    shares: tuple[OnlineShare, ...]
