"""Key generation: SimplPedPop inside EncPedPop inside CertEq, the composition of ChillDKG, in three rounds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from keyquorum_core_signer.groups.suites import Suite
from keyquorum_core_signer.primitives import possession, shamir, vss
from keyquorum_core_signer.primitives.sealed import InvalidKey, Place, SealingKey, SharedSecret, seal
from keyquorum_core_signer.primitives.transcript import associated_data, digest
from keyquorum_core_signer.protocols.context import bind
from keyquorum_core_signer.protocols.dkg import dealing
from keyquorum_core_signer.protocols.dkg.complaint import ShareComplaint
from keyquorum_core_signer.protocols.dkg.messages import (
    KeygenCertification,
    KeygenCommitment,
    KeygenOpening,
    KeygenShare,
)
from keyquorum_core_signer.protocols.errors import EchoMismatch, ProtocolAbort, abort_if
from keyquorum_core_signer.protocols.keys import KeyShare, PublicKeyPackage
from keyquorum_core_signer.protocols.rounds import Context, PartyId, Rng, Rounds, checkpoint, exchange

PROTOCOL: Final = dealing.PROTOCOL
_WIDE: Final = 64  # bytes per random scalar: no measurable bias


class Certifier(Protocol):
    """The identity layer: what a party states about a finished key, and its signature on that."""

    def statement(self, public: PublicKeyPackage, transcript_hash: bytes) -> bytes:
        """The bytes all parties sign: a function of public data, the same at every honest party."""

    def sign(self, statement: bytes) -> bytes:
        """Our identity key's signature."""

    def verify(self, party: PartyId, statement: bytes, signature: bytes) -> bool:
        """Whether ``signature`` is by the pinned identity key of ``party``; false, never an exception, for any bytes."""


@dataclass(frozen=True, slots=True)
class KeygenResult:
    """A key that every party has certified."""

    share: KeyShare
    statement: bytes
    signatures: tuple[tuple[PartyId, bytes], ...]  # on the statement, ascending, everybody's
    transcript: bytes  # all that was broadcast in rounds 1 and 2, without the sealed shares
    transcript_hash: bytes


def keygen(ctx: Context, suite: Suite, certifier: Certifier, rng: Rng) -> Rounds[KeygenResult]:
    """Make a key of which ``ctx.threshold`` of ``ctx.parties`` are needed to sign."""
    bound = bind(ctx, suite, PROTOCOL)
    group, t = suite.group, ctx.threshold

    # Round 1. SimplPedPop: draw f_i of degree t-1, commit to A_i = f_i * G, prove knowledge of a_{i,0}. Everything is
    # behind a hash until all have committed, so that nobody chooses a contribution after seeing the others'.
    f_i = [group.reduce_wide(rng(_WIDE)) for _ in range(t)]
    A_i = vss.commit(f_i)
    proof = possession.prove(f_i[0], A_i[0], rng(32), bound, ctx.me, dealing.ROUND, A_i)
    opening = KeygenOpening(A_i, proof, rng(32))
    sealing = SealingKey(rng(32))
    sealing_public = sealing.public
    commitment = dealing.commitment_to(bound, ctx.me, sealing_public, opening)
    inbox = yield from exchange(ctx, KeygenCommitment(commitment, sealing_public))
    commitments: dict[PartyId, KeygenCommitment] = dict(inbox.broadcast)

    # Round 2. EncPedPop: open the commitment to all, seal f_i(j) to party j.
    shared = _agree(ctx, sealing, commitments)
    sealed = {
        j: KeygenShare(
            seal(
                shared[j],
                Place(bound, ctx.me, j, sealing_public, commitments[j].sealing_key),
                shamir.evaluate(f_i, j).to_bytes(),
            )
        )
        for j in ctx.others()
    }
    inbox = yield from exchange(ctx, opening, sealed)
    openings: dict[PartyId, KeygenOpening] = dict(inbox.broadcast)

    # SimplPedPop's checks: opening, degree, proof of possession; then f_j(i) * G = sum of i^k * A_{j,k}.
    faults = {
        j: fault
        for j in ctx.others()
        if (fault := dealing.opening_fault(bound, t, j, commitments[j], openings[j])) is not None
    }
    s_i = shamir.evaluate(f_i, ctx.me)
    accused = []
    for j in (j for j in ctx.others() if j not in faults):
        place = Place(bound, j, ctx.me, commitments[j].sealing_key, sealing_public)
        share_j = dealing.open_share(group, shared[j], place, inbox.private[j], openings[j])
        if share_j is None:
            accused.append(j)
            faults[j] = dealing.SHARE
        else:
            s_i += share_j
    if faults:
        raise ProtocolAbort("; ".join(sorted(set(faults.values()))), faults, _evidence(accused, sealing))
    del f_i, sealing, shared  # of no more use, and the checkpoint may take a while

    public = _public_package(ctx, bound, openings)
    assert group.base_multiply(s_i) == public.public_share(ctx.me), "checked shares do not add up"
    share = KeyShare(ctx.me, s_i, public, ctx.key_id, ctx.epoch)

    # Round 3. CertEq: everybody signs what everybody saw. The signature promises that the share is stored.
    transcript = associated_data(
        "keyquorum/dkg/v1/transcript", bound, tuple(commitments.items()), tuple(openings.items())
    )
    transcript_hash = digest("keyquorum/dkg/v1/transcript-hash", transcript)
    statement = certifier.statement(public, transcript_hash)
    yield from checkpoint(share)
    inbox = yield from exchange(ctx, KeygenCertification(transcript_hash, certifier.sign(statement)))
    certifications: dict[PartyId, KeygenCertification] = dict(inbox.broadcast)
    if any(certification.transcript_hash != transcript_hash for certification in certifications.values()):
        raise EchoMismatch("transcript of key generation")
    abort_if(
        "signature on the key's statement",
        (j for j in ctx.others() if not certifier.verify(j, statement, certifications[j].signature)),
    )
    signatures = tuple((j, certification.signature) for j, certification in certifications.items())
    return KeygenResult(share, statement, signatures, transcript, transcript_hash)


def _agree(
    ctx: Context, sealing: SealingKey, commitments: Mapping[PartyId, KeygenCommitment]
) -> dict[PartyId, SharedSecret]:
    """The Diffie-Hellman value with every other party."""
    shared, small_order = {}, []
    for j in ctx.others():
        try:
            shared[j] = sealing.shared(commitments[j].sealing_key)
        except InvalidKey:
            small_order.append(j)
    abort_if("sealing key of small order", small_order)
    return shared


def _evidence(accused: list[PartyId], sealing: SealingKey) -> bytes:
    """What proves that sealed shares were bad; nothing is disclosed when none was."""
    return ShareComplaint(tuple(accused), sealing.secret).to_bytes() if accused else b""


def _public_package(ctx: Context, bound: bytes, openings: Mapping[PartyId, KeygenOpening]) -> PublicKeyPackage:
    """Y = sum of A_{j,0}, Y_i from the summed commitment, the chain code from everybody's contribution."""
    commitment = vss.add_commitments(opening.coefficients for opening in openings.values())
    contributions = tuple((j, opening.chain_code) for j, opening in openings.items())
    public_shares = tuple((i, vss.public_share(commitment, i)) for i in ctx.parties)
    if any(point.is_identity() for point in (commitment[0], *(share for _, share in public_shares))):
        # Everybody proved knowledge of its part, so nobody could aim at this: chance, or all parties together.
        raise ProtocolAbort("the key or one of its shares is the identity", ())
    chain_code = digest("keyquorum/dkg/v1/chain-code", bound, contributions)
    return PublicKeyPackage(commitment[0], chain_code, public_shares, ctx.threshold)
