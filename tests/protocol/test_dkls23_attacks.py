"""Attacks on DKLs23 signing, each carried as far as its countermeasure lets it."""

import itertools
from dataclasses import replace

import pytest

from keyquorum_core_signer.groups.suites import ECDSA
from keyquorum_core_signer.primitives import rvole, zero_shares
from keyquorum_core_signer.primitives.ot.extension import bits_of
from keyquorum_core_signer.protocols.dkls23 import presign
from keyquorum_core_signer.protocols.dkls23.errors import Desync, PairCompromised
from keyquorum_core_signer.protocols.dkls23.messages import (
    OnlineShares,
    PresignCommitment,
    PresignExtension,
    PresignMultiplication,
    PresignOpening,
)
from keyquorum_core_signer.protocols.dkls23.presign import (
    EXTENSION,
    KEY_INPUT,
    MULTIPLICATION,
    NONCE_INPUT,
    BanEvidence,
)
from keyquorum_core_signer.protocols.errors import EchoMismatch, ProtocolAbort
from keyquorum_core_signer.protocols.messages import codec_for
from keyquorum_core_signer.protocols.rounds import PartyId
from keyquorum_core_signer.wire.codec import plain
from support.adversary import SplitPersonality, log, parse, places, put
from support.committee import run, shares_of
from support.dkls23 import (
    DIGEST,
    SECOND_SESSION,
    child_key,
    dealt_setup,
    disguised,
    presign_programs,
    run_with,
    setups_of,
    sign_programs,
    signers,
    verify_elsewhere,
)
from support.simulator import Simulator
from support.transfers import bad_column, cheating_multiply

ONE = ECDSA.group.scalar(1)
CODEC = codec_for(ECDSA)
TYPES = {
    (1, False): PresignCommitment,
    (1, True): PresignExtension,
    (2, False): PresignOpening,
    (2, True): PresignMultiplication,
    (3, False): OnlineShares,
}


def rewriting(place, rewrite, victims=(1, 2, 3)):
    """A tap that passes each message of (round, private) to ``victims`` through ``rewrite``, as an object."""

    def tap(packet):
        if (packet.round, packet.private) != place or packet.recipient not in victims:
            return [packet]
        return [replace(packet, payload=CODEC.encode(rewrite(CODEC.decode(TYPES[place], packet.payload))))]

    return tap


def flipped(data, at=0):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def assert_banned(failure, step, banned=(2,), culprits=None):
    """The failure names the peers, says that their pairs end, and holds what was destroyed but no secret of it."""
    assert isinstance(failure, PairCompromised), failure
    assert (failure.step, failure.banned) == (step, banned)
    assert failure.culprits == (culprits or banned)
    evidence = plain.decode(BanEvidence, failure.evidence)
    assert evidence.step == step
    assert [peer for peer, _, _ in evidence.pairs] == list(banned)
    for me in (1, 3):
        for peer in banned:
            half = dealt_setup(me, peer)
            for secret in (half.sender.delta, half.zero_seed, *half.sender.keys, *half.receiver.pairs[0]):
                assert secret not in failure.evidence


def assert_ban(simulator, step, victims=(1, 3)):
    """Nobody but the adversary, party 2, is banned; its victims have nothing."""
    assert not set(simulator.results) & {1, 3}
    for victim in victims:
        assert_banned(simulator.failures[victim], step)


# Transfers


@pytest.mark.parametrize("bit", [1, 0])
def test_one_bad_column_of_u(bit):
    """A column of U with other choices guesses a bit of Delta: the wrong guess ends the pair, the right one does nothing."""
    shares = signers(quorum=(1, 2))
    column = bits_of(dealt_setup(1, 2).sender.delta).index(bit)
    half = dealt_setup(2, 1)
    cheating = {2: {PartyId(1): replace(half, receiver=bad_column(half.receiver, column))}}
    simulator = run(ECDSA, sign_programs(shares, setups=cheating))
    if bit:
        assert_ban(simulator, EXTENSION, victims=(1,))
    else:
        verify_elsewhere(child_key(shares), DIGEST, simulator.results[1])


def ending(program, setups, at):
    """A node that drops its pairs, as another session makes it, when this one has yielded ``at`` steps."""
    answer = None
    for count in itertools.count(1):
        try:
            step = program.send(answer)
        except StopIteration as stop:
            return stop.value
        if count == at:
            setups.clear()
        answer = yield step


@pytest.mark.parametrize(
    ("at", "tapped"),
    [
        (1, (1, True)),  # before the handshake
        (2, (1, True)),  # while the checks are announced
        (3, (2, True)),  # between both rounds
    ],
)
def test_a_pair_that_ended_answers_no_other_session(at, tapped):
    """Sessions in parallel, each with a guess at another bit of Delta, would learn all of it before the first ban bites."""
    live = setups_of(1, (1, 2))
    programs = sign_programs(signers(quorum=(1, 2)), setups={1: live})
    programs[PartyId(1)] = ending(programs[PartyId(1)], live, at)

    def spoilt(m):
        if at < 3:
            return replace(m, extension=replace(m.extension, u=flipped(m.extension.u)))
        return replace(m, product=replace(m.product, mu=flipped(m.product.mu)))

    failure = run(ECDSA, programs, taps={2: rewriting(tapped, spoilt)}).failures[1]
    assert isinstance(failure, Desync)
    assert failure.differing == ((2, ("setup",)),)


@pytest.mark.parametrize("field", ["nonce", "u", "x_hat", "t_hat"])
def test_altered_extension(field):
    """Inconsistent x, T, U or nonce: both victims name the sender and end the pair."""
    tap = rewriting(
        (1, True),
        lambda m: replace(m, extension=replace(m.extension, **{field: flipped(getattr(m.extension, field))})),
    )
    assert_ban(run(ECDSA, sign_programs(signers()), taps={2: tap}), EXTENSION)


@pytest.mark.parametrize("field", ["nonce", "masked", "mu"])
def test_altered_multiplication(field):
    """The nonce of the masks, a~ or mu."""
    tap = rewriting(
        (2, True), lambda m: replace(m, product=replace(m.product, **{field: flipped(getattr(m.product, field))}))
    )
    assert_ban(run(ECDSA, sign_programs(signers()), taps={2: tap}), MULTIPLICATION)


def test_altered_eta():
    """Eta is one scalar off."""
    tap = rewriting((2, True), lambda m: replace(m, product=replace(m.product, eta=m.product.eta + ONE)))
    assert_ban(run(ECDSA, sign_programs(signers()), taps={2: tap}), MULTIPLICATION)


def bobs_bit(transfer):
    """Party 1's choice in a transfer with party 2, which the attacker does not know."""
    found, begin = {}, rvole.begin

    def spied(group, seeds, place, gadget, rng):
        bob, message = begin(group, seeds, place, gadget, rng)
        found[gadget] = bits_of(bob.received.choices)[transfer]
        return bob, message

    spying = (rvole, "begin", spied)
    programs = sign_programs(signers(quorum=(1, 2)))
    programs[PartyId(1)] = disguised(programs[PartyId(1)], spying)
    run(ECDSA, programs)
    return found[dealt_setup(1, 2).id]


@pytest.mark.parametrize("transfer", [0, 1, 2, 3, 300, 511])
@pytest.mark.parametrize("right", [True, False])
def test_selective_failure(transfer, right):
    """An Alice that errs in one transfer and guesses Bob's choice there: a wrong guess ends the pair.

    A right guess of one is found out next, since the product is not of R_j; a right guess of zero changed nothing.
    """
    beta = bobs_bit(transfer)
    cheating = cheating_multiply(transfer, beta if right else 1 - beta)
    programs = sign_programs(signers(quorum=(1, 2)))
    simulator = run_with(programs, party_2=lambda program: disguised(program, (rvole, "multiply", cheating)))
    if right and not beta:
        assert set(simulator.results) == {1, 2}
    else:
        assert_ban(simulator, NONCE_INPUT if right else MULTIPLICATION, victims=(1,))


def with_inputs(change):
    """A party that multiplies something else than it shows."""
    honest = rvole.multiply

    def multiply(seeds, place, gadget, message, *, inputs, rng):
        return honest(seeds, place, gadget, message, inputs=change(*inputs), rng=rng)

    return lambda program: disguised(program, (rvole, "multiply", multiply))


@pytest.mark.parametrize(
    ("change", "step"),
    [
        (lambda r, sk: (r + ONE, sk), NONCE_INPUT),
        (lambda r, sk: (r, sk + ONE), KEY_INPUT),
        (lambda r, sk: (sk, r), NONCE_INPUT),
        (lambda r, sk: (r.group.zero(), r.group.zero()), NONCE_INPUT),
    ],
)
def test_another_input_than_shown(change, step):
    """r_i and sk_i are those of R_i and pk_i: checked in the exponent with what Bob alone knows."""
    assert_ban(run_with(sign_programs(signers()), party_2=with_inputs(change)), step)


@pytest.mark.parametrize(("field", "step"), [("Gamma_u", NONCE_INPUT), ("Gamma_v", KEY_INPUT)])
def test_wrong_gamma(field, step):
    """Gamma of another point: moved, negated, or the other one."""
    other = {"Gamma_u": "Gamma_v", "Gamma_v": "Gamma_u"}[field]
    for wrong in (
        lambda m: getattr(m, field) + ECDSA.group.generator,
        lambda m: -getattr(m, field),
        lambda m: getattr(m, other),
    ):
        tap = rewriting((2, True), lambda m, wrong=wrong: replace(m, **{field: wrong(m)}))
        assert_ban(run(ECDSA, sign_programs(signers()), taps={2: tap}), step)


def test_wrong_public_share():
    """pk_i that is not the one that was multiplied."""
    tap = rewriting((2, False), lambda m: replace(m, pk=m.pk + ECDSA.group.generator))
    assert_ban(run(ECDSA, sign_programs(signers()), taps={2: tap}), KEY_INPUT)


@pytest.mark.parametrize(("quorum", "culprits"), [((1, 2), (2,)), ((1, 2, 3), ())])
def test_another_key_share(quorum, culprits):
    """sk_i that is not of the key, though multiplied and shown alike: all abort, and of two the other is named."""
    honest = zero_shares.zero_share
    wrong = (presign, "zero_share", lambda *args: honest(*args) + ONE)
    simulator = run_with(sign_programs(signers(quorum=quorum)), party_2=lambda program: disguised(program, wrong))
    for victim in set(quorum) - {2}:
        failure = simulator.failures[victim]
        assert type(failure) is ProtocolAbort
        assert (failure.step, failure.culprits) == ("sum of pk_i is the key", culprits)


@pytest.mark.parametrize(("quorum", "culprits"), [((1, 2), (2,)), ((1, 2, 3), ())])
@pytest.mark.parametrize("place", ["psi", "w", "u"])
def test_wrong_shares_give_no_signature(quorum, culprits, place):
    """Psi, w_i or u_i that are off: no signature leaves; of two the other is named, of more nobody is."""
    if place == "psi":
        tap = rewriting((2, True), lambda m: replace(m, psi=m.psi + ONE))
    else:
        tap = rewriting(
            (3, False),
            lambda m: replace(
                m, shares=tuple(replace(share, **{place: getattr(share, place) + ONE}) for share in m.shares)
            ),
        )
    simulator = run(ECDSA, sign_programs(signers(quorum=quorum)), taps={2: tap})
    for victim in set(quorum) - {2}:
        failure = simulator.failures[victim]
        assert type(failure) is ProtocolAbort
        assert (failure.step, failure.culprits) == ("signature", culprits)


def test_shares_that_cancel_out():
    """u_i = 0 from both of two parties has no inverse, and gives no signature."""
    zeroed = rewriting(
        (3, False), lambda m: replace(m, shares=tuple(replace(s, u=ECDSA.group.zero()) for s in m.shares))
    )
    programs = sign_programs(signers(quorum=(1, 2)))
    sent = CODEC.decode(OnlineShares, log(run(ECDSA, sign_programs(signers(quorum=(1, 2)))))[1, 2, 3, False])
    opposite = rewriting(
        (3, False),
        lambda m: replace(m, shares=tuple(replace(s, u=-o.u) for s, o in zip(m.shares, sent.shares, strict=True))),
    )
    assert run(ECDSA, programs, taps={2: opposite}).failures[1].step == "signature"
    assert run(ECDSA, sign_programs(signers(quorum=(1, 2))), taps={2: zeroed}).failures[1].step == "signature"


@pytest.mark.parametrize("quorum", [(1, 2), (1, 2, 3)])
def test_a_negated_s_keeps_the_recovery_id(quorum):
    """Who speaks last can turn s into -s: a valid signature with the recovery id of the other point, of another key."""
    shares = signers(quorum=quorum)
    honest = run(ECDSA, sign_programs(shares))
    sent = log(honest)
    weights = [CODEC.decode(OnlineShares, sent[j, 1 if j != 1 else 2, 3, False]).shares[0].w for j in quorum]
    twice = sum(weights, ECDSA.group.zero()) * ECDSA.group.scalar(2)
    negated = rewriting((3, False), lambda m: replace(m, shares=tuple(replace(s, w=s.w - twice) for s in m.shares)))
    simulator = run(ECDSA, sign_programs(shares), taps={2: negated})
    for victim in set(quorum) - {2}:
        assert simulator.results[victim] == honest.results[victim]
        verify_elsewhere(child_key(shares), DIGEST, simulator.results[victim])


# Openings and echoes


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda m: replace(m, R=m.R + ECDSA.group.generator),
        lambda m: replace(m, R=-m.R),
        lambda m: replace(m, blind=flipped(m.blind)),
    ],
)
def test_opening_of_another_nonce(rewrite):
    """R_i that was not committed to names its sender; the pair lives, as nothing was learnt about it."""
    simulator = run(ECDSA, sign_programs(signers()), taps={2: rewriting((2, False), rewrite)})
    for victim in (1, 3):
        failure = simulator.failures[victim]
        assert type(failure) is ProtocolAbort
        assert (failure.step, failure.culprits) == ("opening of the commitment", (2,))


def test_a_copied_commitment_cannot_be_opened():
    """The commitment holds its maker's index, so that another party's, shown with its opening, is nobody else's.

    A copied R_j is a nonce that its copier does not know; with -R_j it would cancel the honest one.
    """
    honest = log(run(ECDSA, sign_programs(signers())))
    copied = CODEC.decode(PresignCommitment, honest[3, 1, 1, False])
    opened = CODEC.decode(PresignOpening, honest[3, 1, 2, False])
    first = rewriting((1, False), lambda _: copied)
    seen = log(run(ECDSA, sign_programs(signers()), taps={2: first}))[1, 3, 2, False]
    second = rewriting((2, False), lambda m: replace(opened, seen=CODEC.decode(PresignOpening, seen).seen, pk=m.pk))
    both = lambda packet: second(first(packet)[0])  # noqa: E731
    failure = run(ECDSA, sign_programs(signers()), taps={2: both}).failures[1]
    assert (failure.step, failure.culprits) == ("opening of the commitment", (2,))


def test_equivocated_commitments():
    """Two commitments, each opened rightly to whom it was shown: everybody notices, nobody is blamed or banned."""
    programs = sign_programs(signers())
    second = sign_programs(signers(), seed=9)[PartyId(2)]
    split = SplitPersonality(PartyId(2), second, {PartyId(3)}, CODEC)
    simulator = Simulator(CODEC, programs, taps={PartyId(2): split})
    split.simulator = simulator
    simulator.run()
    assert {type(simulator.failures[victim]) for victim in (1, 3)} == {EchoMismatch}


def test_a_relayed_commitment_is_noticed():
    """One party sees another commitment than the rest: all see it, and no pair ends for it."""
    earlier = log(run(ECDSA, sign_programs(signers(), seed=5)))

    def relay(packet):
        swapped = (packet.round, packet.private, packet.recipient) == (1, False, 2)
        return [replace(packet, payload=earlier[1, 2, 1, False])] if swapped else [packet]

    simulator = run(ECDSA, sign_programs(signers()), taps={1: relay})
    assert {type(failure) for failure in simulator.failures.values()} == {EchoMismatch}


def test_all_culprits_are_named():
    """One peer cheats in the multiplication and one opens another R: both are named, one pair ends."""
    cheat = rewriting((2, True), lambda m: replace(m, product=replace(m.product, mu=flipped(m.product.mu))))
    bad_opening = rewriting((2, False), lambda m: replace(m, blind=flipped(m.blind)))
    failure = run(ECDSA, sign_programs(signers()), taps={2: cheat, 3: bad_opening}).failures[1]
    assert_banned(failure, MULTIPLICATION, banned=(2,), culprits=(2, 3))


def test_all_cheats_are_banned():
    """Two peers, each with a failed check of its own."""
    cheat = rewriting((2, True), lambda m: replace(m, product=replace(m.product, mu=flipped(m.product.mu))))
    gamma = rewriting((2, True), lambda m: replace(m, Gamma_v=-m.Gamma_v))
    failure = run(ECDSA, sign_programs(signers()), taps={2: cheat, 3: gamma}).failures[1]
    assert failure.banned == (2, 3)
    assert set(failure.step.split("; ")) == {MULTIPLICATION, KEY_INPUT}


# Desync


def desynced(simulator, *names):
    """Everybody that noticed blames nobody and says what differs."""
    assert not simulator.results
    assert simulator.failures
    for failure in simulator.failures.values():
        assert isinstance(failure, Desync)
        assert not isinstance(failure, ProtocolAbort)
        assert {name for _, differing in failure.differing for name in differing} == set(names)


def joined(quorum=(1, 2), theirs=None, **changes):
    """A session in which party 2 stands elsewhere than the others."""
    programs = sign_programs(signers(quorum=quorum))
    programs[PartyId(2)] = (theirs or sign_programs(signers(quorum=quorum), **changes))[PartyId(2)]
    return run(ECDSA, programs)


def test_desync_of_session_and_intent():
    """Another session id or another intent, and so another roster: no ban among honest nodes."""
    desynced(joined(**SECOND_SESSION), "context")
    desynced(joined(binding=b"\x45" * 32), "context")


def test_desync_of_the_setup():
    """A node restored from a backup with an older set-up, or one that was paired anew under the same number."""
    older = {2: setups_of(2, (1, 2), generation=7)}
    desynced(joined(setups=older), "generation", "setup")
    renewed = {2: {PartyId(1): replace(dealt_setup(2, 1, 7), generation=1)}}
    desynced(joined(setups=renewed), "setup")


def test_desync_of_the_key():
    """Another epoch, other public shares, another path."""
    shares = signers(quorum=(1, 2))
    later = [replace(share, epoch=2) for share in shares]
    desynced(joined(theirs=sign_programs(later, epoch=2)), "context", "epoch")
    strangers = [replace(share, public=replace(share.public, chain_code=b"\x01" * 32)) for share in shares]
    desynced(joined(theirs=sign_programs(strangers)), "key")
    desynced(joined(path=(1,)), "key")


def test_desync_comes_before_any_check():
    """A peer with both another session and a bad extension is not banned: nothing was checked."""
    bad = rewriting((1, True), lambda m: replace(m, extension=replace(m.extension, x_hat=flipped(m.extension.x_hat))))
    programs = sign_programs(signers(quorum=(1, 2)))
    programs[PartyId(2)] = sign_programs(signers(quorum=(1, 2)), **SECOND_SESSION)[PartyId(2)]
    simulator = run(ECDSA, programs, taps={2: bad})
    desynced(simulator, "context")
    assert not simulator.parties[1].checkpoints


# Replay


@pytest.mark.parametrize("place", [(1, False), (1, True), (2, False), (2, True), (3, False)])
def test_replayed_messages(place):
    """Any one message of an earlier session between the same parties, with the same randomness, gives nothing."""
    earlier = log(run(ECDSA, sign_programs(signers(), **SECOND_SESSION)))

    def tap(packet):
        replayed = (packet.round, packet.private) == place
        return [replace(packet, payload=earlier[2, packet.recipient, *place])] if replayed else [packet]

    simulator = run(ECDSA, sign_programs(signers()), taps={2: tap})
    assert not set(simulator.results) & {1, 3}
    for victim in (1, 3):
        failure = simulator.failures[victim]
        assert isinstance(failure, EchoMismatch) or failure.culprits == (2,), failure


@pytest.mark.parametrize(
    ("private", "fields", "step"), [(True, ("extension",), EXTENSION), (True, ("product",), MULTIPLICATION)]
)
def test_replayed_transfers_under_the_right_handshake(private, fields, step):
    """Old U, or an old a~, in a message that is right otherwise: the streams are of another session."""
    earlier = log(run(ECDSA, sign_programs(signers(), **SECOND_SESSION)))
    place = (1 if step == EXTENSION else 2, private)

    def old(packet):
        if (packet.round, packet.private) != place:
            return [packet]
        now, then = (
            CODEC.decode(TYPES[place], data) for data in (packet.payload, earlier[2, packet.recipient, *place])
        )
        return [replace(packet, payload=CODEC.encode(replace(now, **{name: getattr(then, name) for name in fields})))]

    assert_ban(run(ECDSA, sign_programs(signers()), taps={2: old}), step)


def test_the_other_direction_is_not_taken():
    """A peer's own messages, reflected: both directions of a pair are apart."""
    honest = log(run(ECDSA, sign_programs(signers(quorum=(1, 2)))))
    for place in ((1, True), (2, True)):
        reflected = lambda packet, place=place: [  # noqa: E731
            replace(packet, payload=honest[1, 2, *place]) if (packet.round, packet.private) == place else packet
        ]
        failure = run(ECDSA, sign_programs(signers(quorum=(1, 2))), taps={2: reflected}).failures[1]
        assert failure.culprits == (2,)


# Encodings


def leaves(name):
    """Each place of a round where a value of a type stands."""
    honest = log(run(ECDSA, sign_programs(signers(quorum=(1, 2)))))
    return [(place, at) for place in TYPES for at, frame in places(parse(honest[2, 1, *place])) if frame.name == name]


@pytest.mark.parametrize(
    ("name", "bodies"),
    [
        (b"Point", [bytes(33), b"\x00", b"\x02" + b"\xff" * 32, b"\x05" + bytes(32), b"\x02" + bytes(31) + b"\x05"]),
        (b"Scalar", [ECDSA.group.order.to_bytes(32, "big"), b"\xff" * 32, bytes(31), bytes(33)]),
    ],
)
def test_malformed_points_and_scalars(name, bodies):
    """Identity, off the curve, x or scalar out of range, wrong length: refused at decode wherever they stand."""
    found = leaves(name)
    assert len(found) == {b"Point": 4, b"Scalar": 4}[name]
    for place, at in found:
        for body in bodies:

            def tap(packet, place=place, at=at, body=body):
                if (packet.round, packet.private) != place:
                    return [packet]
                tree, frame = parse(packet.payload), parse(packet.payload)
                for i in at:
                    frame = frame.children[i]
                return [replace(packet, payload=put(tree, at, replace(frame, body=body)).encode())]

            failure = run(ECDSA, sign_programs(signers(quorum=(1, 2))), taps={2: tap}).failures[1]
            assert failure.culprits == (2,)
            assert failure.step == "message does not decode" or isinstance(failure, PairCompromised)


def test_nonces_that_cancel_out():
    """R = 0, which no party can aim at behind commitments, gives no presignature and blames nobody."""

    def with_nonce(value):
        def draw_from(draws):
            return lambda length: draws.pop() if draws else bytes(range(length))

        first = value.to_bytes(64, "big")
        return lambda program: disguised(program, (presign, "hedged", lambda *_: draw_from([first])))

    programs = presign_programs(signers(quorum=(1, 2)))
    order = ECDSA.group.order
    failures = run_with(programs, party_1=with_nonce(1), party_2=with_nonce(order - 1)).failures
    assert [(failure.step, failure.culprits) for failure in failures.values()] == [("R is the identity", ())] * 2


def test_attacks_do_not_depend_on_the_threshold():
    """The same at 3-of-5: each honest party bans the one that cheats, and it alone."""
    shares = shares_of(ECDSA, 3, 5, (2, 3, 5))
    tap = rewriting((2, True), lambda m: replace(m, Gamma_u=-m.Gamma_u), victims=(2, 3, 5))
    simulator = run(ECDSA, sign_programs(shares), taps={5: tap})
    for victim in (2, 3):
        assert simulator.failures[victim].banned == (5,)
