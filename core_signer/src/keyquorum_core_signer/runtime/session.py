"""A session: one party's run of one protocol, from envelopes to envelopes.

It feeds a protocol generator and knows no clock, socket or thread: the same calls in the same order give the same
bytes. What the generator sends is signed and addressed; what arrives is opened, checked, kept until its round is
complete, and handed over as one :class:`~keyquorum_core_signer.protocols.rounds.Inbox`.

============== ======================================== ==============================================================
status         entered by                               left by
============== ======================================== ==============================================================
Running        being made; ``resume()``                 the program's next checkpoint, end or error
AtCheckpoint   the program wants something durable      ``resume()``, once it is; messages are only kept meanwhile
Finished       the program returned                     never; everything is ignored
Failed         the program or a peer broke it,          never; everything is ignored
               ``abandon()``
============== ======================================== ==============================================================

Rules for what arrives, given that the host names the channel's peer rightly:

* From somebody who is not in the session, or for another session: ignored. It says nothing about anybody in it.
* A peer can be one round ahead, because it may have heard from everybody when we have not, but never two: its second
  needs our first. So that this is so, an exchange must send something to every other party.
* The same message again is nothing. Another one in the same place (round, sender, to all or to me) is equivocation, at
  any time; the two signed hashes are the evidence.
* Whatever else no honest party sends (a bad signature, a foreign name, an unexpected kind, a payload that does not decode,
  a flood) fails the session and names the peer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

from keyquorum_core_signer.protocols.errors import ProtocolAbort, ProtocolError, ProtocolMisuse
from keyquorum_core_signer.protocols.rounds import Checkpoint, Context, Exchange, Inbox, PartyId, Rounds, Step
from keyquorum_core_signer.runtime.limits import SessionLimits
from keyquorum_core_signer.wire.codec import Codec, DecodeError
from keyquorum_core_signer.wire.envelope import (
    TO_ALL,
    EnvelopeContext,
    EnvelopeError,
    SignedMessage,
    equivocation_evidence,
    open_envelope,
    seal_envelope,
)
from keyquorum_core_signer.wire.identity import IdentityKey

R = TypeVar("R")


class SessionBroken(Exception):
    """Proves a bug of ours: the program raised what no protocol raises. Only the name of its type is kept."""


class SessionAbandoned(Exception):
    """The host gave the session up: its deadline passed, or somebody else failed. Proves nothing about anybody."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An envelope for one party's channel. What is for all has the same bytes for each."""

    recipient: PartyId
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Running:
    """Waits for messages, or to be started."""


@dataclass(frozen=True, slots=True)
class AtCheckpoint:
    """``value`` must be durable before the session goes on; it is secret."""

    value: Any = field(repr=False)


@dataclass(frozen=True, slots=True)
class Finished(Generic[R]):
    """The protocol's result, which may be secret."""

    result: R = field(repr=False)


@dataclass(frozen=True, slots=True)
class Failed:
    """Why there will be no result. The error holds no secret, and no frame that does."""

    error: ProtocolError | ProtocolMisuse | SessionBroken | SessionAbandoned


Status: TypeAlias = Running | AtCheckpoint | Finished[R] | Failed


class Session(Generic[R]):
    """One run of ``program`` as party ``ctx.me``. Rules and states are above."""

    def __init__(
        self,
        ctx: Context,
        program: Rounds[R],
        codec: Codec,
        identity: IdentityKey,
        peers: Mapping[PartyId, bytes],
        *,
        limits: SessionLimits | None = None,
    ) -> None:
        """``peers`` holds the pinned identity key of every other party; KeyError if one is missing."""
        self._ctx = ctx
        self._program: Rounds[R] | None = program
        self._codec = codec
        self._identity = identity
        self._peers = {party: peers[party] for party in ctx.others()}
        self._limits = limits or SessionLimits()
        self._context = EnvelopeContext(
            ctx.cell_id, ctx.protocol, ctx.suite, ctx.session_id, ctx.key_id, ctx.epoch, ctx.binding
        )
        self._status: Status[R] = Running()
        self._started = False
        self._round = 0
        self._rounds_completed = 0
        self._heard: dict[tuple[int, PartyId, bool], SignedMessage] = {}
        self._received = dict.fromkeys(self._peers, 0)
        self._expected: dict[bool, type[Any]] = {}
        self._values: dict[tuple[PartyId, bool], Any] = {}

    @property
    def status(self) -> Status[R]:
        """Where the session stands."""
        return self._status

    @property
    def over(self) -> bool:
        """Whether the session has ended, in either way."""
        return isinstance(self._status, Finished | Failed)

    @property
    def round(self) -> int:
        """The latest round that was begun, from 1; 0 before the first."""
        return self._round

    @property
    def rounds_completed(self) -> int:
        """How many rounds have everybody's messages."""
        return self._rounds_completed

    @property
    def waiting_for(self) -> tuple[PartyId, ...]:
        """The parties without whom the current round cannot end. Says whom a deadline waited for, not whose fault it is."""
        kinds = self._expected
        return tuple(p for p in self._peers if any((p, kind) not in self._values for kind in kinds))

    def start(self) -> list[Outgoing]:
        """Run to the first thing to wait for. Raises ProtocolMisuse the second time."""
        if self.over:
            return []
        if self._started:
            raise ProtocolMisuse("a session is started once")
        self._started = True
        return self._advance(None)

    def receive(self, channel_peer: PartyId, data: bytes) -> list[Outgoing]:
        """Take an envelope that came out of the channel with ``channel_peer``."""
        public = self._peers.get(channel_peer)
        if self.over or public is None:
            return []
        try:
            self._count(channel_peer)
            message = open_envelope(self._context, data, me=self._ctx.me, peer=channel_peer, public=public)
            self._file(message)
        except EnvelopeError as error:
            if error.proven:
                self._fail(ProtocolAbort(f"envelope: {error}", [channel_peer]))
            return []
        except ProtocolAbort as error:
            self._fail(error)
            return []
        return self._advance(self._inbox()) if self._complete() else []

    def resume(self) -> list[Outgoing]:
        """Go on: what the checkpoint held is durable. Raises ProtocolMisuse unless at a checkpoint."""
        if self.over:
            return []
        if not isinstance(self._status, AtCheckpoint):
            raise ProtocolMisuse("only a session at a checkpoint is resumed")
        self._status = Running()
        return self._advance(None)

    def abandon(self, reason: str) -> None:
        """Give the session up; ``reason`` is English, without secrets. Nothing happens if it is over."""
        if not self.over:
            self._fail(SessionAbandoned(reason))

    def __repr__(self) -> str:
        session = self._ctx.session_id.hex()[:16]
        return f"Session({session}, party {self._ctx.me}, round {self._round}, {type(self._status).__name__})"

    def _count(self, peer: PartyId) -> None:
        self._received[peer] += 1
        if self._received[peer] > self._limits.envelopes_per_peer_max:
            raise ProtocolAbort("more envelopes than a session has", [peer])

    def _file(self, message: SignedMessage) -> None:
        """Keep a message where it belongs; raise ProtocolAbort if it belongs nowhere."""
        sender, private = PartyId(message.sender), message.recipient != TO_ALL
        if len(message.payload) > self._limits.payload_bytes_max:
            raise ProtocolAbort("message larger than the protocol has", [sender])
        if message.round > self._round + 1:
            raise ProtocolAbort("message from a round that cannot have begun", [sender])
        known = self._heard.get((message.round, sender, private))
        if known is not None:
            if known.payload_hash != message.payload_hash:
                evidence = equivocation_evidence(known, message)
                raise ProtocolAbort("two different messages in one place", [sender], evidence)
            return
        if message.round <= self._round:
            self._take(sender, message, private=private)
            message = message.without_payload()
        self._heard[(message.round, sender, private)] = message

    def _take(self, sender: PartyId, message: SignedMessage, *, private: bool) -> None:
        """Decode a message of the current round."""
        expected = self._expected.get(private) if message.round == self._round else None
        if expected is None:
            raise ProtocolAbort("message of a kind that its round does not have", [sender])
        try:
            self._values[sender, private] = self._codec.decode(expected, message.payload)
        except DecodeError:
            raise ProtocolAbort("message does not decode", [sender]) from None

    def _complete(self) -> bool:
        return bool(self._expected) and len(self._values) == len(self._expected) * len(self._peers)

    def _inbox(self) -> Inbox:
        """Hand over the round's messages and forget them."""
        parties, values = self._peers, self._values
        inbox = Inbox(
            broadcast={p: values[p, False] for p in parties if (p, False) in values},
            private={p: values[p, True] for p in parties if (p, True) in values},
        )
        self._expected, self._values = {}, {}
        self._rounds_completed += 1
        return inbox

    def _advance(self, answer: Inbox | None) -> list[Outgoing]:
        """Run the program until it waits for something or ends; a failed session sends nothing more."""
        outgoing: list[Outgoing] = []
        try:
            while True:
                step = self._step(answer)
                if step is None:
                    return outgoing
                if isinstance(step, Checkpoint):
                    self._status = AtCheckpoint(step.value)
                    return outgoing
                outgoing += self._open_round(step)
                if not self._complete() and self._peers:
                    return outgoing
                answer = self._inbox()
        except (ProtocolError, ProtocolMisuse) as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not leave with the frames it holds
            self._fail(SessionBroken(type(error).__name__))
        return []

    def _step(self, answer: Inbox | None) -> Step | None:
        """The program's next wish; None when it has returned."""
        assert self._program is not None, "a session that is over does not run"
        try:
            return self._program.send(answer)
        except StopIteration as stop:
            self._end(Finished(stop.value))
            return None

    def _open_round(self, step: Exchange) -> list[Outgoing]:
        """Begin a round: say what is expected, look at what came early, sign what is sent."""
        if self._round == self._limits.rounds_max:
            raise ProtocolMisuse("a protocol has more rounds than a session may take")
        if not step.to_each.keys() <= self._peers.keys() or (
            step.to_all is None and step.to_each.keys() != self._peers.keys()
        ):
            raise ProtocolMisuse("an exchange sends something to every other party, and to nobody else")
        self._round += 1
        self._expected = {
            private: kind for private, kind in zip((False, True), step.expected(), strict=True) if kind is not None
        }
        self._take_early()
        return self._sign(step)

    def _take_early(self) -> None:
        """Take what peers sent ahead of us; if some of it is bad, name everybody whose message is."""
        faults: list[ProtocolAbort] = []
        for (round_, sender, private), message in self._heard.items():
            if round_ == self._round:
                try:
                    self._take(sender, message, private=private)
                except ProtocolAbort as fault:
                    faults.append(fault)
        if faults:
            raise ProtocolAbort(faults[0].step, (party for fault in faults for party in fault.culprits))
        self._heard = {
            place: message.without_payload() if place[0] == self._round else message
            for place, message in self._heard.items()
        }

    def _sign(self, step: Exchange) -> list[Outgoing]:
        outgoing: list[Outgoing] = []
        if step.to_all is not None:
            data = self._seal(TO_ALL, step.to_all)
            outgoing += [Outgoing(party, data) for party in self._peers]
        outgoing += [Outgoing(p, self._seal(p, step.to_each[p])) for p in self._peers if p in step.to_each]
        return outgoing

    def _seal(self, recipient: int, message: Any) -> bytes:
        payload = self._codec.encode(message)
        return seal_envelope(
            self._context,
            self._identity,
            round_=self._round,
            sender=self._ctx.me,
            recipient=recipient,
            payload=payload,
        )

    def _fail(self, error: ProtocolError | ProtocolMisuse | SessionBroken | SessionAbandoned) -> None:
        """End without a result. The error's traceback and causes go: their frames hold what the program computed with."""
        error.__traceback__ = error.__cause__ = error.__context__ = None
        self._end(Failed(error))

    def _end(self, status: Status[R]) -> None:
        """Close the program, so that it wipes what it can, and let go of everything secret."""
        self._status = status
        program, self._program = self._program, None
        self._heard, self._values, self._expected = {}, {}, {}
        if program is not None:
            try:
                program.close()
            except Exception as error:  # noqa: BLE001 - as above
                self._status = Failed(SessionBroken(type(error).__name__))
