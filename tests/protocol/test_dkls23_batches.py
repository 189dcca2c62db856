"""Several presignatures in one session: each right, each apart from the others, and counted."""

import hashlib
from dataclasses import replace

import pytest

from keyquorum_core_signer.groups.suites import ECDSA
from keyquorum_core_signer.protocols.dkls23 import batch, presign, sign
from keyquorum_core_signer.protocols.dkls23.batch import BATCH_MAX
from keyquorum_core_signer.protocols.dkls23.errors import Desync, PairCompromised
from keyquorum_core_signer.protocols.dkls23.messages import (
    PresignCommitments,
    PresignExtensions,
    PresignMultiplications,
    PresignOpenings,
)
from keyquorum_core_signer.protocols.errors import ProtocolAbort, ProtocolMisuse
from keyquorum_core_signer.protocols.messages import codec_for
from support.committee import context, run
from support.dkls23 import child_key, setups_of, signers, verify_elsewhere
from support.simulator import seeded_rng

CODEC = codec_for(ECDSA)
MESSAGES = tuple((hashlib.sha256(bytes([k])).digest(), path) for k, path in enumerate([(), (0, 7), (0, 7)]))
TYPES = {
    (1, False): PresignCommitments,
    (1, True): PresignExtensions,
    (2, False): PresignOpenings,
    (2, True): PresignMultiplications,
}


def programs(messages=MESSAGES, quorum=(1, 2), theirs=None):
    """The cold path for several messages; ``theirs`` are what party 2 signs instead."""
    return {
        share.party: sign.sign_all(
            context(ECDSA, sign.PROTOCOL, share.party, quorum, 2),
            ECDSA,
            share,
            theirs if theirs is not None and share.party == 2 else messages,
            setups=setups_of(share.party, quorum),
            rng=seeded_rng("batch", share.party),
        )
        for share in signers(quorum=quorum)
    }


def rewriting(place, rewrite):
    """A tap that alters the batch of one place, as a tuple."""

    def tap(packet):
        if (packet.round, packet.private) != place:
            return [packet]
        message = CODEC.decode(TYPES[place], packet.payload)
        return [replace(packet, payload=CODEC.encode(replace(message, each=rewrite(message.each))))]

    return tap


@pytest.mark.parametrize("quorum", [(1, 3), (1, 2, 3)])
def test_every_message_is_signed(quorum):
    """Three rounds, one checkpoint, a signature for each message under the key of its path, and no nonce twice."""
    simulator = run(ECDSA, programs(quorum=quorum))
    assert set(simulator.results) == set(quorum), simulator.failures
    signatures = simulator.results[quorum[0]]
    for (digest, path), signature in zip(MESSAGES, signatures, strict=True):
        verify_elsewhere(child_key(signers(), path), digest, signature)
    assert len({signature.r_s[:32] for signature in signatures}) == 3
    assert max(packet.round for packet in simulator.sent) == 3
    assert all(len(state.checkpoints) == 1 for state in simulator.parties.values())


def test_the_largest_batch_fits_a_message():
    """Sixteen presignatures, whose messages still encode and decode."""
    share = signers(quorum=(1, 2))
    made = run(
        ECDSA,
        {
            each.party: batch.presign_all(
                context(ECDSA, presign.PROTOCOL, each.party, (1, 2), 2),
                ECDSA,
                each,
                ((5,),) * BATCH_MAX,
                setups=setups_of(each.party, (1, 2)),
                rng=seeded_rng("largest", each.party),
            )
            for each in share
        },
    ).results
    assert len({presignature.terms.id for presignature in made[1]}) == BATCH_MAX
    assert [one.terms for one in made[1]] == [two.terms for two in made[2]]


@pytest.mark.parametrize("count", [0, BATCH_MAX + 1])
def test_batches_are_bounded(count):
    """None, or more than fit."""
    with pytest.raises(ProtocolMisuse):
        next(programs(MESSAGES[:1] * count)[1])


@pytest.mark.parametrize("place", TYPES)
@pytest.mark.parametrize("rewrite", [lambda each: each[:-1], lambda each: each * 2, lambda each: ()])
def test_counts(place, rewrite):
    """One message per presignature in each place. Before the handshakes agree, nobody is blamed for another number."""
    failure = run(ECDSA, programs(), taps={2: rewriting(place, rewrite)}).failures[1]
    if place[0] == 1:
        assert isinstance(failure, Desync)
        assert failure.differing == ((2, ("count",)),)
    else:
        assert type(failure) is ProtocolAbort
        assert (failure.step, failure.culprits) == ("one message per presignature", (2,))


def test_parties_with_different_batches_blame_nobody():
    """Fewer paths, or other ones, at one party."""
    for theirs in ((MESSAGES[0], (MESSAGES[1][0], (9,)), MESSAGES[2]), MESSAGES[:2]):
        failures = run(ECDSA, programs(theirs=theirs)).failures
        assert {type(failure) for failure in failures.values()} == {Desync}


@pytest.mark.parametrize("place", [(1, True), (2, True)])
def test_instances_are_apart(place):
    """Messages of one instance are not taken for another of the same path: both are bound to their place."""
    failure = run(ECDSA, programs(), taps={2: rewriting(place, lambda each: (each[0], each[2], each[1]))}).failures[1]
    if place[0] == 1:
        assert isinstance(failure, Desync)
    else:
        assert isinstance(failure, PairCompromised)
        assert failure.banned == (2,)
