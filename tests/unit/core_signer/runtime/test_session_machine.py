"""Sessions under any order of delivery, duplication, loss, conflict and garbage: never a wrong result, never a wrong name.

The machine runs a whole committee. What honest parties send goes into a network that the rules below deliver from, in any
order and as often as they like. One party may be corrupt: it has its identity key and says what it wants to whom it wants.
"""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from keyquorum_core_signer.protocols.errors import EchoMismatch, ProtocolAbort
from keyquorum_core_signer.protocols.rounds import PartyId
from keyquorum_core_signer.runtime.session import AtCheckpoint, Failed, Finished, SessionAbandoned
from keyquorum_core_signer.wire.codec import plain
from keyquorum_core_signer.wire.envelope import TO_ALL, EnvelopeContext, proves_equivocation, seal_envelope
from support.toy_protocol import (
    Commitment,
    Mask,
    Masked,
    Total,
    context_of,
    expected_total,
    identity_of,
    toy_session,
)

MESSAGES = st.one_of(
    st.builds(Commitment, st.binary(max_size=32)),
    st.builds(Mask, st.integers(0, 3)),
    st.builds(Masked, st.integers(0, 3), st.integers(0, 3)),
    st.builds(Total, st.integers(0, 3)),
).map(plain.encode)
BY_ROUND = {
    1: st.one_of(
        st.tuples(st.just(True), st.builds(Commitment, st.binary(min_size=32, max_size=32)).map(plain.encode)),
        st.tuples(st.just(False), st.builds(Mask, st.integers(0, 3)).map(plain.encode)),
    ),
    2: st.tuples(st.just(True), st.builds(Masked, st.integers(0, 3), st.integers(0, 3)).map(plain.encode)),
    3: st.tuples(st.just(True), st.builds(Total, st.integers(0, 3)).map(plain.encode)),
}
PAYLOADS = st.one_of(MESSAGES, st.binary(max_size=8))


def plausible(round_: int):
    """(To all, payload) of a message such as an honest party sends in that round."""
    return BY_ROUND.get(round_, BY_ROUND[3])


class Committee(RuleBasedStateMachine):
    """Rules and invariants; ``corrupt`` is 0 where everybody is honest."""

    @initialize(parties=st.integers(2, 4), corrupt=st.integers(0, 4), late=st.integers(0, 4))
    def assemble(self, parties, corrupt, late):
        self.parties = parties
        self.corrupt = corrupt if corrupt <= parties else 0
        self.sessions = {me: toy_session(me, parties) for me in range(1, parties + 1)}
        self.network: list[tuple[int, int, bytes]] = []
        self.interfered = False  # the corrupt party has said something of its own
        self.incomplete = False  # something that others may need was lost
        for me in self.sessions:
            if me != late:
                self.send(me, self.sessions[me].start())

    def send(self, me, outgoing):
        self.network += [(me, out.recipient, out.data) for out in outgoing]

    def session_at(self, number):
        return 1 + number % self.parties

    @rule(number=st.integers(0, 3))
    def start(self, number):
        me = self.session_at(number)
        if not self.sessions[me]._started:
            self.send(me, self.sessions[me].start())

    @rule(number=st.integers(0, 3))
    def resume(self, number):
        me = self.session_at(number)
        if isinstance(self.sessions[me].status, AtCheckpoint):
            self.send(me, self.sessions[me].resume())

    @precondition(lambda self: self.network)
    @rule(indices=st.lists(st.integers(0, 2**16), min_size=1, max_size=12))
    def deliver(self, indices):
        for index in indices:
            if self.network:
                sender, recipient, data = self.network.pop(index % len(self.network))
                self.send(recipient, self.sessions[recipient].receive(PartyId(sender), data))

    @precondition(lambda self: self.network)
    @rule(index=st.integers(0, 2**16))
    def deliver_and_keep(self, index):
        sender, recipient, data = self.network[index % len(self.network)]
        self.send(recipient, self.sessions[recipient].receive(PartyId(sender), data))

    @precondition(lambda self: self.network)
    @rule(index=st.integers(0, 2**16))
    def lose(self, index):
        self.incomplete = True
        self.network.pop(index % len(self.network))

    @rule(number=st.integers(0, 3), data=st.binary(max_size=40))
    def stranger_speaks(self, number, data):
        assert self.sessions[self.session_at(number)].receive(PartyId(9), data) == []

    @precondition(lambda self: self.network)
    @rule(index=st.integers(0, 2**16), number=st.integers(0, 3))
    def replay_into_another_session(self, index, number):
        """The relay cannot do this through channels; a confused host can, and it must not hurt."""
        sender, recipient, data = self.network[index % len(self.network)]
        other = toy_session(recipient, self.parties, session_id=b"\x01" * 32)
        other.start()
        assert other.receive(PartyId(sender), data) == []
        assert not other.over

    @precondition(lambda self: self.corrupt)
    @rule(number=st.integers(0, 3), ahead=st.sampled_from([0, 0, 0, 1, 1, 2, -1]), data=st.data())
    def corrupt_party_speaks(self, number, ahead, data):
        """It signs what it likes, plausible or not, for a round around the victim's."""
        victim = self.session_at(number)
        round_ = max(1, self.sessions[victim].round + ahead)
        if victim == self.corrupt:
            return
        self.interfered = True
        public, payload = data.draw(st.one_of(plausible(round_), st.tuples(st.booleans(), PAYLOADS)))
        envelope = seal_envelope(
            wire_context(self.corrupt, self.parties),
            identity_of(self.corrupt),
            round_=round_,
            sender=self.corrupt,
            recipient=TO_ALL if public else victim,
            payload=payload,
        )
        self.send(victim, self.sessions[victim].receive(PartyId(self.corrupt), envelope))

    @precondition(lambda self: self.corrupt and self.network)
    @rule(index=st.integers(0, 2**16))
    def corrupt_party_passes_on(self, index):
        """It hands what another party signed to anybody as its own."""
        sender, recipient, data = self.network[index % len(self.network)]
        if sender != self.corrupt != recipient:
            self.interfered = True
            self.send(recipient, self.sessions[recipient].receive(PartyId(self.corrupt), data))

    @precondition(lambda self: max(session.round for session in self.sessions.values()) == 3)
    @rule(number=st.integers(0, 3))
    def abandon(self, number):
        self.incomplete = True
        self.sessions[self.session_at(number)].abandon("deadline")

    def teardown(self):
        """Deliver all that is left: if nothing was lost or said amiss, everybody finishes."""
        for me, session in getattr(self, "sessions", {}).items():
            if not session._started:
                self.send(me, session.start())
        while getattr(self, "network", None) or self.resume_all():
            if self.network:
                self.deliver_last()
        self.honest_parties_are_right()
        if not (getattr(self, "interfered", True) or self.incomplete):
            assert all(isinstance(session.status, Finished) for session in self.sessions.values())

    def resume_all(self):
        waiting = [me for me, s in getattr(self, "sessions", {}).items() if isinstance(s.status, AtCheckpoint)]
        for me in waiting:
            self.send(me, self.sessions[me].resume())
        return waiting

    def deliver_last(self):
        sender, recipient, data = self.network.pop()
        self.send(recipient, self.sessions[recipient].receive(PartyId(sender), data))

    @invariant()
    def honest_parties_are_right(self):
        for me, session in getattr(self, "sessions", {}).items():
            if me == self.corrupt:
                continue
            match session.status:
                case Finished(result) if not self.interfered:
                    assert result == expected_total(self.parties)
                case Finished(result):
                    honest = [s.status for p, s in self.sessions.items() if p != self.corrupt]
                    assert {s.result for s in honest if isinstance(s, Finished)} == {result}
                case Failed(ProtocolAbort(culprits=culprits, evidence=evidence)):
                    assert self.interfered
                    assert culprits == (self.corrupt,)
                    context = wire_context(me, self.parties)
                    assert not evidence or proves_equivocation(context, identity_of(self.corrupt).public, evidence)
                case Failed(error):
                    assert isinstance(error, EchoMismatch | SessionAbandoned)
                    assert self.interfered or isinstance(error, SessionAbandoned)

    @invariant()
    def rounds_are_in_step(self):
        """Nobody is two rounds ahead of an honest party that still runs, which is what the early-message rule rests on."""
        sessions = getattr(self, "sessions", {})
        rounds = [s.round for me, s in sessions.items() if me != self.corrupt]
        if rounds and not self.interfered:
            assert max(rounds) - min(rounds) <= 1


def wire_context(me: int, parties: int) -> EnvelopeContext:
    """What all parties' signatures cover."""
    ctx = context_of(me, parties)
    return EnvelopeContext(ctx.cell_id, ctx.protocol, ctx.suite, ctx.session_id, ctx.key_id, ctx.epoch, ctx.binding)


TestCommittee = pytest.mark.timeout(120)(Committee.TestCase)
TestCommittee.settings = settings(
    max_examples=80, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
