"""Attacks on threshold signing, each carried as far as its countermeasure lets it."""

import copy
import pickle
from dataclasses import replace
from itertools import count

import pytest

from keyquorum_core_signer.groups.suites import BIP340, FROST_ED25519, FROST_SECP256K1, FrostEd25519, FrostSecp256k1
from keyquorum_core_signer.primitives.shamir import lagrange
from keyquorum_core_signer.protocols.errors import EchoMismatch, ProtocolAbort, ProtocolMisuse
from keyquorum_core_signer.protocols.frost.messages import FrostCommitments, FrostShares, NonceCommitment
from keyquorum_core_signer.protocols.frost.rfc9591 import draw_nonces, prepare
from keyquorum_core_signer.protocols.frost.sign import MESSAGE_BYTES_MAX, MESSAGES_MAX, sign, variant_for
from keyquorum_core_signer.protocols.keys import KeyShare
from keyquorum_core_signer.protocols.messages import codec_for
from keyquorum_core_signer.protocols.rounds import Inbox, PartyId
from support.adversary import log
from support.committee import context, dealt, run, shares_of, sign_programs
from support.curves import torsion
from support.simulator import seeded_rng

RFC9591 = [FROST_ED25519, FROST_SECP256K1]
each_suite = pytest.mark.parametrize("suite", [*RFC9591, BIP340], ids=lambda suite: suite.scheme)
each_rfc9591 = pytest.mark.parametrize("suite", RFC9591, ids=lambda suite: suite.scheme)
SIGNERS = (1, 2, 3)
MESSAGES = ((b"pay", ()), (b"pay again", (7,)))
TYPES = {1: FrostCommitments, 2: FrostShares}


def programs_of(suite, seed=0, **changes):
    """Three signers of a 2-of-3 key."""
    return sign_programs(suite, shares_of(suite, 2, 3, SIGNERS), MESSAGES, seed, **changes)


def draw(suite, secret, seed):
    """Nonces of party 1 of a key that is ``secret`` plus one at every party, for the message "pay"."""
    share = dealt(suite, [suite.group.scalar(secret), suite.group.scalar(1)], 2)[0]
    return variant_for(suite).draw_nonces(share, share.public, b"pay", bytes(32), seeded_rng(seed))


def rewriting(suite, round_, rewrite):
    """A tap that passes each message of a round through ``rewrite(message, recipient)``, as an object."""
    codec = codec_for(suite)

    def tap(packet):
        if packet.round != round_:
            return [packet]
        message = rewrite(codec.decode(TYPES[round_], packet.payload), packet.recipient)
        return [replace(packet, payload=codec.encode(message))]

    return tap


def off_by_one(message, _):
    """Round 2 with the last share wrong."""
    return replace(message, shares=(*message.shares[:-1], message.shares[-1] + message.shares[-1].group.scalar(1)))


@each_suite
def test_nonces_are_taken_once(suite):
    """The second use of a nonce pair raises, whatever it is for, and leaves nothing behind."""
    share = dealt(suite, [suite.group.scalar(5), suite.group.scalar(1)], 2)[1]
    nonces, other = (draw(suite, 5, seed) for seed in (1, 2))
    commitments = {PartyId(1): other.commitment, share.party: nonces.commitment}
    for message, outcome in ((b"pay", None), (b"pay", ProtocolMisuse), (b"another", ProtocolMisuse)):
        package = variant_for(suite).prepare(share.public, message, commitments)
        if outcome is None:
            package.signature_share(share.party, nonces, share.secret, suite.group.scalar(1))
        else:
            with pytest.raises(outcome):
                package.signature_share(share.party, nonces, share.secret, suite.group.scalar(1))


@each_suite
def test_nonces_are_gone_before_the_share_is_made(suite):
    """A failure in the middle of signing leaves no nonce to be used again."""
    share = shares_of(suite, 2, 3)[0]
    nonces = draw(suite, 5, 1)
    package = variant_for(suite).prepare(share.public, b"pay", {share.party: nonces.commitment})
    with pytest.raises((KeyError, ProtocolMisuse)):
        package.signature_share(PartyId(99), nonces, share.secret, suite.group.scalar(1))
    with pytest.raises(ProtocolMisuse):
        nonces.take()


@each_suite
def test_nonces_cannot_be_multiplied(suite):
    """A copy would be a second use."""
    nonces = draw(suite, 5, 1)
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            attempt(nonces)


@each_suite
def test_nonces_depend_on_the_share_and_on_randomness(suite):
    """RFC 9591's hedge: neither a known generator nor a known share gives a nonce away."""
    pairs = [draw(suite, secret, seed).take() for secret in (5, 6) for seed in (1, 2)]
    assert len({nonce.value for pair in pairs for nonce in pair}) == 8


@each_rfc9591
@pytest.mark.parametrize("messages", [MESSAGES[:1], MESSAGES])
def test_stuck_generator(suite, messages):
    """A generator that repeats itself would repeat nonces across a batch: nothing is sent."""
    share = shares_of(suite, 2, 3, SIGNERS)[0]
    program = sign(context(suite, "frost/v1", 1, SIGNERS, 2), suite, share, messages, bytes)
    with pytest.raises(ProtocolMisuse):
        next(program)


@each_suite
def test_nonces_differ_between_messages(suite):
    """Every message of a batch has its own nonces, and every session others."""
    points = []
    for seed in range(3):
        sent = log(run(suite, programs_of(suite, seed)))
        for commitment in codec_for(suite).decode(FrostCommitments, sent[1, 2, 1, False]).commitments:
            points += [commitment.hiding, commitment.binding]
    assert len(set(points)) == 3 * len(MESSAGES) * 2


@each_rfc9591
def test_parallel_sessions(suite):
    """The ROS attack of Benhamouda et al. over 256 open sessions forges nothing.

    The adversary, signer 2, sees signer 1's commitments of all sessions before it sends its own. For session k it has
    two commitments ready, with challenges c_k^0 and c_k^1, and chooses bit b_k so that the honest responses, combined
    with weights 2^k / (c_k^1 - c_k^0), answer the challenge of a message that nobody signed. Without binding factors
    this always succeeds: the honest nonce would be the same under both choices.
    """
    group, sessions = suite.group, 256
    shares = dealt(suite, [group.scalar(2**200 + 9), group.scalar(2**210 + 7)], 2)
    Y = shares[0].public.public_key
    ours, theirs = PartyId(2), PartyId(1)
    rng = seeded_rng("ros")

    def scalar():
        return group.reduce_wide(rng(64))

    open_sessions = []
    for k in range(sessions):
        session_id = k.to_bytes(32, "big")
        ctx = context(suite, "frost/v1", 1, (1, 2), 2, session_id=session_id)
        message = f"harmless {k}".encode()
        program = sign(ctx, suite, shares[0], ((message, ()),), seeded_rng("victim", k))
        honest = next(program).to_all.commitments[0]
        e = scalar()
        E = group.base_multiply(e)
        choices = []
        for _ in range(2):
            d = scalar()
            own = NonceCommitment(group.base_multiply(d), E)
            package = prepare(suite, Y, message, {theirs: honest, ours: own})
            nonce = group.base_multiply(d + package.binding_factors[ours] * e)
            choices.append((own, package.challenge, package.R - nonce))
        open_sessions.append((program, choices))

    weights = [
        group.scalar(2**k) * (choices[1][1] - choices[0][1]).inverse() for k, (_, choices) in enumerate(open_sessions)
    ]
    R = group.sum(
        group.multiply(choices[0][2], weight) for weight, (_, choices) in zip(weights, open_sessions, strict=True)
    )
    forged = b"all the money"
    c = suite.h2(R.to_bytes() + Y.to_bytes() + forged)
    offset = sum(
        (weight * choices[0][1] for weight, (_, choices) in zip(weights, open_sessions, strict=True)), group.zero()
    )
    bits = (c - offset).value
    z = group.zero()
    for k, (program, choices) in enumerate(open_sessions):
        own = choices[bits >> k & 1][0]
        answer = program.send(Inbox({ours: FrostCommitments((own,))})).to_all
        z += weights[k] * answer.shares[0]
    assert bits < 1 << sessions
    z += c * lagrange(group, ours, (theirs, ours)) * shares[1].secret
    assert not suite.verify(Y.to_bytes(), forged, suite.encode_signature(R, z))


@each_suite
def test_altered_commitment_list(suite):
    """A relay that shows one signer another commitment is noticed by all, and no signer is blamed for it."""
    codec = codec_for(suite)
    earlier = log(run(suite, programs_of(suite, 5, session_id=b"\x44" * 32)))

    def relay(packet):
        swapped = packet.round == 1 and packet.recipient == 2
        return [replace(packet, payload=earlier[1, 2, 1, False])] if swapped else [packet]

    simulator = run(suite, programs_of(suite), taps={1: relay})
    assert {type(failure) for failure in simulator.failures.values()} == {EchoMismatch}
    assert not simulator.results
    sent = {(p.sender, p.recipient): codec.decode(FrostShares, p.payload) for p in simulator.sent if p.round == 2}
    assert sent[1, 3].seen == sent[3, 1].seen != sent[2, 1].seen


@each_suite
def test_wrong_share_for_another_list_blames_nobody(suite):
    """A share with another list's hash proves nothing about its signer, right or wrong."""
    tap = rewriting(suite, 2, lambda message, to: off_by_one(replace(message, seen=bytes(32)), to))
    simulator = run(suite, programs_of(suite), taps={2: tap})
    assert {type(simulator.failures[party]) for party in (1, 3)} == {EchoMismatch}


@each_suite
def test_list_hash_covers_messages_paths_and_session(suite):
    """Signers who agree on commitments but not on what they sign or why do not take each other's hash for theirs."""
    shares = shares_of(suite, 2, 3, (1, 2))
    seen = set()
    variations = [
        (((b"pay", ()),), {}),
        (((b"pay!", ()),), {}),
        (((b"pay", (1,)),), {}),
        (((b"pay", ()),), {"session_id": b"\x44" * 32}),
        (((b"pay", ()),), {"binding": b"\x45" * 32}),
    ]
    for messages, changes in variations:
        program = sign_programs(suite, shares, messages, **changes)[PartyId(1)]
        next(program)
        peer = draw(suite, 5, 1).commitment
        seen.add(program.send(Inbox({PartyId(2): FrostCommitments((peer,))})).to_all.seen)
    assert len(seen) == len(variations)


@each_suite
def test_all_bad_shares_are_named(suite):
    """Two signers of three send wrong shares, one for every message of the batch and one for a single message."""
    everywhere = rewriting(suite, 2, lambda message, _: replace(message, shares=tuple(-z for z in message.shares)))
    simulator = run(suite, programs_of(suite), taps={1: everywhere, 3: rewriting(suite, 2, off_by_one)})
    failure = simulator.failures[2]
    assert isinstance(failure, ProtocolAbort)
    assert failure.culprits == (1, 3)


@each_suite
def test_counts_are_checked(suite):
    """One commitment and one share per message, no more, no fewer; who sends another number is named."""
    cuts = [
        rewriting(suite, 1, lambda message, _: FrostCommitments(message.commitments[:1])),
        rewriting(suite, 1, lambda message, _: FrostCommitments(message.commitments * 2)),
        rewriting(suite, 2, lambda message, _: replace(message, shares=message.shares[:1])),
        rewriting(suite, 2, lambda message, _: replace(message, shares=())),
    ]
    for tap in cuts:
        simulator = run(suite, programs_of(suite), taps={2: tap})
        for party in (1, 3):
            assert simulator.failures[party].culprits == (2,)


@each_suite
def test_replayed_session(suite):
    """Commitments and shares of an old session give nothing in a new one."""
    earlier = log(run(suite, programs_of(suite, 0, session_id=b"\x44" * 32)))

    def tap(packet):
        return [replace(packet, payload=earlier[2, packet.recipient, packet.round, False])]

    simulator = run(suite, programs_of(suite, 1), taps={2: tap})
    assert not set(simulator.results) & {1, 3}
    for party in (1, 3):
        assert isinstance(simulator.failures[party], EchoMismatch)


@each_suite
def test_old_shares_under_the_right_hash(suite):
    """A share of an old session with the new list's hash is wrong, and its sender named."""
    codec = codec_for(suite)
    earlier = log(run(suite, programs_of(suite, 0, session_id=b"\x44" * 32)))

    def old(message, to):
        return replace(message, shares=codec.decode(FrostShares, earlier[2, to, 2, False]).shares)

    simulator = run(suite, programs_of(suite, 1), taps={2: rewriting(suite, 2, old)})
    for party in (1, 3):
        assert simulator.failures[party].culprits == (2,)


def test_small_order_commitments():
    """D or E of order 8, or with a component of it, is refused at decode and its sender named."""
    suite = FROST_ED25519
    honest = log(run(suite, programs_of(suite)))
    commitment = codec_for(suite).decode(FrostCommitments, honest[3, 1, 1, False]).commitments[0]
    for point in (commitment.hiding, commitment.binding):
        for low in torsion():
            tap = {3: lambda packet: [replace(packet, payload=packet.payload.replace(point.encoded, low.encode()))]}  # noqa: B023
            simulator = run(suite, programs_of(suite), taps=tap)
            for party in (1, 2):
                assert simulator.failures[party].step == "message does not decode"
                assert simulator.failures[party].culprits == (3,)


@pytest.mark.parametrize("base", [FrostEd25519, FrostSecp256k1])
def test_identity_as_group_commitment(base):
    """R = 0 would make a signature that shows the key; with constant binding factors it can be reached, and is refused."""

    class Constant(base):
        def h1(self, message):
            return self.group.scalar(1)

    suite = Constant()
    pair = draw_nonces(suite, suite.group.scalar(5), seeded_rng(1)).commitment
    opposite = NonceCommitment(-pair.hiding, -pair.binding)
    with pytest.raises(ProtocolAbort, match="identity"):
        prepare(suite, suite.group.generator, b"pay", {PartyId(1): pair, PartyId(2): opposite})


@each_rfc9591
def test_binding_factors_bind_everything(suite):
    """Key, message, each commitment and the signer change every binding factor."""
    pairs = [draw_nonces(suite, suite.group.scalar(5), seeded_rng(i)).commitment for i in range(4)]
    G = suite.group.generator
    lists = [
        {1: pairs[0], 2: pairs[1]},
        {1: pairs[0], 2: pairs[2]},
        {1: pairs[1], 2: pairs[0]},
        {1: pairs[0], 3: pairs[1]},
    ]
    lists.append({1: NonceCommitment(pairs[0].binding, pairs[0].hiding), 2: pairs[1]})
    packages = [prepare(suite, G, b"pay", commitments) for commitments in lists]
    packages += [prepare(suite, G, b"pay!", lists[0]), prepare(suite, G + G, b"pay", lists[0])]
    factors = [rho.value for package in packages for rho in package.binding_factors.values()]
    assert len(set(factors)) == len(factors)


@each_suite
def test_misuse(suite):
    """A share that is not the context's, a stranger among the signers, or messages out of bounds: nothing is drawn."""
    share = shares_of(suite, 2, 3, SIGNERS)[0]
    right = context(suite, "frost/v1", 1, (1, 2), 2)
    other = FROST_SECP256K1 if suite is FROST_ED25519 else FROST_ED25519
    foreign = shares_of(other, 2, 3, SIGNERS)[0]
    pay = ((b"pay", ()),)
    cases = [
        (replace(right, me=PartyId(2)), share, pay),
        (replace(right, key_id="key-2"), share, pay),
        (replace(right, epoch=2), share, pay),
        (replace(right, threshold=3, parties=(1, 2, 3)), share, pay),
        (replace(right, parties=(1, 4)), share, pay),
        (replace(right, parties=(1,)), share, pay),
        (replace(right, protocol="dkg/v1"), share, pay),
        (right, foreign, pay),
        (right, share, ()),
        (right, share, pay * (MESSAGES_MAX + 1)),
        (right, share, ((bytes(MESSAGE_BYTES_MAX + 1), ()),)),
        (right, share, ((b"pay", (2**31,)),)),
        (right, share, ((b"pay", (-1,)),)),
        (right, share, ((b"pay", (0,) * 256),)),
    ]
    for ctx, key, messages in cases:
        with pytest.raises(ProtocolMisuse):
            next(sign(ctx, suite, key, messages, pytest.fail))
    next(sign(right, suite, share, pay, seeded_rng(1)))


@each_suite
def test_public_package_that_does_not_fit(suite):
    """A package whose public shares are not the key's gives no signature, and no honest signer is blamed."""
    right = dealt(suite, [suite.group.scalar(5), suite.group.scalar(6)], 2)
    wrong = replace(right[0].public, public_key=suite.group.base_multiply(suite.group.scalar(99)))
    shares = [KeyShare(share.party, share.secret, wrong, "key-1", 1) for share in right]
    simulator = run(suite, sign_programs(suite, shares, ((b"pay", ()),)))
    assert {type(failure) for failure in simulator.failures.values()} == {ProtocolMisuse}


@each_suite
def test_limits_are_reachable(suite):
    """The largest batch and the longest message that are allowed do sign."""
    shares = shares_of(suite, 2, 3, (1, 3))
    numbers = count()
    many = tuple((b"%d" % next(numbers), (next(numbers) % 3,)) for _ in range(MESSAGES_MAX))
    assert len(run(suite, sign_programs(suite, shares, many)).results[1]) == MESSAGES_MAX
    assert run(suite, sign_programs(suite, shares, ((bytes(MESSAGE_BYTES_MAX), ()),))).results
