"""Pairing two nodes: both halves fit, nothing of another session or generation is taken, stored halves come back."""

from dataclasses import replace

import pytest

from keyquorum_core_signer.groups.suites import ECDSA
from keyquorum_core_signer.primitives.ot.extension import bits_of
from keyquorum_core_signer.primitives.zero_shares import Contribution
from keyquorum_core_signer.protocols.dkls23 import pairing
from keyquorum_core_signer.protocols.dkls23.errors import Desync
from keyquorum_core_signer.protocols.dkls23.messages import PairAnswer, PairConfirmation, PairRequest
from keyquorum_core_signer.protocols.dkls23.setup import GENERATION_MAX, PairSetup, decode_setup, encode_setup
from keyquorum_core_signer.protocols.errors import EchoMismatch, ProtocolAbort, ProtocolMisuse
from keyquorum_core_signer.protocols.messages import codec_for
from keyquorum_core_signer.protocols.rounds import PartyId
from keyquorum_core_signer.wire.codec import DecodeError
from support.adversary import log
from support.committee import context, run
from support.dkls23 import (
    DIGEST,
    child_key,
    dealt_setup,
    disguised,
    pair_programs,
    run_with,
    sign_programs,
    signers,
    verify_elsewhere,
)

TYPES = {1: PairRequest, 2: PairAnswer, 3: PairConfirmation}


@pytest.fixture(scope="module")
def paired():
    """Both halves of one pairing."""
    simulator = run(ECDSA, pair_programs())
    assert not simulator.failures, simulator.failures
    return simulator


def rewriting(round_, rewrite):
    """A tap that alters one round's message as an object."""
    codec = codec_for(ECDSA)

    def tap(packet):
        if packet.round != round_:
            return [packet]
        return [replace(packet, payload=codec.encode(rewrite(codec.decode(TYPES[round_], packet.payload))))]

    return tap


def assert_fit(one: PairSetup, two: PairSetup):
    """Each sender holds the key of each bit of its Delta, out of the two that the other holds."""
    assert (one.me, one.peer) == (two.peer, two.me)
    assert (one.id, one.generation, one.zero_seed) == (two.id, two.generation, two.zero_seed)
    for sender, receiver in ((one.sender, two.receiver), (two.sender, one.receiver)):
        for bit, key, pair in zip(bits_of(sender.delta), sender.keys, receiver.pairs, strict=True):
            assert key == pair[bit] != pair[1 - bit]


def test_both_halves_fit(paired):
    """128 transfers each way, with different Deltas, and one seed for zero shares."""
    one, two = (paired.results[party] for party in (1, 2))
    assert_fit(one, two)
    assert one.sender.delta != two.sender.delta
    assert len({key for pair in (*one.receiver.pairs, *two.receiver.pairs) for key in pair}) == 512


def test_a_made_setup_signs(paired):
    """What pairing makes is what signing needs, also after it was stored."""
    shares = signers(quorum=(1, 2))
    setups = {me: {PartyId(3 - me): decode_setup(encode_setup(half))} for me, half in paired.results.items()}
    verify_elsewhere(child_key(shares), DIGEST, run(ECDSA, sign_programs(shares, setups=setups)).results[1])


def test_it_is_stored_before_it_is_confirmed(paired):
    """A confirmation promises that the half is there: it is yielded before round 3, and held while that waits."""
    program = pair_programs()[PartyId(1)]
    simulator = run(ECDSA, {PartyId(1): program, PartyId(2): pair_programs()[PartyId(2)]}, taps={2: silent_from(3)})
    assert set(simulator.results) == {2}
    assert simulator.parties[1].checkpoints == [paired.results[1]]


def silent_from(round_):
    """A tap that drops what is sent from a round on."""
    return lambda packet: [packet] if packet.round < round_ else []


def test_sessions_and_generations_share_nothing():
    """The same randomness in another session or generation makes another set-up altogether."""
    found = [
        run(ECDSA, pair_programs(**changes)).results[1]
        for changes in ({}, {"generation": 2}, {"session_id": b"\x44" * 32})
    ]
    for name in ("id", "zero_seed"):
        assert len({getattr(setup, name) for setup in found}) == 3
    assert len({setup.sender.delta for setup in found}) == 3


def test_generations_that_differ_blame_nobody():
    """A node that lags behind is no criminal."""
    programs = pair_programs(generation=3)
    programs[PartyId(2)] = pair_programs(generation=4)[PartyId(2)]
    failures = run(ECDSA, programs).failures
    assert {type(failure) for failure in failures.values()} == {Desync}
    assert failures[1].differing == ((2, ("generation",)),)


def test_sessions_that_differ_blame_nobody():
    """Nor is one that was told of another session or another order."""
    programs = pair_programs()
    programs[PartyId(2)] = pair_programs(session_id=b"\x44" * 32)[PartyId(2)]
    failures = run(ECDSA, programs).failures
    assert {type(failure) for failure in failures.values()} == {Desync}
    assert failures[1].differing == ((2, ("context",)),)


def flipped(data):
    return bytes([data[0] ^ 1]) + data[1:]


def swapped(points):
    return (points[1], points[0], *points[2:])


@pytest.mark.parametrize(
    ("round_", "rewrite", "step"),
    [
        (1, lambda m: replace(m, commitment=flipped(m.commitment)), "opening of the seed"),
        (2, lambda m: replace(m, contribution=Contribution(flipped(m.contribution.value))), "opening of the seed"),
        (1, lambda m: replace(m, request=replace(m.request, pairs=m.request.pairs[:-1])), "request"),
        (1, lambda m: replace(m, request=replace(m.request, pairs=m.request.pairs * 2)), "request"),
        (2, lambda m: replace(m, answer=replace(m.answer, points=m.answer.points[:-1])), "one answer"),
        (2, lambda m: replace(m, answer=replace(m.answer, points=())), "one answer"),
    ],
)
def test_malformed_messages_name_their_sender(round_, rewrite, step):
    """Wrong openings and wrong counts, from the other side of a pair."""
    failure = run(ECDSA, pair_programs(), taps={2: rewriting(round_, rewrite)}).failures[1]
    assert isinstance(failure, ProtocolAbort)
    assert step in failure.step
    assert failure.culprits == (2,)


@pytest.mark.parametrize(
    ("round_", "rewrite"),
    [
        (1, lambda m: replace(m, request=replace(m.request, pairs=swapped(m.request.pairs)))),
        (2, lambda m: replace(m, answer=replace(m.answer, points=swapped(m.answer.points)))),
        (3, lambda m: replace(m, confirmation=flipped(m.confirmation))),
    ],
)
def test_different_transcripts_are_noticed(round_, rewrite):
    """Whatever was exchanged in transit, the hashes differ; nobody is blamed, and nobody finishes who saw it."""
    failures = run(ECDSA, pair_programs(), taps={2: rewriting(round_, rewrite)}).failures
    assert isinstance(failures[1], EchoMismatch)


def test_a_replayed_pairing_is_refused():
    """Messages of an earlier pairing of the same two nodes, under the context of this one."""
    earlier = log(run(ECDSA, pair_programs(seed=5, session_id=b"\x44" * 32)))

    def tap(packet):
        now, then = (
            codec_for(ECDSA).decode(TYPES[packet.round], data)
            for data in (packet.payload, earlier[2, 1, packet.round, True])
        )
        if packet.round == 1:
            then = replace(then, context=now.context)
        return [replace(packet, payload=codec_for(ECDSA).encode(then))]

    failure = run(ECDSA, pair_programs(), taps={2: tap}).failures[1]
    assert (failure.step, failure.culprits) == ("opening of the seed", (2,))


def test_neither_side_chooses_the_seed():
    """A side that answers with a contribution chosen after it saw the other's cannot open its commitment."""
    late = rewriting(2, lambda m: replace(m, contribution=Contribution(b"\x77" * 32)))
    assert run(ECDSA, pair_programs(), taps={1: late}).failures[2].culprits == (1,)


def test_base_transfers_are_bound_to_their_direction():
    """A side that hashes for the other direction gets keys that its peer does not have: the set-ups do not fit."""
    direction = pairing._direction
    turned = (pairing, "_direction", lambda place, alice, bob: direction(place, bob, alice))
    simulator = run_with(pair_programs(), party_2=lambda program: disguised(program, turned))
    one, two = (simulator.results[party] for party in (1, 2))
    assert not {key for pair in one.receiver.pairs for key in pair} & set(two.sender.keys)


@pytest.mark.parametrize("generation", [0, -1, GENERATION_MAX + 1])
def test_misuse(generation):
    """A generation out of range, or three parties, draws nothing."""
    with pytest.raises(ProtocolMisuse):
        next(pairing.pair(context(ECDSA, pairing.PROTOCOL, 1, (1, 2), 2), ECDSA, generation, pytest.fail))
    with pytest.raises(ProtocolMisuse):
        next(pairing.pair(context(ECDSA, pairing.PROTOCOL, 1, (1, 2, 3), 2), ECDSA, 1, pytest.fail))


def test_stored_halves_are_checked():
    """Encodings come back as they were, and what pairing does not make is refused."""
    half = dealt_setup(1, 2)
    assert decode_setup(encode_setup(half)) == half
    for bad in (
        replace(half, peer=half.me),
        replace(half, me=PartyId(0)),
        replace(half, peer=PartyId(0)),
        replace(half, generation=0),
        replace(half, sender=replace(half.sender, keys=half.sender.keys[:-1])),
        replace(half, receiver=replace(half.receiver, pairs=half.receiver.pairs[:-1])),
    ):
        with pytest.raises(DecodeError):
            decode_setup(encode_setup(bad))
    with pytest.raises(DecodeError):
        decode_setup(encode_setup(half) + b"\x00")
