"""FROST for BIP-340 signatures: FROST3 as BIP-445 (draft) has it, without its DeterministicSign.

BIP-445 counts participants from 0 where a :data:`PartyId` is a Shamir index: its ``id`` is our party minus one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from keyquorum_core_signer.groups.ciphersuite import Group, Point, Scalar
from keyquorum_core_signer.groups.suites import Bip340
from keyquorum_core_signer.primitives.shamir import lagrange
from keyquorum_core_signer.protocols.errors import ProtocolAbort, ProtocolMisuse
from keyquorum_core_signer.protocols.frost.messages import NonceCommitment
from keyquorum_core_signer.protocols.frost.nonces import NoncePair
from keyquorum_core_signer.protocols.frost.tweaks import TweakedKey, UnusableTweak, taproot_key
from keyquorum_core_signer.protocols.frost.variant import CommitmentList, SigningPackage, Variant
from keyquorum_core_signer.protocols.keys import KeyShare, PublicKeyPackage
from keyquorum_core_signer.protocols.rounds import PartyId, Rng

PARTY_MAX: Final = 1 << 32  # an id travels into the nonce coefficient as four bytes
_RANDOM_LENGTH: Final = 32


@dataclass(frozen=True, slots=True)
class Bip340Package(SigningPackage):
    """What GetSessionValues computes, and what it is computed from."""

    public: PublicKeyPackage  # of the shares that sign
    key: TweakedKey  # what they sign for
    message: bytes
    commitments: CommitmentList
    b: Scalar
    R: Point
    e: Scalar

    def signature_share(self, me: PartyId, nonces: NoncePair, secret: Scalar, weight: Scalar) -> Scalar:
        """Sign: z_i = k_1 + b * k_2 + e * lambda_i * d, with nonces and share negated as the parities of R and Q say.

        The share is verified before it leaves: a wrong one, whatever made it wrong, could tell about the secret.
        """
        hiding, binding = nonces.take()
        if me not in self.commitments:
            raise ProtocolMisuse("we are not among the signers")
        nonce = hiding + self.b * binding
        if not self.key.suite.has_even_y(self.R):
            nonce = -nonce
        z_i = nonce + self.e * weight * self.key.sign * secret
        if not self._answers(nonces.commitment, z_i, self.public.public_share(me), weight):
            raise ProtocolMisuse("our own signature share does not verify")
        return z_i

    def share_holds(self, party: PartyId, z_i: Scalar, public_share: Point, weight: Scalar) -> bool:
        """PartialSigVerifyInternal."""
        return self._answers(self.commitments[party], z_i, public_share, weight)

    def aggregate(self, shares: Mapping[PartyId, Scalar]) -> bytes:
        """PartialSigAgg: s is the sum of the shares and e * g * tacc."""
        if shares.keys() != self.commitments.keys():
            raise ProtocolMisuse("not one signature share of each signer")
        s = sum(shares.values(), self.e * self.key.offset)
        return self.key.suite.x_only(self.R) + s.to_bytes()

    def verifies(self, signature: bytes) -> bool:
        """libsecp256k1, under the tweaked key."""
        return self.key.suite.verify(self.key.Q.to_bytes(), self.message, signature)

    def _answers(self, commitment: NonceCommitment, z_i: Scalar, public_share: Point, weight: Scalar) -> bool:
        """z_i * G = ±(R_{i,1} + b * R_{i,2}) + e * lambda_i * g' * P_i."""
        group = self.key.suite.group
        effective = commitment.hiding + group.multiply(commitment.binding, self.b)
        if not self.key.suite.has_even_y(self.R):
            effective = -effective
        factor = self.e * weight * self.key.sign
        return group.base_multiply(z_i) == effective + group.multiply(public_share, factor)


@dataclass(frozen=True, slots=True)
class Bip445(Variant):
    """BIP-445 with the tweak of a Taproot output that has no script, always: the child key is the internal key."""

    suite: Bip340

    def validate(self, public: PublicKeyPackage, signers: tuple[PartyId, ...]) -> None:
        """ValidateSignersCtx, once for the key: children move it and its shares by the same point."""
        validate_signers(public, signers)

    def draw_nonces(
        self, share: KeyShare, child: PublicKeyPackage, message: bytes, context: bytes, rng: Rng
    ) -> NoncePair:
        """NonceGen with all of its optional arguments."""
        return generate_nonces(
            self.suite,
            rng,
            secret=share.secret,
            public_share=share.public.public_share(share.party),
            key=self._output_key(child).Q,
            message=message,
            extra=context,
        )

    def prepare(self, child: PublicKeyPackage, message: bytes, commitments: CommitmentList) -> Bip340Package:
        """NonceAgg and GetSessionValues."""
        nonce = aggregate_nonces(self.suite.group, commitments.values())
        return prepare(child, self._output_key(child), message, nonce, commitments)

    def _output_key(self, child: PublicKeyPackage) -> TweakedKey:
        try:
            return taproot_key(self.suite, child.public_key)
        except UnusableTweak as error:
            raise ProtocolMisuse(str(error)) from None


def validate_signers(public: PublicKeyPackage, signers: tuple[PartyId, ...]) -> None:
    """ValidateSignersCtx: enough signers, each one once and of the key, whose public shares interpolate to the key."""
    public_shares = dict(public.public_shares)
    if not public.threshold <= len(signers) <= len(public_shares) or len(set(signers)) != len(signers):
        raise ProtocolMisuse("too few or too many signers, or one of them twice")
    if not set(signers) <= public_shares.keys() or max(signers) > PARTY_MAX:
        raise ProtocolMisuse("a signer holds no share of the key")
    group = public.public_key.group
    key = group.sum(group.multiply(public_shares[i], lagrange(group, i, signers)) for i in signers)
    if key != public.public_key:
        raise ProtocolMisuse("the key does not belong to its public shares")


def generate_nonces(
    suite: Bip340,
    rng: Rng,
    *,
    secret: Scalar | None = None,
    public_share: Point | None = None,
    key: Point | None = None,
    message: bytes | None = None,
    extra: bytes = b"",
) -> NoncePair:
    """NonceGen: the more of the arguments there are, the less depends on ``rng``. ``key`` is the tweaked one."""
    random = rng(_RANDOM_LENGTH)
    if secret is not None:
        mask = suite.tagged_hash("BIP0445/aux", random)
        random = bytes(x ^ y for x, y in zip(secret.to_bytes(), mask, strict=True))
    share_part = public_share.to_bytes() if public_share is not None else b""
    key_part = suite.x_only(key) if key is not None else b""
    message_part = b"\x00" if message is None else b"\x01" + len(message).to_bytes(8, "big") + message
    seed = (
        random
        + len(share_part).to_bytes(1, "big")
        + share_part
        + len(key_part).to_bytes(1, "big")
        + key_part
        + message_part
        + len(extra).to_bytes(4, "big")
        + extra
    )
    return NoncePair(*(suite.hash_to_scalar("BIP0445/nonce", seed + bytes([i])) for i in (0, 1)))


def aggregate_nonces(group: Group, commitments: Iterable[NonceCommitment]) -> NonceCommitment:
    """NonceAgg: R_1 and R_2, either of which may be the identity."""
    nonces = tuple(commitments)
    return NonceCommitment(group.sum(B_i.hiding for B_i in nonces), group.sum(B_i.binding for B_i in nonces))


def prepare(
    public: PublicKeyPackage,
    key: TweakedKey,
    message: bytes,
    nonce: NonceCommitment,
    commitments: CommitmentList,
) -> Bip340Package:
    """GetSessionValues for the signers that ``commitments`` are of; ``nonce`` is their aggregate."""
    suite = key.suite
    ids = b"".join((i - 1).to_bytes(4, "big") for i in sorted(commitments))
    x_Q = suite.x_only(key.Q)
    # The identity is encoded as 33 zeros, which is BIP-445's cbytes_ext.
    b = suite.hash_to_scalar(
        "BIP0445/noncecoef", ids + nonce.hiding.to_bytes() + nonce.binding.to_bytes() + x_Q + message
    )
    R = nonce.hiding + suite.group.multiply(nonce.binding, b)
    if R.is_identity():
        # Some signer chose its nonce to cancel the others'. It cannot answer for that nonce, so its share names it;
        # to stop here would hide it.
        R = suite.group.generator
    e = suite.hash_to_scalar("BIP0340/challenge", suite.x_only(R) + x_Q + message)
    if b.is_zero() or e.is_zero():
        raise ProtocolAbort("the nonce coefficient or the challenge is zero", ())
    return Bip340Package(public, key, message, commitments, b, R, e)
