"""Attacks on Taproot signing that the RFC's equations do not have; what both share is in test_frost_attacks."""

from dataclasses import replace
from itertools import product

import pytest

from keyquorum_core_signer.groups.suites import BIP340, Bip340
from keyquorum_core_signer.primitives.shamir import lagrange
from keyquorum_core_signer.protocols.errors import ProtocolAbort, ProtocolMisuse
from keyquorum_core_signer.protocols.frost.bip340 import Bip445, aggregate_nonces, generate_nonces, prepare
from keyquorum_core_signer.protocols.frost.messages import FrostCommitments, FrostShares, NonceCommitment
from keyquorum_core_signer.protocols.frost.nonces import NoncePair
from keyquorum_core_signer.protocols.frost.sign import sign
from keyquorum_core_signer.protocols.frost.tweaks import TweakedKey, UnusableTweak, taproot_key
from keyquorum_core_signer.protocols.keys import KeyShare, PublicKeyPackage
from keyquorum_core_signer.protocols.rounds import Inbox, PartyId
from support.committee import context, dealt, run, shares_of, sign_programs, signing_key
from support.simulator import seeded_rng

GROUP = BIP340.group
G = GROUP.generator
PAY = ((b"pay", ()),)
ONE, TWO, THREE = map(PartyId, (1, 2, 3))


def key_of(secret):
    """The shares of a 2-of-2 key that the test knows."""
    return dealt(BIP340, [GROUP.scalar(secret), GROUP.scalar(2**210 + 7)], 2)


def commitment(seed):
    """A commitment to nonces that depend on ``seed`` alone."""
    return generate_nonces(BIP340, seeded_rng(seed)).commitment


def package_of(public, commitments, message=b"pay"):
    """What signers prepare, for the output key."""
    return Bip445(BIP340).prepare(public, message, commitments)


def test_parallel_sessions():
    """The ROS attack of Benhamouda et al. over 256 open sessions forges nothing.

    As in test_frost_attacks, with BIP-340's parities: the adversary, signer 2, draws its commitments until the group
    commitment has an even y, and shifts the forgery's nonce until that has one. Without the nonce coefficient's hash
    over the commitments this always succeeds.
    """
    sessions = 256
    shares = key_of(2**200 + 9)
    public = shares[0].public
    key = taproot_key(BIP340, public.public_key)
    rng = seeded_rng("ros")

    def scalar():
        return GROUP.reduce_wide(rng(64))

    open_sessions = []
    for k in range(sessions):
        message = f"harmless {k}".encode()
        ctx = context(BIP340, "frost/v1", 1, (1, 2), 2, session_id=k.to_bytes(32, "big"))
        program = sign(ctx, BIP340, shares[0], ((message, ()),), seeded_rng("victim", k))
        honest = next(program).to_all.commitments[0]
        e = scalar()
        E = GROUP.base_multiply(e)
        choices = []
        while len(choices) < 2:
            d = scalar()
            own = NonceCommitment(GROUP.base_multiply(d), E)
            package = package_of(public, {ONE: honest, TWO: own}, message)
            if BIP340.has_even_y(package.R):
                choices.append((own, package.e, package.R - GROUP.base_multiply(d + package.b * e)))
        open_sessions.append((program, choices))

    weights = [
        GROUP.scalar(2**k) * (choices[1][1] - choices[0][1]).inverse() for k, (_, choices) in enumerate(open_sessions)
    ]
    R = GROUP.sum(
        GROUP.multiply(choices[0][2], weight) for weight, (_, choices) in zip(weights, open_sessions, strict=True)
    )
    z = GROUP.zero()
    while not BIP340.has_even_y(R):
        R, z = R + G, z + GROUP.scalar(1)
    forged = b"all the money"
    c = BIP340.hash_to_scalar("BIP0340/challenge", BIP340.x_only(R) + BIP340.x_only(key.Q) + forged)
    offset = sum(
        (weight * choices[0][1] for weight, (_, choices) in zip(weights, open_sessions, strict=True)), GROUP.zero()
    )
    bits = (c - offset).value
    for k, (program, choices) in enumerate(open_sessions):
        own = choices[bits >> k & 1][0]
        z += weights[k] * program.send(Inbox({TWO: FrostCommitments((own,))})).to_all.shares[0]
    z += c * (key.sign * lagrange(GROUP, TWO, (ONE, TWO)) * shares[1].secret + key.offset)
    assert not BIP340.verify(key.Q.to_bytes(), forged, BIP340.x_only(R) + z.to_bytes())


def test_nonce_coefficient_binds_everything():
    """Signers, both aggregates, key and message change the coefficient; their order does not."""
    first, second, third = (commitment(seed) for seed in range(3))
    public, other = key_of(5)[0].public, key_of(6)[0].public
    variations = [
        package_of(public, {ONE: first, TWO: second}),
        package_of(public, {ONE: first, THREE: second}),
        package_of(public, {ONE: first, TWO: third}),
        package_of(public, {ONE: first, TWO: replace(second, hiding=third.hiding)}),
        package_of(public, {ONE: first, TWO: replace(second, binding=third.binding)}),
        package_of(public, {ONE: first, TWO: second}, b"pay!"),
        package_of(other, {ONE: first, TWO: second}),
    ]
    assert len({package.b.value for package in variations}) == len(variations)
    assert len({package.e.value for package in variations}) == len(variations)
    assert package_of(public, {TWO: second, ONE: first}).b == variations[0].b


def test_nonces_that_cancel_name_their_sender():
    """A signer who makes the aggregate the identity cannot answer for its nonce: the others sign, and name it."""
    shares = shares_of(BIP340, 2, 3, (1, 2, 3))
    programs = {party: program for party, program in sign_programs(BIP340, shares, PAY).items() if party != THREE}
    honest = {party: next(program).to_all for party, program in programs.items()}
    total = aggregate_nonces(GROUP, [message.commitments[0] for message in honest.values()])
    first = honest | {THREE: FrostCommitments((NonceCommitment(-total.hiding, -total.binding),))}
    second = {
        party: program.send(Inbox({i: message for i, message in first.items() if i != party})).to_all
        for party, program in programs.items()
    }
    second[THREE] = FrostShares(second[ONE].seen, (GROUP.scalar(5),))
    for party, program in programs.items():
        with pytest.raises(ProtocolAbort) as abort:
            program.send(Inbox({i: message for i, message in second.items() if i != party}))
        assert abort.value.culprits == (THREE,)


def test_a_generator_that_is_stuck_repeats_no_nonce():
    """Position, session, message and key tell nonces apart where randomness does not."""
    share = key_of(5)[0]
    messages = ((b"pay", ()), (b"pay", ()), (b"pay!", ()), (b"pay", (1,)))
    points = []
    for session in (1, 2):
        ctx = context(BIP340, "frost/v1", 1, (1, 2), 2, session_id=bytes([session]) * 32)
        for B_i in next(sign(ctx, BIP340, share, messages, bytes)).to_all.commitments:
            points += [B_i.hiding, B_i.binding]
    assert len(set(points)) == 2 * 2 * len(messages)


def test_each_input_of_nonces_counts():
    """With one randomness, whatever else differs gives other nonces; the secret also where nothing public differs."""
    base = {"secret": GROUP.scalar(5), "public_share": G, "key": G, "message": b"pay", "extra": b"a"}
    changes = [
        {},
        {"secret": GROUP.scalar(6)},
        {"public_share": G + G},
        {"key": G + G},
        {"message": b"pay!"},
        {"extra": b"b"},
        {"message": None},
        {"message": b"pay" + bytes(3) + b"\x01a", "extra": b""},
    ]
    nonces = [generate_nonces(BIP340, bytes, **(base | change)).take() for change in changes]
    assert len({nonce.value for pair in nonces for nonce in pair}) == 2 * len(changes)


def test_a_zero_nonce_is_refused():
    """It would show the share at once."""
    for pair in ((0, 1), (1, 0)):
        with pytest.raises(ProtocolMisuse):
            NoncePair(*map(GROUP.scalar, pair))


def test_a_damaged_share_does_not_sign():
    """A share that is not the one of its public share is noticed before anything that it made leaves."""
    right = key_of(5)
    damaged = KeyShare(ONE, right[0].secret + GROUP.scalar(1), right[0].public, "key-1", 1)
    simulator = run(BIP340, sign_programs(BIP340, [damaged, right[1]], PAY))
    assert isinstance(simulator.failures[ONE], ProtocolMisuse)
    assert not [packet for packet in simulator.sent if (packet.sender, packet.round) == (ONE, 2)]


def test_a_key_that_is_not_its_shares_draws_no_nonce():
    """Public shares that do not interpolate to the key are refused at once."""
    share = key_of(5)[0]
    wrong = KeyShare(ONE, share.secret, replace(share.public, public_key=G), "key-1", 1)
    with pytest.raises(ProtocolMisuse):
        next(sign(context(BIP340, "frost/v1", 1, (1, 2), 2), BIP340, wrong, PAY, pytest.fail))


def test_signers_that_no_coefficient_can_name():
    """An index that does not fit the four bytes of the nonce coefficient is refused before a nonce is drawn."""
    far = PartyId(2**32 + 1)
    near = PartyId(2**32)
    secret, slope = GROUP.scalar(5), GROUP.scalar(7)
    everybody = tuple((i, GROUP.base_multiply(secret + slope * GROUP.scalar(i))) for i in (ONE, near, far))
    public = PublicKeyPackage(GROUP.base_multiply(secret), bytes(32), everybody, 2)
    Bip445(BIP340).validate(public, (ONE, near))
    with pytest.raises(ProtocolMisuse):
        Bip445(BIP340).validate(public, (ONE, far))


def test_a_stranger_makes_no_share():
    """Somebody who is not among the signers has used up its nonces, and has no share."""
    shares = key_of(5)
    nonces = generate_nonces(BIP340, seeded_rng(1))
    package = package_of(shares[0].public, {ONE: commitment(1)})
    with pytest.raises(ProtocolMisuse, match="not among the signers"):
        package.signature_share(TWO, nonces, shares[1].secret, GROUP.scalar(1))
    with pytest.raises(ProtocolMisuse, match="twice"):
        nonces.take()


def test_every_combination_of_parities():
    """Internal key, output key and nonce have an even or an odd y; each of the eight cases signs."""
    seen = set()
    for secret in range(5, 30):
        shares = key_of(secret)
        internal = shares[0].public.public_key
        key = taproot_key(BIP340, internal)
        pairs = {share.party: generate_nonces(BIP340, seeded_rng(secret, share.party)) for share in shares}
        package = package_of(shares[0].public, {party: pair.commitment for party, pair in pairs.items()})
        z = {
            share.party: package.signature_share(
                share.party, pairs[share.party], share.secret, lagrange(GROUP, share.party, (ONE, TWO))
            )
            for share in shares
        }
        assert package.verifies(package.aggregate(z))
        seen.add(tuple(BIP340.has_even_y(point) for point in (internal, key.Q, package.R)))
    assert seen == set(product((True, False), repeat=3))


def test_signatures_are_for_the_output_key_alone():
    """The internal key never signs, so that no script can hide behind an output: BIP-341's advice."""
    shares = shares_of(BIP340, 2, 3, (1, 3))
    messages = ((b"pay", ()), (b"pay", (4,)))
    signatures = run(BIP340, sign_programs(BIP340, shares, messages)).results[1]
    public = shares[0].public
    for (message, path), signature in zip(messages, signatures, strict=True):
        assert BIP340.verify(signing_key(BIP340, public, path), message, signature)
        assert not BIP340.verify(public.public_key.to_bytes(), message, signature)
    x = BIP340.x_only(public.public_key)
    even = GROUP.decode_point(b"\x02" + x)
    expected = even + GROUP.base_multiply(BIP340.hash_to_scalar("TapTweak", x))
    assert BIP340.x_only(expected) == signing_key(BIP340, public, ())[1:]


def test_an_unusable_output_key_is_our_own_error():
    """A child whose tweak gives no key, which no hash ever does, is refused before a nonce is drawn."""
    suite = type("Overflowing", (Bip340,), {"tagged_hash": lambda *_: b"\xff" * 32})()
    with pytest.raises(UnusableTweak):
        taproot_key(suite, G)
    shares = key_of(5)
    ctx = context(suite, "frost/v1", 1, (1, 2), 2)
    with pytest.raises(ProtocolMisuse, match="below the group order"):
        next(sign(ctx, suite, shares[0], PAY, pytest.fail))


def test_a_zero_coefficient_or_challenge_is_refused():
    """With either at zero a share would show a nonce alone, or sign nothing."""
    for tag in ("BIP0445/noncecoef", "BIP0340/challenge"):

        class Zero(Bip340):
            def hash_to_scalar(self, name, message, tag=tag):
                return GROUP.zero() if name == tag else super().hash_to_scalar(name, message)

        public, key = key_of(5)[0].public, TweakedKey.of(Zero(), G)
        with pytest.raises(ProtocolAbort, match="zero"):
            prepare(public, key, b"pay", commitment(1), {ONE: commitment(1)})
