"""Presignatures: used once, for the key, path and quorum they were made for, under a nonce that the intent decides."""

import copy
import pickle
from dataclasses import replace

import pytest

from keyquorum_core_signer.groups.suites import ECDSA
from keyquorum_core_signer.protocols.dkls23 import online
from keyquorum_core_signer.protocols.dkls23.online import SIGNATURES_MAX
from keyquorum_core_signer.protocols.dkls23.presignature import (
    Presignature,
    decode_presignature,
    encode_presignature,
)
from keyquorum_core_signer.protocols.errors import EchoMismatch, ProtocolAbort, ProtocolMisuse
from keyquorum_core_signer.wire.codec import DecodeError
from support.committee import context, run
from support.dkls23 import DIGEST, PATH, child_key, finish_programs, presigned, signers, verify_elsewhere

SHARES = signers(quorum=(1, 2))
OTHER_DIGEST = bytes(32)


@pytest.fixture(scope="module")
def stored():
    """What a store holds of one presignature: bytes per party."""
    return {party: encode_presignature(presignature) for party, presignature in presigned(SHARES).items()}


@pytest.fixture
def presignatures(stored):
    """The presignature, as many times as a test likes: what a store must never do."""
    return {party: decode_presignature(ECDSA, data) for party, data in stored.items()}


def test_a_stored_one_signs(presignatures):
    """Encoded and decoded it is what it was."""
    simulator = run(ECDSA, finish_programs(presignatures))
    verify_elsewhere(child_key(SHARES), DIGEST, simulator.results[1])
    assert simulator.results[1] == simulator.results[2]


def test_the_second_use_raises(presignatures):
    """The second finish, for the same or another digest, sends nothing, whatever became of the first."""
    run(ECDSA, finish_programs(presignatures))
    for digest in (DIGEST, OTHER_DIGEST):
        simulator = run(ECDSA, finish_programs(presignatures, digest=digest))
        assert {type(failure) for failure in simulator.failures.values()} == {ProtocolMisuse}
        assert not simulator.sent


def test_an_abandoned_use_is_a_use(presignatures):
    """It is gone as soon as the share was made, even if nothing was delivered and the session closed."""
    program = finish_programs(presignatures)[1]
    next(program)
    program.close()
    with pytest.raises(ProtocolMisuse):
        presignatures[1].take()


def test_one_batch_cannot_use_it_twice(presignatures):
    """Two digests in one exchange need two presignatures."""
    ctx = context(ECDSA, online.PROTOCOL, 1, (1, 2), 2)
    uses = tuple((presignatures[1], PATH, digest) for digest in (DIGEST, OTHER_DIGEST))
    with pytest.raises(ProtocolMisuse, match="twice"):
        next(online.finish_all(ctx, ECDSA, uses))


def test_storing_uses_it_up(presignatures):
    """What was handed to a store is no longer at hand, so that only one of them can sign."""
    encode_presignature(presignatures[1])
    with pytest.raises(ProtocolMisuse):
        presignatures[1].take()


def test_it_cannot_be_multiplied(presignatures):
    """A copy would be a second use."""
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            attempt(presignatures[1])


@pytest.mark.parametrize(
    "changes",
    [
        {"path": ()},
        {"path": (0, 8)},
        {"key_id": "key-2"},
        {"epoch": 2},
        {"parties": (1, 3)},
        {"parties": (1, 2, 3)},
        {"me": 2},
        {"digest": b"raw message"},
        {"digest": b""},
        {"protocol": "dkls23/v1"},
    ],
    ids=str,
)
def test_it_is_bound(presignatures, changes):
    """Another path, key, epoch, quorum or party, or what is no digest: refused, and still there for the right use."""
    own = {"path": PATH, "digest": DIGEST} | {k: v for k, v in changes.items() if k in ("path", "digest")}
    where = {"me": 1, "parties": (1, 2), "protocol": online.PROTOCOL}
    where |= {k: v for k, v in changes.items() if k in where}
    more = {k: v for k, v in changes.items() if k in ("key_id", "epoch")}
    ctx = context(ECDSA, where["protocol"], where["me"], where["parties"], 2, **more)
    with pytest.raises(ProtocolMisuse):
        next(online.finish(ctx, ECDSA, presignatures[1], own["path"], own["digest"]))
    next(finish_programs(presignatures)[1])


def test_batches_are_bounded(presignatures):
    """No signatures, or more than a message may hold."""
    ctx = context(ECDSA, online.PROTOCOL, 1, (1, 2), 2)
    for count in (0, SIGNATURES_MAX + 1):
        with pytest.raises(ProtocolMisuse):
            next(online.finish_all(ctx, ECDSA, ((presignatures[1], PATH, DIGEST),) * count))


def test_many_signatures_in_one_message():
    """Several digests, each with a presignature of its own path, in one exchange."""
    paths = [(), PATH, (3,)]
    made = [presigned(SHARES, seed, path=path) for seed, path in enumerate(paths)]
    digests = [bytes([k]) * 32 for k in range(3)]
    programs = {
        me: online.finish_all(
            context(ECDSA, online.PROTOCOL, me, (1, 2), 2),
            ECDSA,
            tuple((each[me], path, digest) for each, path, digest in zip(made, paths, digests, strict=True)),
        )
        for me in (1, 2)
    }
    simulator = run(ECDSA, programs)
    for path, digest, signature in zip(paths, digests, simulator.results[1], strict=True):
        verify_elsewhere(child_key(SHARES, path), digest, signature)
    assert {packet.round for packet in simulator.sent} == {1}


def test_the_nonce_hangs_on_the_intent_and_the_digest(stored):
    """R' is R under no intent, and another under each intent and digest: who chose the digest for R chose it in vain."""
    found = set()
    for digest in (DIGEST, OTHER_DIGEST):
        for binding in (b"\x02" * 32, b"\x03" * 32):
            again = {party: decode_presignature(ECDSA, data) for party, data in stored.items()}
            R = again[1].terms.R
            signature = run(ECDSA, finish_programs(again, digest=digest, binding=binding)).results[1]
            verify_elsewhere(child_key(SHARES), digest, signature)
            found.add(signature.r_s[:32])
    assert len(found) == 4
    assert R.to_bytes()[1:] not in found


@pytest.mark.parametrize(
    "changed",
    [
        {"id": bytes(32)},
        {"epoch": 2},
        {"parties": (1, 3)},
        {"public_key": ECDSA.group.generator},
        {"R": ECDSA.group.generator},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_delta_hangs_on_all_terms(presignatures, changed):
    """Derived key, epoch, presignature, R and signers: H_q takes each."""
    ctx = context(ECDSA, online.PROTOCOL, 1, (1, 2), 2)
    terms = presignatures[1].terms
    one, two = (online._signing(ctx, ECDSA, each, DIGEST).delta for each in (terms, replace(terms, **changed)))
    assert one != two


def test_delta_of_zero_signs_nothing(presignatures, monkeypatch):
    """A hash of zero, which nobody will ever see, would give the identity: no share leaves, and nobody is blamed."""
    monkeypatch.setattr(online, "challenge", lambda group, *_: group.zero())
    simulator = run(ECDSA, finish_programs(presignatures))
    assert {(failure.step, failure.culprits) for failure in simulator.failures.values()} == {("delta is zero", ())}
    assert not simulator.sent


def test_an_r_of_zero_signs_nothing(presignatures, monkeypatch):
    """Nor does a point whose x is the order."""
    monkeypatch.setattr(online, "_x", lambda point: ECDSA.group.order)
    simulator = run(ECDSA, finish_programs(presignatures))
    assert {(failure.step, failure.culprits) for failure in simulator.failures.values()} == {("r is zero", ())}


def test_a_large_x_sets_the_second_bit(presignatures, monkeypatch):
    """A point whose x is not below the order, one in 2^127, is told from the one with the reduced x."""
    signing = online._signing(context(ECDSA, online.PROTOCOL, 1, (1, 2), 2), ECDSA, presignatures[1].terms, DIGEST)
    plain = run(ECDSA, finish_programs(presignatures)).results[1]
    x = online._x(signing.R)
    monkeypatch.setattr(online, "_x", lambda point: x + ECDSA.group.order)
    again = presigned(SHARES)
    large = run(ECDSA, finish_programs(again)).results[1]
    assert (large.r_s, large.recovery_id) == (plain.r_s, plain.recovery_id | 2)


def test_different_presignatures_blame_nobody(presignatures):
    """Parties that were told to use different presignatures, digests or intents notice before anyone is accused."""
    other = presigned(SHARES, 5, session_id=b"\x44" * 32)
    mixed = {1: presignatures[1], 2: other[2]}
    assert {type(f) for f in run(ECDSA, finish_programs(mixed)).failures.values()} == {EchoMismatch}


@pytest.mark.parametrize("changes", [{"digest": OTHER_DIGEST}, {"binding": b"\x45" * 32}, {"session_id": b"\x44" * 32}])
def test_different_digests_blame_nobody(presignatures, changes):
    """Nor when they sign different things."""
    programs = finish_programs(presignatures)
    programs[2] = finish_programs(presignatures, **changes)[2]
    simulator = run(ECDSA, programs)
    assert {type(failure) for failure in simulator.failures.values()} == {EchoMismatch}


@pytest.mark.parametrize("count", [0, 2])
def test_one_share_per_signature(presignatures, count):
    """Who sends more or fewer is named."""
    honest = online.OnlineShares

    program = finish_programs(presignatures)
    sent = next(program[1]).to_all
    peer = next(program[2]).to_all
    wrong = honest(peer.seen, peer.shares * count)
    with pytest.raises(ProtocolAbort) as caught:
        program[1].send(type("Inbox", (), {"broadcast": {2: wrong}, "private": {}})())
    assert caught.value.culprits == (2,)
    assert sent.seen == peer.seen


def test_stored_ones_are_checked(stored, presignatures):
    """Bytes that are none, or whose quorum is not one, are refused."""
    with pytest.raises(DecodeError):
        decode_presignature(ECDSA, stored[1] + b"\x00")
    for parties in ((2, 1), (1, 1), (2, 3)):
        terms = replace(presignatures[1].terms, parties=parties)
        bad = Presignature(1, terms, decode_presignature(ECDSA, stored[1]).take())
        with pytest.raises(DecodeError):
            decode_presignature(ECDSA, encode_presignature(bad))
