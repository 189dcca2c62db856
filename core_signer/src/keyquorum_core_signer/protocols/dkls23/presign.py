"""Presigning: the first two rounds of Doerner, Kondi, Lee and shelat, "Threshold ECDSA in Three Rounds" (2023/765)."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from keyquorum_core_signer.groups.ciphersuite import Group, Point, Scalar
from keyquorum_core_signer.groups.derivation import UnusableIndex
from keyquorum_core_signer.groups.suites import Ecdsa
from keyquorum_core_signer.primitives import rvole
from keyquorum_core_signer.primitives.hedging import hedged
from keyquorum_core_signer.primitives.ot.extension import ExtensionMessage, InconsistentExtension
from keyquorum_core_signer.primitives.shamir import lagrange
from keyquorum_core_signer.primitives.transcript import digest
from keyquorum_core_signer.primitives.zero_shares import zero_share
from keyquorum_core_signer.protocols.context import bind
from keyquorum_core_signer.protocols.dkls23.errors import Desync, PairCompromised
from keyquorum_core_signer.protocols.dkls23.handshake import compare, handshake
from keyquorum_core_signer.protocols.dkls23.messages import (
    PresignCommitment,
    PresignExtension,
    PresignMultiplication,
    PresignOpening,
)
from keyquorum_core_signer.protocols.dkls23.presignature import Presignature, PresignatureTerms
from keyquorum_core_signer.protocols.dkls23.setup import PairSetup
from keyquorum_core_signer.protocols.errors import EchoMismatch, ProtocolAbort, ProtocolMisuse, abort_if
from keyquorum_core_signer.protocols.keys import KeyShare, PublicKeyPackage, derive
from keyquorum_core_signer.protocols.rounds import Context, PartyId, Rng, Rounds, checkpoint, exchange
from keyquorum_core_signer.wire.codec import Bytes32, plain

PROTOCOL: Final = "dkls23-presign/v1"
EXTENSION: Final = "consistency of the transfer extension"
MULTIPLICATION: Final = "consistency of the multiplication"
NONCE_INPUT: Final = "R_j is what was multiplied"
KEY_INPUT: Final = "pk_j is what was multiplied"
_WIDE: Final = 64  # bytes per random scalar: no measurable bias

Path: TypeAlias = tuple[int, ...]
Setups: TypeAlias = Mapping[PartyId, PairSetup]


@dataclass(frozen=True, slots=True)
class PendingChecks:
    """Checkpoint: checks of these pairs' transfers are about to run. A node that finds it after a restart, without an
    end of the session, cannot know how they ended, and pairs again.

    The checks run in the very step that answers. The host lets one session of a pair at a time take it, whichever
    process that runs in: what one learns, as a ban, must be known to the next.
    """

    pairs: tuple[tuple[PartyId, Bytes32], ...]  # peer, id of the set-up


@dataclass(frozen=True, slots=True)
class BanEvidence:
    """What goes with a ban, beside the peer's signed envelopes: which set-ups died of which check. No secret."""

    step: str
    context: Bytes32
    pairs: tuple[tuple[PartyId, int, Bytes32], ...]  # peer, generation, id of the set-up


def presign(
    ctx: Context, suite: Ecdsa, share: KeyShare, path: Path, *, setups: Setups, rng: Rng
) -> Rounds[Presignature]:
    """Make what one signature by exactly ``ctx.parties`` with the child key at ``path`` needs, before its message.

    ``setups`` holds our half of the pair set-up with every other party of the quorum. It is looked at again before
    each check: what is no longer there, because another session ended the pair, is not checked, and :class:`Desync`.
    """
    bound = bind(ctx, suite, PROTOCOL)
    return (yield from presign_bound(ctx, bound, suite, share, path=path, setups=setups, rng=rng))


def presign_bound(
    ctx: Context, bound: bytes, suite: Ecdsa, share: KeyShare, *, path: Path, setups: Setups, rng: Rng
) -> Rounds[Presignature]:
    """:func:`presign` inside a protocol with a context digest of its own."""
    group, me, others = suite.group, ctx.me, ctx.others()
    tweak, child = _child(ctx, suite, share, path, setups)
    draw = hedged(rng, "keyquorum/dkls23/v1/presign", bound, path, share.secret)
    pairs = _Pairs(bound, path, me, {j: setups[j] for j in others})

    # Round 1. Commit to R_i = r_i * G. As Bob towards each other party: a random chi_ij under transfers.
    r_i, phi_i = (group.reduce_wide(draw(_WIDE)) for _ in range(2))
    R_i, blind = group.base_multiply(r_i), draw(32)
    greetings = {j: handshake(bound, share, path, setups[j]) for j in others}
    bobs, extensions = pairs.begin(group, draw)
    inbox = yield from exchange(
        ctx,
        PresignCommitment(_commitment(bound, me, R_i, blind)),
        {j: PresignExtension(greetings[j], extensions[j]) for j in others},
    )
    commitments: dict[PartyId, PresignCommitment] = dict(inbox.broadcast)
    received: Mapping[PartyId, PresignExtension] = inbox.private

    # Before any transfer is used: do both sides of each pair stand in the same session? From here on a check that fails
    # ends the pair, and that must survive a crash between the check and its verdict.
    compare(greetings, {j: received[j].handshake for j in others})
    yield from checkpoint(PendingChecks(tuple((j, setup.id) for j, setup in pairs.setups.items())))
    pairs.require_in(setups)

    # Round 2. sk_i is the additive share among this quorum. As Alice towards each: multiply (r_i, sk_i) by its chi_ji.
    # Gamma, in the exponent, and psi_ij = phi_i - chi_ij let the other check, and use, what it gets.
    zeta_i = zero_share(
        group,
        digest("keyquorum/dkls23/v1/zero-share", bound, path),
        me,
        {j: setup.zero_seed for j, setup in pairs.setups.items()},
    )
    sk_i = lagrange(group, me, ctx.parties) * (share.secret + tweak) + zeta_i
    c, answers = pairs.multiply({j: received[j].extension for j in others}, (r_i, sk_i), draw)
    seen = digest("keyquorum/dkls23/v1/commitments", bound, path, tuple(commitments.items()))
    inbox = yield from exchange(
        ctx,
        PresignOpening(seen, R_i, blind, group.base_multiply(sk_i)),
        {
            j: PresignMultiplication(
                group.base_multiply(c[j][0]), group.base_multiply(c[j][1]), phi_i - bobs[j].b, answer
            )
            for j, answer in answers.items()
        },
    )
    pairs.require_in(setups)
    openings: dict[PartyId, PresignOpening] = dict(inbox.broadcast)
    products: Mapping[PartyId, PresignMultiplication] = inbox.private

    # Everybody saw the same commitments; they open; each product is of the R_j and pk_j that were shown.
    if any(theirs.seen != seen for theirs in openings.values()):
        raise EchoMismatch("commitments to the nonce points")
    unopened = [
        j for j in others if commitments[j].commitment != _commitment(bound, j, openings[j].R, openings[j].blind)
    ]
    d = pairs.finish(bobs, openings, products, unopened)
    # Shares of zero hide whose pk_j is wrong when there are more than two.
    if group.sum(theirs.pk for theirs in openings.values()) != child.public_key:
        raise ProtocolAbort("sum of pk_i is the key", others if len(others) == 1 else ())
    R = group.sum(theirs.R for theirs in openings.values())
    if R.is_identity():
        raise ProtocolAbort("R is the identity", ())  # all were committed to, so nobody could aim at it

    # Shares of u = r * phi and v = sk * phi.
    phi = phi_i + sum((products[j].psi for j in others), group.zero())
    u_i = r_i * phi + sum((c[j][0] + d[j][0] for j in others), group.zero())
    v_i = sk_i * phi + sum((c[j][1] + d[j][1] for j in others), group.zero())
    terms = PresignatureTerms(
        id=digest("keyquorum/dkls23/v1/presignature", bound, path, seen),
        key_id=share.key_id,
        epoch=share.epoch,
        path=path,
        parties=ctx.parties,
        public_key=child.public_key,
        R=R,
    )
    return Presignature(me, terms, (phi_i, u_i, v_i))


@dataclass(frozen=True, slots=True)
class _Pairs:
    """One multiplication in each direction with every other party."""

    bound: bytes
    path: Path
    me: PartyId
    setups: Setups

    def require_in(self, live: Setups) -> None:
        """:class:`Desync` if a set-up was destroyed or made anew since the session began.

        A wrong guess at Delta shows a bit of it, just as a right one: sessions in parallel, each with another guess,
        would learn as many bits as there are sessions that still check.
        """
        gone = [j for j, setup in self.setups.items() if j not in live or live[j].id != setup.id]
        if gone:
            raise Desync((j, ("setup",)) for j in gone)

    def begin(self, group: Group, rng: Rng) -> tuple[dict[PartyId, rvole.Bob], dict[PartyId, ExtensionMessage]]:
        """As Bob: our state with chi_ij in it, and the first message, per party."""
        bobs, messages = {}, {}
        for j, setup in self.setups.items():
            place = setup.multiplication_place(self.bound, self.path, alice=j)
            bobs[j], messages[j] = rvole.begin(group, setup.receiver, place, setup.id, rng)
        return bobs, messages

    def multiply(
        self, extensions: Mapping[PartyId, ExtensionMessage], inputs: tuple[Scalar, Scalar], rng: Rng
    ) -> tuple[dict[PartyId, tuple[Scalar, ...]], dict[PartyId, rvole.MultiplicationMessage]]:
        """As Alice: (c^u_ij, c^v_ij) and the second message, per party."""
        c, messages, cheating = {}, {}, []
        for j, setup in self.setups.items():
            place = setup.multiplication_place(self.bound, self.path, alice=self.me)
            try:
                c[j], messages[j] = rvole.multiply(setup.sender, place, setup.id, extensions[j], inputs=inputs, rng=rng)
            except InconsistentExtension:
                cheating.append(j)
        self._ban_if(EXTENSION, cheating)
        return c, messages

    def finish(
        self,
        bobs: Mapping[PartyId, rvole.Bob],
        openings: Mapping[PartyId, PresignOpening],
        products: Mapping[PartyId, PresignMultiplication],
        unopened: Collection[PartyId],
    ) -> dict[PartyId, tuple[Scalar, ...]]:
        """As Bob: (d^u_ij, d^v_ij) per party, checked. What comes with a commitment that did not open is not used."""
        d: dict[PartyId, tuple[Scalar, ...]] = {}
        failed: dict[PartyId, str] = {}
        for j, bob in bobs.items():
            if j in unopened:
                continue
            try:
                d[j] = bob.finish(products[j].product)
            except rvole.InconsistentInputs:
                failed[j] = MULTIPLICATION
                continue
            fault = _input_fault(bob.b, openings[j], products[j], d[j])
            if fault is not None:
                failed[j] = fault
        self._ban_if("; ".join(sorted(set(failed.values()))), failed, unopened)
        abort_if("opening of the commitment", unopened)
        return d

    def _ban_if(self, step: str, banned: Collection[PartyId], culprits: Collection[PartyId] = ()) -> None:
        """One abort for all; the evidence is what was destroyed and why, and no secret of it."""
        if banned:
            ended = tuple((j, self.setups[j].generation, self.setups[j].id) for j in sorted(banned))
            evidence = plain.encode(BanEvidence(step, self.bound, ended))
            raise PairCompromised(step, culprits, banned, evidence)


def _child(ctx: Context, suite: Ecdsa, share: KeyShare, path: Path, setups: Setups) -> tuple[Scalar, PublicKeyPackage]:
    """The tweak and public package at the path, once everything fits the context."""
    if share.secret.group is not suite.group or share.party != ctx.me:
        raise ProtocolMisuse("the key share is of another group or another party")
    if (share.key_id, share.epoch, share.public.threshold) != (ctx.key_id, ctx.epoch, ctx.threshold):
        raise ProtocolMisuse("the key share is of another key, epoch or threshold than the context")
    if not set(ctx.parties) <= {party for party, _ in share.public.public_shares}:
        raise ProtocolMisuse("a signer holds no share of the key")
    if suite.group.base_multiply(share.secret) != share.public.public_share(ctx.me):
        raise ProtocolMisuse("our own key share does not belong to its public share")
    if any(j not in setups or (setups[j].me, setups[j].peer) != (ctx.me, j) for j in ctx.others()):
        raise ProtocolMisuse("a signer is not paired with us, or by another's set-up")
    try:
        return derive(suite, share.public, path)
    except UnusableIndex as error:
        raise ProtocolMisuse(str(error)) from None


def _commitment(bound: bytes, party: PartyId, R: Point, blind: bytes) -> bytes:
    return digest("keyquorum/dkls23/v1/commitment", bound, party, R, blind)


def _input_fault(
    chi: Scalar, opening: PresignOpening, product: PresignMultiplication, d: tuple[Scalar, ...]
) -> str | None:
    """chi_ij * R_j - Gamma^u_ji = d^u_ij * G, and likewise with pk_j: Alice multiplied what she showed."""
    group = chi.group
    d_u, d_v = d
    if group.multiply_secret(opening.R, chi) != product.Gamma_u + group.base_multiply(d_u):
        return NONCE_INPUT
    if group.multiply_secret(opening.pk, chi) != product.Gamma_v + group.base_multiply(d_v):
        return KEY_INPUT
    return None
