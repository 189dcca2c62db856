"""Pair set-up: base transfers in both directions and the zero shares' seed, once per pair of nodes, in three rounds."""

from typing import Final

from keyquorum_core_signer.groups.ciphersuite import Group
from keyquorum_core_signer.groups.suites import Suite
from keyquorum_core_signer.primitives.hedging import hedged
from keyquorum_core_signer.primitives.ot import endemic
from keyquorum_core_signer.primitives.ot.extension import (
    BASE_TRANSFERS,
    ROW_BYTES,
    ReceiverSeeds,
    SenderSeeds,
    bits_of,
    packed,
)
from keyquorum_core_signer.primitives.transcript import digest
from keyquorum_core_signer.primitives.zero_shares import Contribution, commitment, pair_seed
from keyquorum_core_signer.protocols.context import bind
from keyquorum_core_signer.protocols.dkls23.errors import Desync
from keyquorum_core_signer.protocols.dkls23.messages import PairAnswer, PairConfirmation, PairRequest
from keyquorum_core_signer.protocols.dkls23.setup import GENERATION_MAX, PairSetup
from keyquorum_core_signer.protocols.errors import EchoMismatch, ProtocolAbort, ProtocolMisuse, abort_if
from keyquorum_core_signer.protocols.rounds import Context, PartyId, Rng, Rounds, checkpoint, exchange

PROTOCOL: Final = "dkls23-pair/v1"


def pair(ctx: Context, suite: Suite, generation: int, rng: Rng) -> Rounds[PairSetup]:
    """Agree on set-up number ``generation`` of the two parties of ``ctx``; the key id and epoch are the caller's.

    The set-up is yielded in a checkpoint before it is confirmed: whoever confirms has stored it. If one side lacks the
    other's confirmation, the next handshake shows it and they pair again.
    """
    bound = bind(ctx, suite, PROTOCOL)
    if len(ctx.parties) != 2 or not 1 <= generation <= GENERATION_MAX:
        raise ProtocolMisuse("a pair has two parties and a generation from 1 on")
    group, me, (peer,) = suite.group, ctx.me, ctx.others()
    place = digest("keyquorum/dkls23-pair/v1/place", bound, generation)
    draw = hedged(rng, place, me)

    # Round 1. We are the receiver of the base transfers whose extension we send: the choices are Delta.
    receiving = endemic.receive(group, _direction(place, me, peer), bits_of(draw(ROW_BYTES)), draw)
    contribution = Contribution(draw(32))
    opened = PairRequest(bound, generation, commitment(place, me, contribution), receiving.request)
    inbox = yield from exchange(ctx, to_each={peer: opened})
    theirs: PairRequest = inbox.private[peer]
    compared = {"context": theirs.context == bound, "generation": theirs.generation == generation}
    differing = tuple(name for name, same in compared.items() if not same)
    if differing:
        raise Desync(((peer, differing),))

    # Round 2. Answer the peer's choices, and open our part of the seed.
    sending = _answer(group, _direction(place, peer, me), theirs.request, draw)
    if sending is None:
        raise ProtocolAbort("request of the base transfers", (peer,))
    receiver, answer = sending
    answered = PairAnswer(contribution, answer)
    inbox = yield from exchange(ctx, to_each={peer: answered})
    reply: PairAnswer = inbox.private[peer]
    abort_if("opening of the seed", (peer,) if commitment(place, peer, reply.contribution) != theirs.commitment else ())
    abort_if("one answer per base transfer", (peer,) if len(reply.answer.points) != BASE_TRANSFERS else ())

    # Round 3. Both confirm what they saw. Everything that was sent is in the set-up's id; the seeds follow from it.
    first, second = ((opened, answered), (theirs, reply)) if me < peer else ((theirs, reply), (opened, answered))
    shown = tuple((request, sent.answer) for request, sent in (first, second))
    setup = PairSetup(
        me=me,
        peer=peer,
        generation=generation,
        id=digest("keyquorum/dkls23-pair/v1/id", place, shown),
        sender=SenderSeeds(packed(receiving.choices), receiving.keys(reply.answer)),
        receiver=receiver,
        zero_seed=pair_seed(place, first[1].contribution, second[1].contribution),
    )
    del receiving, receiver, sending
    yield from checkpoint(setup)
    confirmation = digest("keyquorum/dkls23-pair/v1/confirmation", setup.id, setup.zero_seed)
    inbox = yield from exchange(ctx, to_each={peer: PairConfirmation(confirmation)})
    if inbox.private[peer].confirmation != confirmation:
        raise EchoMismatch("transcript of the pair set-up")
    return setup


def _direction(place: bytes, alice: PartyId, bob: PartyId) -> bytes:
    return digest("keyquorum/dkls23-pair/v1/direction", place, alice, bob)


def _answer(
    group: Group, place: bytes, request: endemic.TransferRequest, draw: Rng
) -> tuple[ReceiverSeeds, endemic.TransferAnswer] | None:
    """The keys that the peer chose from, and the answer to its choices; ``None`` for a malformed request."""
    try:
        pairs, answer = endemic.send(group, place, BASE_TRANSFERS, request, draw)
    except endemic.InvalidTransfer:
        return None
    return ReceiverSeeds(pairs), answer
