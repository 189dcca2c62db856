"""FROST: two-round threshold Schnorr signatures. Every signer is also an aggregator.

The rounds, what is checked in them and who is blamed are the same for every scheme; the equations are those of
RFC 9591 or, for Taproot keys, of BIP-445.
"""

from collections.abc import Mapping
from typing import Final, TypeAlias

from keyquorum_core_signer.groups.ciphersuite import Scalar
from keyquorum_core_signer.groups.derivation import UnusableIndex
from keyquorum_core_signer.groups.suites import Bip340, FrostSuite, Suite
from keyquorum_core_signer.primitives.shamir import lagrange
from keyquorum_core_signer.primitives.transcript import digest
from keyquorum_core_signer.protocols.context import bind
from keyquorum_core_signer.protocols.errors import EchoMismatch, ProtocolMisuse, abort_if
from keyquorum_core_signer.protocols.frost.bip340 import Bip445
from keyquorum_core_signer.protocols.frost.messages import FrostCommitments, FrostShares
from keyquorum_core_signer.protocols.frost.rfc9591 import Rfc9591
from keyquorum_core_signer.protocols.frost.variant import SigningPackage, Variant
from keyquorum_core_signer.protocols.keys import KeyShare, PublicKeyPackage, derive
from keyquorum_core_signer.protocols.rounds import Context, PartyId, Rng, Rounds, exchange

PROTOCOL: Final = "frost/v1"
MESSAGES_MAX: Final = 64  # signatures per session; a transaction needs one per input
MESSAGE_BYTES_MAX: Final = 1 << 16  # the largest payload that a chain signs as it is; others sign a digest

Path: TypeAlias = tuple[int, ...]


def sign(
    ctx: Context, suite: Suite, share: KeyShare, messages: tuple[tuple[bytes, Path], ...], rng: Rng
) -> Rounds[tuple[bytes, ...]]:
    """Sign every ``(message, path)`` with the child of ``share``'s key at that path; signatures come in that order.

    A BIP-340 signature is for the Taproot output key of the child: BIP-341's tweak without a script is always applied.
    ``ctx.parties`` are the signers, at least ``threshold`` of the key's parties.
    """
    variant = variant_for(suite)
    bound = bind(ctx, suite, PROTOCOL)
    _check(ctx, suite, share, messages)
    variant.validate(share.public, ctx.parties)
    children = _children(suite, share.public, messages)

    # Round 1, commitment. RFC 9591 section 5.1: fresh (d_i, e_i) for each message.
    nonces = [
        variant.draw_nonces(share, child, message, digest("keyquorum/frost/v1/nonces", bound, k), rng)
        for k, ((message, _), (_, child)) in enumerate(zip(messages, children, strict=True))
    ]
    commitments = FrostCommitments(tuple(pair.commitment for pair in nonces))
    _refuse_repetition(commitments)
    inbox = yield from exchange(ctx, commitments)
    received: dict[PartyId, FrostCommitments] = dict(inbox.broadcast)
    abort_if("one commitment per message", (i for i, m in received.items() if len(m.commitments) != len(messages)))

    # Round 2, signature share generation. Section 5.2: everybody has the whole commitment list, and says which one it
    # signed for: a share that was made for another list, or under another view of the key, proves nothing about its
    # signer.
    seen = digest("keyquorum/frost/v1/commitments", bound, share.public, messages, tuple(received.items()))
    packages = [
        variant.prepare(child, message, {i: received[i].commitments[k] for i in ctx.parties})
        for k, ((message, _), (_, child)) in enumerate(zip(messages, children, strict=True))
    ]
    lambda_i = lagrange(suite.group, ctx.me, ctx.parties)
    shares = tuple(
        package.signature_share(ctx.me, pair, share.secret + tweak, lambda_i)
        for package, pair, (tweak, _) in zip(packages, nonces, children, strict=True)
    )
    inbox = yield from exchange(ctx, FrostShares(seen, shares))
    answers: dict[PartyId, FrostShares] = dict(inbox.broadcast)
    if any(answer.seen != seen for answer in answers.values()):
        raise EchoMismatch("commitment list of FROST")
    abort_if("one signature share per message", (i for i, m in answers.items() if len(m.shares) != len(messages)))

    # Aggregation. Section 5.3: only a valid signature leaves, and only when there is none are the shares looked at one
    # by one.
    signatures = []
    invalid: set[PartyId] = set()
    for k, (package, (_, child)) in enumerate(zip(packages, children, strict=True)):
        z = {i: answer.shares[k] for i, answer in answers.items()}
        signature = package.aggregate(z)
        signatures.append(signature)
        if not package.verifies(signature):
            invalid.update(invalid_shares(package, child, z))
            if not invalid:
                raise ProtocolMisuse("the key does not belong to its public shares")
    if ctx.me in invalid:
        raise ProtocolMisuse("our own key share does not belong to its public share")
    abort_if("signature share", invalid)
    return tuple(signatures)


def variant_for(suite: Suite) -> Variant:
    """The specification that makes a suite's signatures; ``ProtocolMisuse`` if none of ours does."""
    if isinstance(suite, FrostSuite):
        return Rfc9591(suite)
    if isinstance(suite, Bip340):
        return Bip445(suite)
    raise ProtocolMisuse("FROST does not make signatures of this scheme")


def invalid_shares(package: SigningPackage, child: PublicKeyPackage, z: Mapping[PartyId, Scalar]) -> set[PartyId]:
    """The signers whose share does not answer their commitment."""
    invalid = set()
    for i, z_i in z.items():
        public_share = child.public_share(i)
        if not package.share_holds(i, z_i, public_share, lagrange(public_share.group, i, z)):
            invalid.add(i)
    return invalid


def _check(ctx: Context, suite: Suite, share: KeyShare, messages: tuple[tuple[bytes, Path], ...]) -> None:
    if share.secret.group is not suite.group or share.party != ctx.me:
        raise ProtocolMisuse("the key share is of another group or another party")
    if (share.key_id, share.epoch, share.public.threshold) != (ctx.key_id, ctx.epoch, ctx.threshold):
        raise ProtocolMisuse("the key share is of another key, epoch or threshold than the context")
    if not set(ctx.parties) <= {party for party, _ in share.public.public_shares}:
        raise ProtocolMisuse("a signer holds no share of the key")
    if not 0 < len(messages) <= MESSAGES_MAX or any(len(message) > MESSAGE_BYTES_MAX for message, _ in messages):
        raise ProtocolMisuse("no messages, too many or too long ones")


def _children(
    suite: Suite, public: PublicKeyPackage, messages: tuple[tuple[bytes, Path], ...]
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
