"""Attacks on key generation, each carried as far as its countermeasure lets it."""

from dataclasses import replace

import pytest

from keyquorum_core_signer.groups.suites import FROST_ED25519, FROST_SECP256K1
from keyquorum_core_signer.primitives import possession, shamir, vss
from keyquorum_core_signer.primitives.sealed import Place, SealingKey, seal
from keyquorum_core_signer.protocols.context import bind
from keyquorum_core_signer.protocols.dkg import dealing
from keyquorum_core_signer.protocols.dkg.complaint import ShareComplaint, judge
from keyquorum_core_signer.protocols.dkg.keygen import keygen
from keyquorum_core_signer.protocols.dkg.messages import (
    KeygenCertification,
    KeygenCommitment,
    KeygenOpening,
    KeygenShare,
)
from keyquorum_core_signer.protocols.errors import EchoMismatch, ProtocolAbort, ProtocolMisuse
from keyquorum_core_signer.protocols.messages import codec_for
from keyquorum_core_signer.protocols.rounds import Checkpoint, Exchange, Inbox, PartyId, exchange
from keyquorum_core_signer.wire.codec import DecodeError
from support.adversary import SplitPersonality, log, variants
from support.committee import SeededCertifier, context, keygen_programs, reconstruct, run
from support.curves import Edwards, torsion
from support.simulator import Simulator, seeded_rng

each_suite = pytest.mark.parametrize("suite", [FROST_ED25519, FROST_SECP256K1], ids=lambda suite: suite.scheme)
PARTIES = (1, 2, 3)
TYPES = {
    (1, False): KeygenCommitment,
    (2, False): KeygenOpening,
    (2, True): KeygenShare,
    (3, False): KeygenCertification,
}


def ctx_of(suite, me, parties=PARTIES, threshold=2, **changes):
    """A party's context."""
    return context(suite, "dkg/v1", me, parties, threshold, **changes)


def bound_of(suite, **options):
    """The context digest that all parties share."""
    return bind(ctx_of(suite, 1, **options), suite, "dkg/v1")


def rewriting(suite, rewrites):
    """A tap that passes each message through the function for its (round, private), as an object."""
    codec = codec_for(suite)

    def tap(packet):
        place = (packet.round, packet.private)
        if place not in rewrites:
            return [packet]
        message = rewrites[place](codec.decode(TYPES[place], packet.payload), packet.recipient)
        return [replace(packet, payload=codec.encode(message))]

    return tap


def forging(suite, me, forge, **options):
    """A tap that commits to, and opens, what ``forge`` makes of the honest opening."""
    codec = codec_for(suite)
    honest = log(run(suite, keygen_programs(suite, 2, PARTIES, **options)))
    other = next(party for party in PARTIES if party != me)
    committed = codec.decode(KeygenCommitment, honest[me, other, 1, False])
    opening = forge(codec.decode(KeygenOpening, honest[me, other, 2, False]))
    digest = dealing.commitment_to(bound_of(suite, **options), me, committed.sealing_key, opening)
    return rewriting(
        suite,
        {
            (1, False): lambda message, _: replace(message, commitment=digest),
            (2, False): lambda message, _: opening,
        },
    )


def failures_of_honest(simulator, *culprits):
    """The honest parties' failures, all of them aborts that name exactly ``culprits``; nobody has a key."""
    honest = {party: simulator.failures.get(party) for party in simulator.parties if party not in culprits}
    assert not set(simulator.results) & set(honest)
    for failure in honest.values():
        assert isinstance(failure, ProtocolAbort), failure
        assert failure.culprits == culprits
    return honest


def deal(suite, ctx, coefficients, secret, share_of, rng):
    """An adversary's rounds 1 and 2: any commitment, a proof made with any secret, any shares, everything else right."""
    bound = bind(ctx, suite, "dkg/v1")
    proof = possession.prove(secret, coefficients[0], rng(32), bound, ctx.me, dealing.ROUND, coefficients)
    opening = KeygenOpening(coefficients, proof, rng(32))
    sealing = SealingKey(rng(32))
    commitment = dealing.commitment_to(bound, ctx.me, sealing.public, opening)
    keys = (yield from exchange(ctx, KeygenCommitment(commitment, sealing.public))).broadcast
    sealed = {}
    for j in ctx.others():
        place = Place(bound, ctx.me, j, sealing.public, keys[j].sealing_key)
        sealed[j] = KeygenShare(seal(sealing.shared(keys[j].sealing_key), place, share_of(j).to_bytes()))
    yield from exchange(ctx, opening, sealed)


def rogue_dealer(suite, ctx, target, others_constant, rng):
    """Deals so that the key becomes ``target``: its A_0 is target - sum of the others', whose logarithm it lacks.

    In a 2-of-2 committee the victim's share can still be made to fit, because the dealer picks A_1 for it.
    """
    group, (victim,) = suite.group, ctx.others()
    rogue = target - others_constant
    share, guess = (group.reduce_wide(rng(64)) for _ in range(2))
    slope = group.multiply(group.base_multiply(share) - rogue, group.scalar(victim).inverse())
    return deal(suite, ctx, (rogue, slope), guess, lambda _: share, rng)


@each_suite
def test_rogue_key(suite):
    """A dealer that cancels the others' contributions has no proof of possession, though all its shares fit."""
    parties = (1, 2)
    codec = codec_for(suite)
    honest = log(run(suite, keygen_programs(suite, 2, parties)))
    victims_constant = codec.decode(KeygenOpening, honest[1, 2, 2, False]).coefficients[0]  # an oracle for the attack
    target = suite.group.base_multiply(suite.group.scalar(666))
    programs = keygen_programs(suite, 2, parties)
    ctx = ctx_of(suite, 2, parties)
    programs[PartyId(2)] = rogue_dealer(suite, ctx, target, victims_constant, seeded_rng("rogue"))
    failures = failures_of_honest(run(suite, programs), 2)
    assert failures[1].step == dealing.POSSESSION
    assert failures[1].evidence == b""


@each_suite
def test_contribution_chosen_after_the_others(suite):
    """Who opens something else than it committed to, to steer the key, is named, however right its proof is."""

    def steered(opening, _):
        f = [suite.group.scalar(41), suite.group.scalar(42)]
        A = vss.commit(f)
        proof = possession.prove(f[0], A[0], bytes(32), bound_of(suite), 3, dealing.ROUND, A)
        return replace(opening, coefficients=A, proof=proof)

    for change in (steered, lambda opening, _: replace(opening, chain_code=bytes(32))):
        simulator = run(suite, keygen_programs(suite, 2, PARTIES), taps={3: rewriting(suite, {(2, False): change})})
        failures = failures_of_honest(simulator, 3)
        assert {failure.step for failure in failures.values()} == {dealing.OPENING}


@each_suite
@pytest.mark.parametrize("length", [1, 3, 4])
def test_degree_of_the_polynomial(suite, length):
    """t + 1 coefficients would raise the threshold unseen, fewer would lower it: both are refused, however right all the rest."""
    rng = seeded_rng("degree")
    f = [suite.group.reduce_wide(rng(64)) for _ in range(length)]
    programs = keygen_programs(suite, 2, PARTIES)
    programs[PartyId(2)] = deal(suite, ctx_of(suite, 2), vss.commit(f), f[0], lambda j: shamir.evaluate(f, j), rng)
    failures = failures_of_honest(run(suite, programs), 2)
    assert {failure.step for failure in failures.values()} == {dealing.DEGREE}


@each_suite
@pytest.mark.parametrize("kind", ["another session", "another party", "another round"])
def test_replayed_proof(suite, kind):
    """A proof of possession from elsewhere does not count, although it was right where it was made."""
    session = bound_of(suite, session_id=b"\x44" * 32) if kind == "another session" else bound_of(suite)
    dealer = 1 if kind == "another party" else 3
    round_ = 2 if kind == "another round" else dealing.ROUND
    f = [suite.group.scalar(41), suite.group.scalar(42)]
    A = vss.commit(f)
    proof = possession.prove(f[0], A[0], bytes(32), session, dealer, round_, A)
    tap = forging(suite, 3, lambda opening: replace(opening, coefficients=A, proof=proof))
    failures = failures_of_honest(run(suite, keygen_programs(suite, 2, PARTIES), taps={3: tap}), 3)
    assert {failure.step for failure in failures.values()} == {dealing.POSSESSION}


@each_suite
def test_replayed_session(suite):
    """Every message of an old session, right in itself, is refused in a new one and blames who sends it."""
    earlier = log(run(suite, keygen_programs(suite, 2, PARTIES, session_id=b"\x44" * 32)))

    def tap(packet):
        return [replace(packet, payload=earlier[3, packet.recipient, packet.round, packet.private])]

    failures = failures_of_honest(run(suite, keygen_programs(suite, 2, PARTIES), taps={3: tap}), 3)
    assert all(dealing.OPENING in failure.step for failure in failures.values())


@each_suite
def test_every_field_behind_a_right_commitment(suite):
    """An opening with any field changed that still decodes, committed to from the start: only the dealer is blamed."""
    codec = codec_for(suite)
    honest = log(run(suite, keygen_programs(suite, 2, PARTIES)))
    steps = set()
    for name, payload in variants(suite.group, honest[2, 1, 2, False]):
        try:
            opening = codec.decode(KeygenOpening, payload)
        except DecodeError:
            continue
        tap = forging(suite, 2, lambda _, opening=opening: opening)
        simulator = run(suite, keygen_programs(suite, 2, PARTIES), taps={2: tap})
        for party in (1, 3):
            failure = simulator.failures[party]
            if (
                "field 2" in name
            ):  # another chain code is another honest contribution, but not the dealer's own program's
                assert isinstance(failure, EchoMismatch), name
            else:
                assert failure.culprits == (2,), name
                steps.add(failure.step)
    assert steps == {dealing.DEGREE, dealing.POSSESSION}


@each_suite
def test_copied_contribution(suite):
    """A dealer that repeats another's commitment and opening, to cancel or double it, is named."""
    honest = log(run(suite, keygen_programs(suite, 2, PARTIES)))

    def tap(packet):
        return [packet] if packet.private else [replace(packet, payload=honest[1, 3, packet.round, False])]

    simulator = run(suite, keygen_programs(suite, 2, PARTIES), taps={2: tap})
    for party in (1, 3):
        assert simulator.failures[party].culprits == (2,)
        assert simulator.failures[party].step == dealing.OPENING


@each_suite
def test_indices_modulo_the_order(suite):
    """Index 0 and q hold the secret itself; 1 and q + 1 are one share counted twice: nothing is drawn."""
    q = suite.group.order
    for parties in ((0, 1, 2), (1, 2, q), (1, 2, q + 1), (1, 1, 2)):
        ctx = ctx_of(suite, 1, parties)
        with pytest.raises(ProtocolMisuse):
            next(keygen(ctx, suite, SeededCertifier(1), pytest.fail))


@each_suite
@pytest.mark.parametrize(
    "changes",
    [
        {"threshold": 1},
        {"threshold": 4},
        {"protocol": "frost/v1"},
        {"suite": "another"},
        {"session_id": bytes(31)},
        {"binding": b""},
        {"me": PartyId(4)},
        {"parties": (3, 2, 1)},
        {"parties": tuple(range(1, 66))},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_contexts_that_do_not_fit(suite, changes):
    """A caller's mistake is refused before anything is drawn or sent."""
    with pytest.raises(ProtocolMisuse):
        next(keygen(replace(ctx_of(suite, 1), **changes), suite, SeededCertifier(1), pytest.fail))


def bad_points(suite, good):
    """Encodings that are no points of the group, or a second one of a point."""
    if suite is FROST_ED25519:
        return [low.encode() for low in torsion()] + [(Edwards.decode(good) + low).encode() for low in torsion()[1:]]
    return [bytes(33), b"\x04" + good[1:], good[:1] + b"\xff" * 32]


@each_suite
def test_malformed_points_and_scalars(suite):
    """Small- and mixed-order points, the identity and unreduced scalars do not decode, and their sender is named."""
    honest = log(run(suite, keygen_programs(suite, 2, PARTIES)))
    opening = codec_for(suite).decode(KeygenOpening, honest[3, 1, 2, False])
    point, scalar = opening.coefficients[1].to_bytes(), opening.proof.s
    order = "little" if suite is FROST_ED25519 else "big"
    swaps = [(point, bad) for bad in bad_points(suite, point)]
    swaps += [(scalar.to_bytes(), value.to_bytes(32, order)) for value in (suite.group.order, 2**256 - 1)]
    if suite is FROST_ED25519:
        swaps.append((scalar.to_bytes(), (scalar.value + suite.group.order).to_bytes(32, order)))
    for old, new in swaps:
        simulator = run(
            suite,
            keygen_programs(suite, 2, PARTIES),
            taps={3: lambda packet: [replace(packet, payload=packet.payload.replace(old, new))]},  # noqa: B023
        )
        failures = failures_of_honest(simulator, 3)
        assert {failure.step for failure in failures.values()} == {"message does not decode"}


@each_suite
@pytest.mark.parametrize("seed", range(4))
def test_split_broadcast(suite, seed):
    """A party with two faces, each honest in itself, is seen in the transcripts; nobody is blamed, nobody has a key."""
    source, constants = seeded_rng(0, 3), [bytes(range(64))]

    def second_rng(length):
        """Another constant coefficient, but the same sealing key, so that both faces can read what they are sent."""
        drawn = source(length)
        return constants.pop() if constants else drawn

    programs = keygen_programs(suite, 2, PARTIES)
    second = keygen(ctx_of(suite, 3), suite, SeededCertifier(3), second_rng)
    split = SplitPersonality(PartyId(3), second, {PartyId(2)}, codec_for(suite))
    simulator = Simulator(codec_for(suite), programs, seed, taps={PartyId(3): split})
    split.simulator = simulator
    simulator.run()
    assert {type(simulator.failures[party]) for party in (1, 2)} == {EchoMismatch}
    assert not hasattr(simulator.failures[1], "culprits")
    one, two = (simulator.parties[party].checkpoints[0].public for party in (1, 2))
    assert one.public_key != two.public_key


def wrong_share(message, _):
    """A sealed share with a flipped bit."""
    return KeygenShare(message.sealed[:-1] + bytes([message.sealed[-1] ^ 1]))


def sealed_from(suite, dealer, recipient, value, honest):
    """A share of the dealer's choice, sealed as the honest dealer would; its sealing secret is the rng's last draw."""
    codec = codec_for(suite)
    rng = seeded_rng(0, dealer)
    for length in (64, 64, 32, 32):  # f_i, the proof's entropy, the chain code
        rng(length)
    sealing = SealingKey(rng(32))
    committed = codec.decode(KeygenCommitment, honest[dealer, recipient, 1, False])
    assert sealing.public == committed.sealing_key
    key = codec.decode(KeygenCommitment, honest[recipient, dealer, 1, False]).sealing_key
    place = Place(bound_of(suite), dealer, recipient, sealing.public, key)
    return KeygenShare(seal(sealing.shared(key), place, value))


def verdict(suite, simulator, accuser, accused, evidence=None):
    """Judge from what travelled, as anybody with the signed envelopes could."""
    codec, sent = codec_for(suite), log(simulator)
    return judge(
        ctx_of(suite, 1),
        suite,
        accuser=accuser,
        accused=accused,
        evidence=simulator.failures[accuser].evidence if evidence is None else evidence,
        announced=codec.decode(KeygenCommitment, sent[accuser, accused, 1, False]),
        committed=codec.decode(KeygenCommitment, sent[accused, accuser, 1, False]),
        opening=codec.decode(KeygenOpening, sent[accused, accuser, 2, False]),
        dealt=codec.decode(KeygenShare, sent[accused, accuser, 2, True]),
    )


@each_suite
def test_bad_sealed_share_is_proven(suite):
    """A share that does not open, is off the polynomial or no scalar: named, and the evidence convinces a judge."""
    honest = log(run(suite, keygen_programs(suite, 2, PARTIES)))
    off = sealed_from(suite, 3, 1, suite.group.scalar(5).to_bytes(), honest)
    unreduced = sealed_from(suite, 3, 1, b"\xff" * 32, honest)
    short = sealed_from(suite, 3, 1, b"", honest)
    for forge in (
        wrong_share,
        *(lambda message, to, bad=bad: bad if to == 1 else message for bad in (off, unreduced, short)),
    ):
        simulator = run(suite, keygen_programs(suite, 2, PARTIES), taps={3: rewriting(suite, {(2, True): forge})})
        assert simulator.failures[1].step == dealing.SHARE
        assert simulator.failures[1].culprits == (3,)
        assert verdict(suite, simulator, 1, 3) == 3
        assert not simulator.parties[1].checkpoints


@each_suite
def test_false_accusations_fall_back(suite):
    """Accusing an honest dealer, with the true secret, a wrong one or noise, convicts the accuser."""
    simulator = run(suite, keygen_programs(suite, 2, PARTIES), taps={3: rewriting(suite, {(2, True): wrong_share})})
    true = simulator.failures[1].evidence
    assert verdict(suite, simulator, 1, 3, true) == 3
    honest = run(suite, keygen_programs(suite, 2, PARTIES))
    secret = true[-32:]
    for evidence in (
        ShareComplaint((PartyId(3),), secret).to_bytes(),  # the share does open, and fits
        ShareComplaint((PartyId(3),), bytes(32)).to_bytes(),  # not the announced key's secret
        ShareComplaint((PartyId(2),), secret).to_bytes(),  # about somebody else
        b"",
        b"noise",
    ):
        assert verdict(suite, honest, 1, 3, evidence) == 1


@each_suite
def test_accuser_with_two_sealing_keys(suite):
    """An accuser that had the dealer seal to one key, and tells everybody else another, does not convict the dealer."""
    codec, other = codec_for(suite), SealingKey(bytes([7] * 32))
    two_keys = rewriting(suite, {(1, False): lambda m, to: replace(m, sealing_key=other.public) if to == 2 else m})
    simulator = run(suite, keygen_programs(suite, 2, PARTIES), taps={1: two_keys})
    evidence = ShareComplaint((PartyId(3),), other.secret).to_bytes()
    assert codec.decode(KeygenCommitment, log(simulator)[1, 2, 1, False]).sealing_key == other.public
    assert verdict(suite, simulator, 1, 3, evidence) == 1


@each_suite
def test_evidence_also_covers_a_bad_opening(suite):
    """A judge that is shown an opening which fails its own checks convicts the dealer whatever was sealed."""
    tap = forging(suite, 3, lambda opening: replace(opening, coefficients=opening.coefficients[:1]))
    simulator = run(suite, keygen_programs(suite, 2, PARTIES), taps={3: tap})
    rng = seeded_rng(0, 1)
    for length in (64, 64, 32, 32):  # f_i, the proof's entropy, the chain code
        rng(length)
    assert verdict(suite, simulator, 1, 3, ShareComplaint((PartyId(3),), rng(32)).to_bytes()) == 3


@each_suite
def test_disclosed_secret_is_of_no_use(suite):
    """What evidence discloses opens one aborted session's shares for one recipient: below the threshold."""
    simulator = run(suite, keygen_programs(suite, 2, PARTIES), taps={3: rewriting(suite, {(2, True): wrong_share})})
    assert not simulator.results
    stored = [state.checkpoints[0] for state in simulator.parties.values() if state.checkpoints]
    assert all(suite.group.base_multiply(reconstruct([share])) != share.public.public_key for share in stored)


@each_suite
def test_small_order_sealing_key(suite):
    """A sealing key that would make every shared secret zero is its sender's fault, before anything is sealed to it."""
    tap = rewriting(suite, {(1, False): lambda message, _: replace(message, sealing_key=bytes(32))})
    simulator = run(suite, keygen_programs(suite, 2, PARTIES), taps={2: tap})
    failures_of_honest(simulator, 2)
    assert not any(packet.private and packet.sender != 2 for packet in simulator.sent)


@each_suite
def test_all_culprits_are_named(suite):
    """Four cheats of four kinds in one round: one abort names them all."""
    parties = (1, 2, 3, 4, 5)
    zero = suite.group.zero()
    taps = {
        2: rewriting(suite, {(2, False): lambda message, _: replace(message, chain_code=bytes(32))}),
        3: rewriting(suite, {(2, True): wrong_share}),
        4: rewriting(suite, {(2, False): lambda message, _: replace(message, coefficients=message.coefficients[:1])}),
        5: rewriting(
            suite, {(2, False): lambda message, _: replace(message, proof=possession.PossessionProof(zero, zero))}
        ),
    }
    simulator = run(suite, keygen_programs(suite, 2, parties), taps=taps)
    failure = simulator.failures[1]
    assert failure.culprits == (2, 3, 4, 5)
    assert failure.step == f"{dealing.OPENING}; {dealing.SHARE}"


@each_suite
def test_refused_certification(suite):
    """With equal transcripts a bad signature blames its sender; with unequal ones nobody is blamed."""
    bad = bytes(64)
    signature = rewriting(suite, {(3, False): lambda message, _: replace(message, signature=bad)})
    failures_of_honest(run(suite, keygen_programs(suite, 2, PARTIES), taps={2: signature}), 2)
    both = rewriting(suite, {(3, False): lambda message, _: KeygenCertification(bad[:32], bad)})
    simulator = run(suite, keygen_programs(suite, 2, PARTIES), taps={2: both})
    assert {type(simulator.failures[party]) for party in (1, 3)} == {EchoMismatch}


@each_suite
def test_two_refused_certifications(suite):
    """Everybody who did not sign is named."""
    tap = rewriting(suite, {(3, False): lambda message, _: replace(message, signature=b"")})
    failures_of_honest(run(suite, keygen_programs(suite, 2, PARTIES), taps={2: tap, 3: tap}), 2, 3)


@each_suite
def test_share_is_durable_before_it_is_promised(suite):
    """The checkpoint with the share comes before anything is signed or sent in round 3."""
    signed = []

    class Recording(SeededCertifier):
        def sign(self, statement):
            signed.append(statement)
            return super().sign(statement)

    programs = {me: keygen(ctx_of(suite, me, (1, 2)), suite, Recording(me), seeded_rng(0, me)) for me in (1, 2)}
    first = {me: next(program).to_all for me, program in programs.items()}
    second = {me: program.send(Inbox({3 - me: first[3 - me]})) for me, program in programs.items()}
    step = programs[1].send(Inbox({2: second[2].to_all}, {2: second[2].to_each[1]}))
    assert isinstance(step, Checkpoint)
    assert step.value.party == 1
    assert not signed
    assert isinstance(programs[1].send(None), Exchange)
    assert len(signed) == 1


@each_suite
def test_transcript_holds_no_sealed_share(suite):
    """What is kept for good is what was broadcast: no sealed share, which an old node key could open."""
    simulator = run(suite, keygen_programs(suite, 2, PARTIES))
    transcript = simulator.results[1].transcript
    codec = codec_for(suite)
    for packet in simulator.sent:
        message = codec.decode(TYPES[packet.round, packet.private], packet.payload)
        if packet.private:
            assert message.sealed not in transcript
        elif packet.round < 3:
            assert codec.encode(message) in transcript


@each_suite
def test_contributions_that_cancel_out(suite):
    """All parties together can make the identity of a key; it is refused, and nobody in particular is to blame."""
    one = suite.group.scalar(11).to_bytes()
    minus = suite.group.scalar(-11).to_bytes()
    wide = (lambda data: data + bytes(32)) if suite is FROST_ED25519 else (lambda data: bytes(32) + data)

    def rng_from(constant, me):
        source, draws = seeded_rng("cancel", me), iter([wide(constant)])
        return lambda length: next(draws, None) or source(length)

    programs = {
        me: keygen(ctx_of(suite, me, (1, 2)), suite, SeededCertifier(me), rng_from(constant, me))
        for me, constant in ((1, one), (2, minus))
    }
    simulator = run(suite, programs)
    assert {failure.culprits for failure in simulator.failures.values()} == {()}
    assert len(simulator.failures) == 2


@each_suite
def test_context_separates_sessions(suite):
    """Every part of the context that the parties share changes the digest that enters all hashes."""
    base = ctx_of(suite, 1)
    changes = [
        {"cell_id": "cell-other"},
        {"session_id": b"\x05" * 32},
        {"parties": (1, 2, 4)},
        {"threshold": 3},
        {"key_id": "key-2"},
        {"epoch": 2},
        {"binding": b"\x06" * 32},
    ]
    digests = {bind(replace(base, **change), suite, "dkg/v1") for change in [{}, *changes]}
    digests.add(bind(replace(base, protocol="frost/v1"), suite, "frost/v1"))
    assert len(digests) == len(changes) + 2
    assert bind(replace(base, me=PartyId(2)), suite, "dkg/v1") == bind(base, suite, "dkg/v1")


@each_suite
def test_shares_lie_on_the_committed_polynomial(suite):
    """The final share is the sum of what every dealer's polynomial gives at the party's index."""
    results = run(suite, keygen_programs(suite, 2, PARTIES)).results
    polynomials = []
    for party in PARTIES:
        rng = seeded_rng(0, party)
        polynomials.append([suite.group.reduce_wide(rng(64)) for _ in range(2)])
    for party, result in results.items():
        expected = sum((shamir.evaluate(f, party) for f in polynomials), suite.group.zero())
        assert result.share.secret == expected
