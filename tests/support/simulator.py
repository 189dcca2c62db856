"""Runs the parties of any protocol in one process: real bytes through the real codec, one seeded order of delivery.

Every party is a generator. What it sends is encoded, travels as one packet per recipient through a network that hands
packets out in a random order, and is decoded by the type that the recipient expects. A party goes on when its round is
complete, so parties may be a round apart. Like the runtime, a receiver blames the authenticated sender of bytes that do
not decode, drops a duplicate, and blames the sender of two different packets for one place.
"""

import hashlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from keyquorum_core_signer.protocols.errors import ProtocolAbort
from keyquorum_core_signer.protocols.rounds import Checkpoint, Exchange, Inbox, PartyId, Rng, Rounds
from keyquorum_core_signer.wire.codec import Codec, DecodeError

STEPS_MAX = 100_000  # packets in one run; a protocol that needs more does not end


@dataclass(frozen=True)
class Packet:
    """One message on the wire. The sender is what the channel proved, not what the payload says."""

    sender: PartyId
    recipient: PartyId
    round: int
    private: bool
    payload: bytes


Tap = Callable[[Packet], list[Packet]]
"""Sees each packet as it is sent and says what is put on the network in its place."""


@dataclass
class Party:
    """A generator, where it stands, and how it ended: ``result``, ``failure``, or neither while it waits."""

    program: Rounds[Any]
    step: Exchange | None = None
    round: int = 0
    arrived: dict[tuple[int, PartyId, bool], bytes] = field(default_factory=dict)
    conflicts: set[PartyId] = field(default_factory=set)
    checkpoints: list[Any] = field(default_factory=list)
    result: Any = None
    failure: Exception | None = None

    @property
    def finished(self) -> bool:
        """Whether it returned a result."""
        return self.step is None and self.failure is None


def seeded_rng(*seed: Any) -> Rng:
    """Reproducible bytes that differ for every seed."""
    stream = hashlib.shake_256(repr(seed).encode())
    taken = 0

    def rng(length: int) -> bytes:
        nonlocal taken
        taken += length
        return stream.digest(taken)[-length:]

    return rng


class Simulator:
    """``Simulator(codec, programs, seed).run()``; then look at ``results``, ``failures`` and ``sent``."""

    def __init__(
        self,
        codec: Codec,
        programs: Mapping[PartyId, Rounds[Any]],
        seed: int = 0,
        taps: Mapping[PartyId, Tap] | None = None,
    ) -> None:
        self.codec = codec
        self.parties = {party: Party(program) for party, program in programs.items()}
        self.sent: list[Packet] = []
        self._taps = dict(taps or {})
        self._random = random.Random(seed)
        self._network: list[Packet] = []

    @property
    def results(self) -> dict[PartyId, Any]:
        """What each finished party returned."""
        return {party: state.result for party, state in self.parties.items() if state.finished}

    @property
    def failures(self) -> dict[PartyId, Exception]:
        """What each failed party raised; a party that still waits is in neither."""
        return {party: state.failure for party, state in self.parties.items() if state.failure is not None}

    def run(self) -> "Simulator":
        """Deliver until nothing is left to deliver."""
        starting = list(self.parties)
        self._random.shuffle(starting)
        for party in starting:
            self._advance(party, None)
        for _ in range(STEPS_MAX):
            if not self._network:
                return self
            at = self._random.randrange(len(self._network))
            self._network[at], self._network[-1] = self._network[-1], self._network[at]
            self._deliver(self._network.pop())
        raise AssertionError("the protocol does not end")

    def _advance(self, me: PartyId, answer: Inbox | None) -> None:
        """Run one generator to its next exchange, and send what it sends."""
        state = self.parties[me]
        try:
            step = state.program.send(answer)
            while isinstance(step, Checkpoint):
                state.checkpoints.append(step.value)
                step = state.program.send(None)
        except StopIteration as stop:
            state.step, state.result = None, stop.value
            return
        except Exception as failure:  # noqa: BLE001 - whatever it is, the test wants to see it
            state.step, state.failure = None, failure
            return
        state.step, state.round = step, state.round + 1
        for other in self.parties:
            if other == me:
                continue
            if step.to_all is not None:
                self._send(Packet(me, other, state.round, private=False, payload=self.codec.encode(step.to_all)))
            if step.to_each:
                self._send(Packet(me, other, state.round, private=True, payload=self.codec.encode(step.to_each[other])))
        self._complete(me)

    def _send(self, packet: Packet) -> None:
        replaced = self._taps[packet.sender](packet) if packet.sender in self._taps else [packet]
        self.sent.extend(replaced)
        self._network.extend(replaced)

    def _deliver(self, packet: Packet) -> None:
        state = self.parties[packet.recipient]
        if state.step is None:
            return
        place = (packet.round, packet.sender, packet.private)
        if state.arrived.setdefault(place, packet.payload) != packet.payload:
            state.conflicts.add(packet.sender)
        self._complete(packet.recipient)

    def _complete(self, me: PartyId) -> None:
        """Go on if the round is complete; fail if what arrived is not what was expected."""
        state = self.parties[me]
        broadcast_type, private_type = state.step.expected()
        others = [party for party in self.parties if party != me]
        expected = [(private, cls) for private, cls in ((False, broadcast_type), (True, private_type)) if cls]
        if state.conflicts:
            self._fail(me, ProtocolAbort("two messages for one place", state.conflicts))
        elif all((state.round, party, private) in state.arrived for party in others for private, _ in expected):
            self._random.shuffle(others)
            received = {private: {} for private in (False, True)}
            undecodable = []
            for private, cls in expected:
                for party in others:
                    try:
                        received[private][party] = self.codec.decode(cls, state.arrived[state.round, party, private])
                    except DecodeError:
                        undecodable.append(party)
            if undecodable:
                self._fail(me, ProtocolAbort("message does not decode", undecodable))
            else:
                self._advance(me, Inbox(broadcast=received[False], private=received[True]))

    def _fail(self, me: PartyId, failure: Exception) -> None:
        state = self.parties[me]
        state.program.close()
        state.step, state.failure = None, failure
