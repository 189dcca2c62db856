"""DKLs23: any t of n sign, all agree, other libraries verify; nobody less does."""

import hashlib
from itertools import combinations

import pytest

from keyquorum_core_signer.groups.suites import ECDSA
from keyquorum_core_signer.protocols import context
from keyquorum_core_signer.protocols.dkls23 import presign, sign
from keyquorum_core_signer.protocols.dkls23.messages import PresignOpening
from keyquorum_core_signer.protocols.dkls23.presign import PendingChecks
from keyquorum_core_signer.protocols.errors import ProtocolMisuse
from keyquorum_core_signer.protocols.messages import codec_for
from keyquorum_core_signer.protocols.rounds import PartyId
from support.committee import COMMITTEES, run, shares_of
from support.committee import context as committee_context
from support.dkls23 import (
    DIGEST,
    PATH,
    child_key,
    dealt_setup,
    finish_programs,
    presigned,
    setups_of,
    sign_programs,
    signers,
    verify_elsewhere,
)

each_committee = pytest.mark.parametrize(("t", "n"), COMMITTEES, ids=str)
Q = ECDSA.group.order


def quorums(t, n):
    """Every quorum of t; some of a large committee; and one that is larger than needed."""
    found = list(combinations(range(1, n + 1), t))
    found = found if n <= 5 else found[:: len(found) // 2]
    return [*found, tuple(range(1, t + 2))] if 2 < n <= 5 else found


@each_committee
def test_any_quorum_signs(t, n):
    """Every quorum's parties agree on one signature of the child key, which OpenSSL and libsecp256k1 accept."""
    for seed, quorum in enumerate(quorums(t, n)):
        shares = shares_of(ECDSA, t, n, quorum)
        digest = hashlib.sha256(bytes([seed])).digest()
        simulator = run(ECDSA, sign_programs(shares, seed, digest=digest), seed)
        assert len(simulator.results) == len(quorum), simulator.failures
        assert len(set(simulator.results.values())) == 1
        verify_elsewhere(child_key(shares), digest, simulator.results[quorum[0]])


@each_committee
def test_fewer_than_threshold_are_refused(t, n):
    """t - 1 signers do not even draw a nonce."""
    shares = shares_of(ECDSA, t, n)[: t - 1]
    for share in shares:
        parties = [share.party for share in shares]
        ctx = committee_context(ECDSA, sign.PROTOCOL, share.party, parties, t)
        setups = setups_of(share.party, parties)
        with pytest.raises(ProtocolMisuse):
            next(sign.sign(ctx, ECDSA, share, DIGEST, PATH, setups=setups, rng=pytest.fail))


@pytest.mark.parametrize(("t", "n"), [(3, 3), (3, 5), (5, 9)], ids=str)
def test_fewer_than_threshold_cannot_even_without_the_check(t, n, monkeypatch):
    """With the count checks lifted the additive shares of t - 1 parties are of another key, and they notice."""
    shares = shares_of(ECDSA, t, n)[: t - 1]
    bound = context.bind

    def lenient(ctx, suite, protocol):
        values = {name: getattr(ctx, name) for name in ctx.__slots__} | {"parties": tuple(range(1, n + 1))}
        return bound(type(ctx)(**values), suite, protocol)

    monkeypatch.setattr(sign, "bind", lenient)
    simulator = run(ECDSA, sign_programs(shares))
    assert not simulator.results
    assert {failure.step for failure in simulator.failures.values()} == {"sum of pk_i is the key"}


def test_messages_at_the_edges():
    """Digests of all zeros, all ones, the order and its neighbours; the empty and the largest path."""
    shares = signers(quorum=(1, 3))
    for seed, value in enumerate((0, 1, Q - 1, Q, Q + 1, 2**256 - 1)):
        path = ((), (2**31 - 1,), PATH)[seed % 3]
        digest = value.to_bytes(32, "big")
        simulator = run(ECDSA, sign_programs(shares, seed, digest=digest, path=path), seed)
        assert set(simulator.results) == {1, 3}, simulator.failures
        verify_elsewhere(child_key(shares, path), digest, simulator.results[1])


def test_both_parities_and_both_halves_occur():
    """Recovery ids 0 and 1 both come up, so the flip with s is exercised."""
    shares = signers(quorum=(2, 3))
    found = set()
    for seed in range(24):
        signature = run(ECDSA, sign_programs(shares, seed), seed).results[2]
        verify_elsewhere(child_key(shares), DIGEST, signature)
        found.add(signature.recovery_id)
        if found == {0, 1}:
            return
    raise AssertionError(found)


def test_the_order_of_delivery_does_not_matter():
    """One signature for each seed of the parties, whatever arrives first."""
    assert len({run(ECDSA, sign_programs(signers()), seed).results[1] for seed in range(5)}) == 1


def test_randomness_and_session_change_the_signature():
    """Another seed or another session gives another R."""
    shares = signers(quorum=(1, 2))
    found = {
        run(ECDSA, sign_programs(shares, seed, **changes)).results[1].r_s[:32]
        for seed in (1, 2)
        for changes in ({}, {"session_id": b"\x44" * 32}, {"binding": b"\x45" * 32})
    }
    assert len(found) == 6


def test_parties_need_not_be_consecutive():
    """Indices are the roster's, with gaps."""
    shares = shares_of(ECDSA, 3, 5, (1, 4, 5))
    assert len(run(ECDSA, sign_programs(shares)).results) == 3


def test_one_setup_serves_keys_and_sessions():
    """Sessions for two keys on one pair's set-up, which nothing counts or changes, each give a good signature."""
    two_keys = [signers(2, 3, (1, 2)), signers(2, 2, (1, 2))]
    for seed, shares in enumerate(two_keys):
        for session in (b"\x01" * 32, b"\x02" * 32):
            results = run(ECDSA, sign_programs(shares, seed, session_id=session)).results
            verify_elsewhere(child_key(shares), DIGEST, results[1])


def test_warm_signing_is_one_round_of_two_scalars():
    """With presignatures in hand each party sends one message: w_i and u_i, and the hash of what they are for."""
    shares = signers(quorum=(1, 3))
    simulator = run(ECDSA, finish_programs(presigned(shares)))
    verify_elsewhere(child_key(shares), DIGEST, simulator.results[1])
    assert {packet.round for packet in simulator.sent} == {1}
    assert all(len(packet.payload) < 220 for packet in simulator.sent)


def test_checks_are_announced_before_they_run():
    """Each session yields one checkpoint that names its pairs, after the handshake and before the first check."""
    simulator = run(ECDSA, sign_programs(signers()))
    for party, state in simulator.parties.items():
        (pending,) = state.checkpoints
        assert isinstance(pending, PendingChecks)
        assert dict(pending.pairs) == {j: dealt_setup(party, j).id for j in (1, 2, 3) if j != party}


def test_a_generator_that_repeats_or_is_known():
    """A stuck generator, the same at all parties and in all sessions, still gives every party and session its own nonce."""
    commitments, openings = set(), set()
    for session in (b"\x01" * 32, b"\x02" * 32):
        programs = {}
        for share in signers():
            ctx = committee_context(ECDSA, presign.PROTOCOL, share.party, (1, 2, 3), 2, session_id=session)
            setups = setups_of(share.party, (1, 2, 3))
            programs[share.party] = presign.presign(ctx, ECDSA, share, PATH, setups=setups, rng=bytes)
        simulator = run(ECDSA, programs)
        assert len(simulator.results) == 3
        for packet in simulator.sent:
            if not packet.private and packet.round == 2:
                openings.add(codec_for(ECDSA).decode(PresignOpening, packet.payload).R)
            elif not packet.private:
                commitments.add(packet.payload)
    assert len(openings) == len(commitments) == 6


def test_misuse():
    """What does not fit the context is refused before anything is drawn or sent."""
    share = signers(quorum=(1,))[0]
    right = committee_context(ECDSA, presign.PROTOCOL, 1, (1, 2), 2)
    setups = setups_of(1, (1, 2))
    other_key = shares_of(ECDSA, 2, 2, (1,))[0]
    tampered = type(share)(share.party, share.secret + ECDSA.group.scalar(1), share.public, share.key_id, share.epoch)
    cases = [
        (committee_context(ECDSA, sign.PROTOCOL, 1, (1, 2), 2), share, PATH, setups),
        (committee_context(ECDSA, presign.PROTOCOL, 2, (1, 2), 2), share, PATH, setups),
        (committee_context(ECDSA, presign.PROTOCOL, 1, (1, 2, 3), 3), share, PATH, setups_of(1, (1, 2, 3))),
        (committee_context(ECDSA, presign.PROTOCOL, 1, (1, 2), 2, epoch=2), share, PATH, setups),
        (committee_context(ECDSA, presign.PROTOCOL, 1, (1, 2), 2, key_id="key-2"), share, PATH, setups),
        (committee_context(ECDSA, presign.PROTOCOL, 1, (1, 3), 2), other_key, PATH, setups_of(1, (1, 3))),
        (right, tampered, PATH, setups),
        (right, share, (2**31,), setups),
        (right, share, (0,) * 256, setups),
        (right, share, PATH, {}),
        (right, share, PATH, {PartyId(2): dealt_setup(1, 3)}),
        (right, share, PATH, {PartyId(2): dealt_setup(2, 1)}),
    ]
    for ctx, key_share, path, halves in cases:
        with pytest.raises(ProtocolMisuse):
            next(presign.presign(ctx, ECDSA, key_share, path, setups=halves, rng=pytest.fail))
    next(presign.presign(right, ECDSA, share, PATH, setups=setups, rng=bytes))
