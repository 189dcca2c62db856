"""Several messages and paths in the same two rounds: nothing of one is of use for another."""

from dataclasses import replace

import pytest

from keyquorum_core_signer.groups.suites import FROST_ED25519, FROST_SECP256K1
from keyquorum_core_signer.primitives.transcript import digest
from keyquorum_core_signer.protocols.context import bind
from keyquorum_core_signer.protocols.errors import EchoMismatch, ProtocolAbort
from keyquorum_core_signer.protocols.frost.messages import FrostCommitments, FrostShares
from keyquorum_core_signer.protocols.frost.sign import MESSAGE_BYTES_MAX, MESSAGES_MAX, PROTOCOL
from keyquorum_core_signer.protocols.keys import derive
from keyquorum_core_signer.protocols.messages import codec_for
from keyquorum_core_signer.protocols.rounds import PartyId, exchange
from support.committee import context, run, shares_of, sign_programs

each_suite = pytest.mark.parametrize("suite", [FROST_ED25519, FROST_SECP256K1], ids=lambda suite: suite.scheme)
SIGNERS = (1, 2, 3)
BATCH = ((b"pay", ()), (b"pay", (7,)), (b"pay", ()), (b"pay again", (7, 0)))


def programs_of(suite, batch=BATCH):
    """Three signers of a 2-of-3 key."""
    return sign_programs(suite, shares_of(suite, 2, 3, SIGNERS), batch)


def rearranging(suite, kind, round_, rewrite):
    """A tap that passes the messages of one round through ``rewrite``, as objects."""
    codec = codec_for(suite)

    def tap(packet):
        if packet.round != round_:
            return [packet]
        return [replace(packet, payload=codec.encode(rewrite(codec.decode(kind, packet.payload))))]

    return tap


def test_largest_batch_of_longest_messages():
    """What the limits allow together does sign, so that no intent is admitted that cannot be carried out."""
    suite = FROST_ED25519
    batch = tuple((bytes([k]) * MESSAGE_BYTES_MAX, ()) for k in range(MESSAGES_MAX))
    simulator = run(suite, sign_programs(suite, shares_of(suite, 2, 3, (1, 2)), batch))
    assert not simulator.failures
    assert len(simulator.results[PartyId(1)]) == MESSAGES_MAX


@each_suite
def test_signatures_are_paired_with_their_messages(suite):
    """Signature k verifies for message k under child k, and for no other pair; equal pairs get different nonces."""
    share = shares_of(suite, 2, 3, SIGNERS)[0]
    signatures = run(suite, programs_of(suite)).results[PartyId(1)]
    assert len({signature[: suite.group.element_length] for signature in signatures}) == len(BATCH)
    keys = [derive(suite, share.public, path)[1].public_key.to_bytes() for _, path in BATCH]
    for k, signature in enumerate(signatures):
        taken_for = {
            (message, path)
            for (message, path), key in zip(BATCH, keys, strict=True)
            if suite.verify(key, message, signature)
        }
        assert taken_for == {BATCH[k]}


@each_suite
def test_rearranged_shares_are_blamed(suite):
    """Right shares at the wrong messages are wrong shares, also where message and path are the same."""
    for order in ((1, 0, 2, 3), (2, 1, 0, 3)):
        swap = rearranging(
            suite, FrostShares, 2, lambda m, order=order: replace(m, shares=tuple(m.shares[k] for k in order))
        )
        failure = run(suite, programs_of(suite), taps={2: swap}).failures[PartyId(1)]
        assert isinstance(failure, ProtocolAbort)
        assert failure.culprits == (2,)


@each_suite
def test_rearranged_commitments_blame_nobody_honest(suite):
    """Commitments that reach everybody in another order than their signer made them end the session, without a word
    against the others: the signer's own list is another."""
    swap = rearranging(suite, FrostCommitments, 1, lambda m: FrostCommitments(m.commitments[::-1]))
    simulator = run(suite, programs_of(suite), taps={2: swap})
    assert {type(simulator.failures[PartyId(party)]) for party in (1, 3)} == {EchoMismatch}


def borrower(suite, ctx, commitments, public):
    """A signer that passes commitments off as its own, and is right about everything else."""
    inbox = yield from exchange(ctx, FrostCommitments(commitments))
    list_hash = digest(
        "keyquorum/frost/v1/commitments", bind(ctx, suite, PROTOCOL), public, BATCH, tuple(inbox.broadcast.items())
    )
    yield from exchange(ctx, FrostShares(list_hash, (suite.group.scalar(1),) * len(BATCH)))


@each_suite
@pytest.mark.parametrize("shift", [0, 1])
def test_borrowed_commitments_are_blamed(suite, shift):
    """A signer that repeats another's commitments, of this message or the next, cannot answer for them."""
    programs = programs_of(suite)
    of_another = next(programs_of(suite)[PartyId(1)]).to_all.commitments  # seeded, so they are what party 1 will send
    ctx = context(suite, PROTOCOL, 2, SIGNERS, 2)
    public = shares_of(suite, 2, 3, SIGNERS)[0].public
    programs[PartyId(2)] = borrower(suite, ctx, of_another[shift:] + of_another[:shift], public)
    simulator = run(suite, programs)
    for party in (1, 3):
        assert simulator.failures[PartyId(party)].culprits == (2,)


@each_suite
def test_signers_with_other_orders_blame_nobody(suite):
    """The same pairs in another order are another batch: honest signers do not take each other for cheats."""
    programs = programs_of(suite)
    programs[PartyId(3)] = programs_of(suite, BATCH[::-1])[PartyId(3)]
    simulator = run(suite, programs)
    assert {type(failure) for failure in simulator.failures.values()} == {EchoMismatch}
    assert len(simulator.failures) == 3


@each_suite
def test_signers_with_other_views_of_the_key_blame_nobody(suite):
    """A signer whose copy of the public key package differs is out of step, not a cheat; nor are the others."""
    shares = list(shares_of(suite, 2, 3, SIGNERS))
    shares[2] = replace(shares[2], public=replace(shares[2].public, chain_code=bytes(32)))
    simulator = run(suite, sign_programs(suite, tuple(shares), BATCH))
    assert {type(failure) for failure in simulator.failures.values()} == {EchoMismatch}
    assert len(simulator.failures) == 3
