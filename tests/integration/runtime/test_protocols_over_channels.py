"""The real protocols through sessions, envelopes and channels, past a relay that reorders what it may and alters what not."""

import random

import pytest

from keyquorum_core_signer.groups.suites import FROST_ED25519, FROST_SECP256K1
from keyquorum_core_signer.protocols.messages import codec_for
from keyquorum_core_signer.protocols.rounds import PartyId
from keyquorum_core_signer.runtime.session import AtCheckpoint, Finished, Running, Session
from keyquorum_core_signer.wire.channel import ChannelError
from support.channels import Node, pair
from support.committee import context, keygen_programs, shares_of, sign_programs

SUITES = [FROST_ED25519, FROST_SECP256K1]
MESSAGE = ((b"pay", ()),)


class Committee:
    """Parties with a channel between every two; the relay holds what was drained until it is carried."""

    def __init__(self, parties, sessions, seed=0) -> None:
        self.nodes = {party: Node(f"party-{party}", party) for party in parties}
        self.sessions = sessions(self.nodes)
        self.channels = {}
        for one in parties:
            for other in parties:
                if one < other:
                    client, server = pair(self.nodes[one], self.nodes[other])
                    self.channels[one, other], self.channels[other, one] = client, server
        self.random = random.Random(seed)
        self.carried = {ends: [] for ends in self.channels}
        self.dead: set[tuple[int, int]] = set()

    def send(self, me, outgoing) -> None:
        for out in outgoing:
            channel = self.channels[me, out.recipient]
            channel.send(out.data)
            self.carried[me, out.recipient].append(channel.drain())

    def run(self, tamper=lambda ends, data: data) -> None:
        """Carry until nothing is left; pairs in any order, each pair's bytes in theirs."""
        for me, session in self.sessions.items():
            self.send(me, session.start())
        while True:
            for me, session in self.sessions.items():
                if isinstance(session.status, AtCheckpoint):
                    self.send(me, session.resume())
            waiting = [ends for ends, queue in self.carried.items() if queue]
            if not waiting:
                return
            sender, recipient = self.random.choice(waiting)
            data = tamper((sender, recipient), self.carried[sender, recipient].pop(0))
            if (sender, recipient) in self.dead:
                continue
            try:
                frames = self.channels[recipient, sender].receive(data)
            except ChannelError:
                self.dead.add((sender, recipient))
                continue
            for frame in frames:
                self.send(recipient, self.sessions[recipient].receive(PartyId(sender), frame))


def keygen_sessions(suite, threshold, parties):
    """Key generation among all."""

    def make(nodes):
        programs = keygen_programs(suite, threshold, parties)
        return {p: session_of(suite, "dkg/v1", p, parties, threshold, programs[p], nodes) for p in parties}

    return make


def sign_sessions(suite, shares):
    """Signing among the shares' owners."""
    parties = [share.party for share in shares]

    def make(nodes):
        programs = sign_programs(suite, shares, MESSAGE)
        threshold = shares[0].public.threshold
        return {p: session_of(suite, "frost/v1", p, parties, threshold, programs[p], nodes) for p in parties}

    return make


def session_of(suite, protocol, me, parties, threshold, program, nodes) -> Session:
    """One party's session over its node's identity."""
    ctx = context(suite, protocol, me, parties, threshold)
    keys = {PartyId(party): node.identity.public for party, node in nodes.items()}
    return Session(ctx, program, codec_for(suite), nodes[me].identity, keys)


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.context_string)
@pytest.mark.parametrize(("threshold", "parties"), [(2, 2), (2, 3), (3, 5)])
@pytest.mark.parametrize("seed", range(3))
def test_key_generation_and_signing(suite, threshold, parties, seed):
    """Everybody makes the same key, and any t of them a signature that an unrelated library accepts."""
    committee = Committee(range(1, parties + 1), keygen_sessions(suite, threshold, range(1, parties + 1)), seed)
    committee.run()
    results = {p: s.status.result for p, s in committee.sessions.items() if isinstance(s.status, Finished)}
    assert len(results) == parties
    assert len({result.share.public.public_key.to_bytes() for result in results.values()}) == 1
    shares = [results[party].share for party in list(results)[-threshold:]]
    committee = Committee([share.party for share in shares], sign_sessions(suite, shares), seed)
    committee.run()
    key = shares[0].public.public_key.to_bytes()
    for session in committee.sessions.values():
        (signature,) = session.status.result
        assert suite.verify(key, b"pay", signature)


@pytest.mark.parametrize("record", range(4))
def test_tampering_relay_stops_signing_and_nobody_is_blamed(record):
    """A flipped bit in any record kills its channel: no signature on that side, no wrong one on the other, no culprit."""
    suite = SUITES[0]
    committee = Committee([2, 3], sign_sessions(suite, shares_of(suite, 2, 3)))
    seen = 0

    def tamper(_, data):
        nonlocal seen
        seen += 1
        return data[:-1] + bytes([data[-1] ^ 1]) if seen == record + 1 else data

    committee.run(tamper)
    assert len(committee.dead) == 1
    ((_, victim),) = committee.dead
    assert committee.sessions[victim].status == Running()
    for session in committee.sessions.values():
        assert isinstance(session.status, Running | Finished)


def test_withholding_relay_stops_signing_and_the_missing_are_known():
    """Where one direction is silent, the side that waits can say for whom."""
    suite = SUITES[0]
    committee = Committee([2, 3], sign_sessions(suite, shares_of(suite, 2, 3)))
    committee.run(lambda ends, data: b"" if ends == (2, 3) else data)
    assert committee.sessions[3].waiting_for == (2,)
    assert committee.sessions[3].status == Running()
