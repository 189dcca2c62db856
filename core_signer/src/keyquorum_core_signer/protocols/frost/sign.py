"""FROST: two-round threshold Schnorr signatures, RFC 9591. Every signer is also an aggregator."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from keyquorum_core_signer.groups.ciphersuite import Point, Scalar
from keyquorum_core_signer.groups.derivation import UnusableIndex
from keyquorum_core_signer.groups.suites import FrostSuite, Suite
from keyquorum_core_signer.primitives.shamir import lagrange
from keyquorum_core_signer.primitives.transcript import digest
from keyquorum_core_signer.protocols.context import bind
from keyquorum_core_signer.protocols.errors import EchoMismatch, ProtocolAbort, ProtocolMisuse, abort_if
from keyquorum_core_signer.protocols.frost.messages import FrostCommitments, FrostShares, NonceCommitment
from keyquorum_core_signer.protocols.frost.nonces import NoncePair
from keyquorum_core_signer.protocols.keys import KeyShare, PublicKeyPackage, derive
from keyquorum_core_signer.protocols.rounds import Context, PartyId, Rng, Rounds, exchange

PROTOCOL: Final = "frost/v1"
MESSAGES_MAX: Final = 64  # signatures per session; a transaction needs one per input
MESSAGE_BYTES_MAX: Final = 1 << 16  # the largest payload that a chain signs as it is; others sign a digest

Path: TypeAlias = tuple[int, ...]
CommitmentList: TypeAlias = Mapping[PartyId, NonceCommitment]  # ascending


@dataclass(frozen=True, slots=True)
class SigningPackage:
    """All that is public about one signature before round 2: RFC 9591 section 5.2's B, rho, R and c."""

    group_key: Point  # of the child that signs
    message: bytes
    commitments: CommitmentList
    binding_factors: Mapping[PartyId, Scalar]
    R: Point
    challenge: Scalar


def sign(
    ctx: Context, suite: Suite, share: KeyShare, messages: tuple[tuple[bytes, Path], ...], rng: Rng
) -> Rounds[tuple[bytes, ...]]:
    """Sign every ``(message, path)`` with the child of ``share``'s key at that path; signatures come in that order.

    ``ctx.parties`` are the signers, at least ``threshold`` of the key's parties.
    """
    if not isinstance(suite, FrostSuite):
        raise ProtocolMisuse("FROST does not make signatures of this scheme")
    bound = bind(ctx, suite, PROTOCOL)
    _check(ctx, suite, share, messages)
    children = _children(suite, share.public, messages)

    # Round 1, commitment. RFC 9591 section 5.1: fresh (d_i, e_i) for each message.
    nonces = [NoncePair(suite, share.secret, rng) for _ in messages]
    commitments = FrostCommitments(tuple(pair.commitment for pair in nonces))
    _refuse_repetition(commitments)
    inbox = yield from exchange(ctx, commitments)
    received: dict[PartyId, FrostCommitments] = dict(inbox.broadcast)
    abort_if("one commitment per message", (i for i, m in received.items() if len(m.commitments) != len(messages)))

    # Round 2, signature share generation. Section 5.2: everybody has the whole commitment list, and says which one it
    # signed for: a share that was made for another list proves nothing about its signer.
    seen = digest("keyquorum/frost/v1/commitments", bound, messages, tuple(received.items()))
    packages = [
        prepare(suite, child.public_key, message, {i: received[i].commitments[k] for i in ctx.parties})
        for k, ((message, _), (_, child)) in enumerate(zip(messages, children, strict=True))
    ]
    lambda_i = lagrange(suite.group, ctx.me, ctx.parties)
    shares = tuple(
        signature_share(package, ctx.me, pair, lambda_i * (share.secret + tweak))
        for package, pair, (tweak, _) in zip(packages, nonces, children, strict=True)
    )
    inbox = yield from exchange(ctx, FrostShares(seen, shares))
    answers: dict[PartyId, FrostShares] = dict(inbox.broadcast)
    if any(answer.seen != seen for answer in answers.values()):
        raise EchoMismatch("commitment list of FROST")
    abort_if("one signature share per message", (i for i, m in answers.items() if len(m.shares) != len(messages)))

    # Aggregation. Section 5.3: z is the sum of the shares; only a valid signature leaves, and only when there is none
    # are the shares looked at one by one.
    signatures = []
    invalid: set[PartyId] = set()
    for k, (package, (_, child)) in enumerate(zip(packages, children, strict=True)):
        z = {i: answer.shares[k] for i, answer in answers.items()}
        signature = suite.encode_signature(package.R, sum(z.values(), suite.group.zero()))
        signatures.append(signature)
        if not suite.verify(package.group_key.to_bytes(), package.message, signature):
            invalid.update(invalid_shares(package, child, z))
            if not invalid:
                raise ProtocolMisuse("the key does not belong to its public shares")
    if ctx.me in invalid:
        raise ProtocolMisuse("our own key share does not belong to its public share")
    abort_if("signature share", invalid)
    return tuple(signatures)


def prepare(suite: FrostSuite, group_key: Point, message: bytes, commitments: CommitmentList) -> SigningPackage:
    """Sections 4.4 to 4.6: the binding factors, the group commitment and the challenge of one signature."""
    rho = {i: suite.h1(data) for i, data in binding_factor_inputs(suite, group_key, message, commitments).items()}
    R = suite.group.sum(
        point for i, B_i in commitments.items() for point in (B_i.hiding, suite.group.multiply(B_i.binding, rho[i]))
    )
    if R.is_identity():
        # The binding factors depend on every commitment, so nobody could aim at this.
        raise ProtocolAbort("the group commitment is the identity", ())
    challenge = suite.h2(R.to_bytes() + group_key.to_bytes() + message)
    return SigningPackage(group_key, message, commitments, rho, R, challenge)


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


def signature_share(package: SigningPackage, me: PartyId, nonces: NoncePair, weighted: Scalar) -> Scalar:
    """Section 5.2: z_i = d_i + e_i * rho_i + lambda_i * s_i * c, where ``weighted`` is lambda_i * s_i."""
    hiding, binding = nonces.take()
    return hiding + binding * package.binding_factors[me] + weighted * package.challenge


def invalid_shares(package: SigningPackage, child: PublicKeyPackage, z: Mapping[PartyId, Scalar]) -> set[PartyId]:
    """Section 5.4: the signers with z_i * G != D_i + rho_i * E_i + (c * lambda_i) * Y_i."""
    group = package.R.group
    invalid = set()
    for i, z_i in z.items():
        B_i, factor = package.commitments[i], package.challenge * lagrange(group, i, z)
        expected = group.sum(
            (
                B_i.hiding,
                group.multiply(B_i.binding, package.binding_factors[i]),
                group.multiply(child.public_share(i), factor),
            )
        )
        if group.base_multiply(z_i) != expected:
            invalid.add(i)
    return invalid


def _check(ctx: Context, suite: FrostSuite, share: KeyShare, messages: tuple[tuple[bytes, Path], ...]) -> None:
    if share.secret.group is not suite.group or share.party != ctx.me:
        raise ProtocolMisuse("the key share is of another group or another party")
    if (share.key_id, share.epoch, share.public.threshold) != (ctx.key_id, ctx.epoch, ctx.threshold):
        raise ProtocolMisuse("the key share is of another key, epoch or threshold than the context")
    if not set(ctx.parties) <= {party for party, _ in share.public.public_shares}:
        raise ProtocolMisuse("a signer holds no share of the key")
    if not 0 < len(messages) <= MESSAGES_MAX or any(len(message) > MESSAGE_BYTES_MAX for message, _ in messages):
        raise ProtocolMisuse("no messages, too many or too long ones")


def _children(
    suite: FrostSuite, public: PublicKeyPackage, messages: tuple[tuple[bytes, Path], ...]
) -> list[tuple[Scalar, PublicKeyPackage]]:
    """The tweak and public package for each message; a path that occurs twice is derived once."""
    try:
        by_path = {path: derive(suite, public, path) for path in {path for _, path in messages}}
    except UnusableIndex as error:
        raise ProtocolMisuse(str(error)) from None
    return [by_path[path] for _, path in messages]


def _refuse_repetition(own: FrostCommitments) -> None:
    """A generator that is stuck repeats nonces within a batch, and two messages under one nonce reveal the share."""
    points = {point for B_i in own.commitments for point in (B_i.hiding, B_i.binding)}
    if len(points) != 2 * len(own.commitments):
        raise ProtocolMisuse("the random generator repeats itself")
