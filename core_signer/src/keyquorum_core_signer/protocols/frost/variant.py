"""What the specifications of FROST do differently; ``sign`` is the same for all of them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TypeAlias

from keyquorum_core_signer.groups.ciphersuite import Point, Scalar
from keyquorum_core_signer.protocols.frost.messages import NonceCommitment
from keyquorum_core_signer.protocols.frost.nonces import NoncePair
from keyquorum_core_signer.protocols.keys import KeyShare, PublicKeyPackage
from keyquorum_core_signer.protocols.rounds import PartyId, Rng

CommitmentList: TypeAlias = Mapping[PartyId, NonceCommitment]  # ascending


class SigningPackage(ABC):
    """All that is public about one signature before round 2, and the equations that hold for it."""

    @abstractmethod
    def signature_share(self, me: PartyId, nonces: NoncePair, secret: Scalar, weight: Scalar) -> Scalar:
        """z_i from the nonces, which are used up, the share s_i of the key that signs, and lambda_i."""

    @abstractmethod
    def share_holds(self, party: PartyId, z_i: Scalar, public_share: Point, weight: Scalar) -> bool:
        """Whether z_i answers the party's commitment under Y_i and lambda_i: in public, in variable time."""

    @abstractmethod
    def aggregate(self, shares: Mapping[PartyId, Scalar]) -> bytes:
        """The signature of everybody's z_i, as verifiers take it; not verified."""

    @abstractmethod
    def verifies(self, signature: bytes) -> bool:
        """Whether a verifier takes the signature, for the key that it looks at."""


class Variant(ABC):
    """One specification with one ciphersuite."""

    @abstractmethod
    def validate(self, public: PublicKeyPackage, signers: tuple[PartyId, ...]) -> None:
        """What the specification demands of a key before it signs; ``ProtocolMisuse`` if that is not so."""

    @abstractmethod
    def draw_nonces(
        self, share: KeyShare, child: PublicKeyPackage, message: bytes, context: bytes, rng: Rng
    ) -> NoncePair:
        """Fresh nonces for one message under ``child``, a child of the share's key; ``context`` never occurs again."""

    @abstractmethod
    def prepare(self, child: PublicKeyPackage, message: bytes, commitments: CommitmentList) -> SigningPackage:
        """Binding factors, group commitment and challenge, once everybody's commitments are there."""
