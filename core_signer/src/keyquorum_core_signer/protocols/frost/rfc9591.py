"""FROST as RFC 9591 has it, with one of its ciphersuites."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from keyquorum_core_signer.groups.ciphersuite import Point, Scalar
from keyquorum_core_signer.groups.suites import FrostSuite
from keyquorum_core_signer.protocols.errors import ProtocolAbort
from keyquorum_core_signer.protocols.frost.nonces import NoncePair
from keyquorum_core_signer.protocols.frost.variant import CommitmentList, SigningPackage, Variant
from keyquorum_core_signer.protocols.keys import KeyShare, PublicKeyPackage
from keyquorum_core_signer.protocols.rounds import PartyId, Rng

_RANDOM_LENGTH: Final = 32


@dataclass(frozen=True, slots=True)
class Rfc9591Package(SigningPackage):
    """RFC 9591 section 5.2's B, rho, R and c."""

    suite: FrostSuite
    group_key: Point  # of the child that signs
    message: bytes
    commitments: CommitmentList
    binding_factors: Mapping[PartyId, Scalar]
    R: Point
    challenge: Scalar

    def signature_share(self, me: PartyId, nonces: NoncePair, secret: Scalar, weight: Scalar) -> Scalar:
        """Section 5.2: z_i = d_i + e_i * rho_i + lambda_i * s_i * c."""
        hiding, binding = nonces.take()
        return hiding + binding * self.binding_factors[me] + weight * secret * self.challenge

    def share_holds(self, party: PartyId, z_i: Scalar, public_share: Point, weight: Scalar) -> bool:
        """Section 5.4: z_i * G = D_i + rho_i * E_i + (c * lambda_i) * Y_i."""
        group, B_i = self.suite.group, self.commitments[party]
        expected = group.sum(
            (
                B_i.hiding,
                group.multiply(B_i.binding, self.binding_factors[party]),
                group.multiply(public_share, self.challenge * weight),
            )
        )
        return group.base_multiply(z_i) == expected

    def aggregate(self, shares: Mapping[PartyId, Scalar]) -> bytes:
        """Section 5.3: z is the sum of the shares."""
        return self.suite.encode_signature(self.R, sum(shares.values(), self.suite.group.zero()))

    def verifies(self, signature: bytes) -> bool:
        """The suite's verifier, under the child key."""
        return self.suite.verify(self.group_key.to_bytes(), self.message, signature)


@dataclass(frozen=True, slots=True)
class Rfc9591(Variant):
    """RFC 9591 with one of its ciphersuites."""

    suite: FrostSuite

    def validate(self, public: PublicKeyPackage, signers: tuple[PartyId, ...]) -> None:
        """The RFC demands nothing beyond what holds for every key."""

    def draw_nonces(
        self,
        share: KeyShare,
        child: PublicKeyPackage,  # noqa: ARG002 - the RFC hashes the share alone
        message: bytes,  # noqa: ARG002
        context: bytes,  # noqa: ARG002
        rng: Rng,
    ) -> NoncePair:
        """Section 5.1."""
        return draw_nonces(self.suite, share.secret, rng)

    def prepare(self, child: PublicKeyPackage, message: bytes, commitments: CommitmentList) -> Rfc9591Package:
        """The RFC's steps, with the child as the group key."""
        return prepare(self.suite, child.public_key, message, commitments)


def generate_nonce(suite: FrostSuite, secret: Scalar, rng: Rng) -> Scalar:
    """Section 4.1: H3(random || secret), so that a weak generator alone does not give the key away."""
    return suite.h3(rng(_RANDOM_LENGTH) + secret.to_bytes())


def draw_nonces(suite: FrostSuite, secret: Scalar, rng: Rng) -> NoncePair:
    """Section 5.1: (d_i, e_i), drawn in this order."""
    return NoncePair(generate_nonce(suite, secret, rng), generate_nonce(suite, secret, rng))


def prepare(suite: FrostSuite, group_key: Point, message: bytes, commitments: CommitmentList) -> Rfc9591Package:
    """Sections 4.4 to 4.6: the binding factors, the group commitment and the challenge of one signature."""
    rho = {i: suite.h1(data) for i, data in binding_factor_inputs(suite, group_key, message, commitments).items()}
    R = suite.group.sum(
        point for i, B_i in commitments.items() for point in (B_i.hiding, suite.group.multiply(B_i.binding, rho[i]))
    )
    if R.is_identity():
        # The binding factors depend on every commitment, so nobody could aim at this.
        raise ProtocolAbort("the group commitment is the identity", ())
    challenge = suite.h2(R.to_bytes() + group_key.to_bytes() + message)
    return Rfc9591Package(suite, group_key, message, commitments, rho, R, challenge)


def binding_factor_inputs(
    suite: FrostSuite, group_key: Point, message: bytes, commitments: CommitmentList
) -> dict[PartyId, bytes]:
    """Sections 4.3 and 4.4: what each signer's binding factor is hashed from; every part has a fixed length."""
    identifiers = {i: suite.group.scalar(i).to_bytes() for i in commitments}
    encoded = b"".join(
        identifiers[i] + B_i.hiding.to_bytes() + B_i.binding.to_bytes() for i, B_i in commitments.items()
    )
    prefix = group_key.to_bytes() + suite.h4(message) + suite.h5(encoded)
    return {i: prefix + identifier for i, identifier in identifiers.items()}
