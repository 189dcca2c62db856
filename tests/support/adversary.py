"""One party turned against the others: every field of every message, changed in every way that its kind allows.

The wire format describes itself, so the adversary needs to know no protocol: it parses what its own party sends into a
tree of frames, changes one frame, and puts the tree together again with the right lengths. What holds of every protocol
afterwards is in :func:`check`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from keyquorum_core_signer.groups.ciphersuite import Group
from keyquorum_core_signer.groups.ed25519 import ED25519
from keyquorum_core_signer.protocols.errors import EchoMismatch, ProtocolAbort
from keyquorum_core_signer.protocols.rounds import Checkpoint, Inbox, PartyId, Rounds
from keyquorum_core_signer.wire.codec import Codec
from support.curves import L_ED, P_ED, P_SECP, Edwards, torsion
from support.simulator import Packet, Simulator, Tap

_NESTED = b"({"
_NAMED = b"{x"
OVERSIZE = b"\x01" * (2 << 20)


@dataclass(frozen=True)
class Frame:
    """One frame of the wire format: a leaf has a body, a tuple or record has children."""

    kind: int
    name: bytes = b""
    body: bytes = b""
    children: tuple["Frame", ...] = ()

    def encode(self) -> bytes:
        name = bytes([len(self.name)]) + self.name if self.kind in _NAMED else b""
        body = name + self.body + b"".join(child.encode() for child in self.children)
        return bytes([self.kind]) + len(body).to_bytes(4, "big") + body


def parse(data: bytes) -> Frame:
    """The tree of one encoded message."""
    (frame,) = _parse_all(data)
    return frame


def _parse_all(data: bytes) -> list[Frame]:
    frames = []
    while data:
        kind, length = data[0], int.from_bytes(data[1:5], "big")
        body, data = data[5 : 5 + length], data[5 + length :]
        name = b""
        if kind in _NAMED:
            name, body = body[1 : 1 + body[0]], body[1 + body[0] :]
        if kind in _NESTED:
            frames.append(Frame(kind, name, children=tuple(_parse_all(body))))
        else:
            frames.append(Frame(kind, name, body))
    return frames


def places(frame: Frame, at: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], Frame]]:
    """Every frame of a tree, with the path to it."""
    yield at, frame
    for i, child in enumerate(frame.children):
        yield from places(child, (*at, i))


def put(frame: Frame, at: tuple[int, ...], new: Frame) -> Frame:
    """The tree with one frame exchanged."""
    if not at:
        return new
    children = list(frame.children)
    children[at[0]] = put(children[at[0]], at[1:], new)
    return replace(frame, children=tuple(children))


def find(frame: Frame, at: tuple[int, ...]) -> Frame | None:
    """The frame at a path, if there is one."""
    for i in at:
        if i >= len(frame.children):
            return None
        frame = frame.children[i]
    return frame


def _flip(data: bytes, at: int) -> bytes:
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _bodies(body: bytes) -> dict[str, bytes]:
    """What can be done to any leaf."""
    return {
        "first bit flipped": _flip(body, 0) if body else b"\x01",
        "last bit flipped": _flip(body, -1) if body else b"\x80",
        "all zeros": bytes(len(body)),
        "all ones": b"\xff" * len(body),
        "empty": b"",
        "one byte shorter": body[:-1],
        "one byte longer": body + b"\x00",
        "one byte in front": b"\x00" + body,
        "oversize": OVERSIZE,
    }


def _points(group: Group, body: bytes) -> dict[str, bytes]:
    point = group.decode_point(body)
    bodies = {
        "identity": group.identity.to_bytes(),
        "generator": group.generator.to_bytes(),
        "negated": (-point).to_bytes(),
        "doubled": (point + point).to_bytes(),
    }
    if group is ED25519:
        bodies |= {f"small order {k}": low.encode() for k, low in enumerate(torsion())}
        bodies |= {f"mixed order {k}": (Edwards.decode(body) + low).encode() for k, low in enumerate(torsion()) if k}
        bodies |= {"non-canonical y": (P_ED + 1).to_bytes(32, "little"), "off the curve": (2).to_bytes(32, "little")}
    else:
        bodies |= {
            "x above the prime": body[:1] + (P_SECP + 1).to_bytes(32, "big"),
            "off the curve": body[:1] + (5).to_bytes(32, "big"),
            "hybrid prefix": bytes([body[0] + 4]) + body[1:],
            "infinity of SEC 1": b"\x00",
        }
    return bodies


def _scalars(group: Group, body: bytes) -> dict[str, bytes]:
    order = "little" if group is ED25519 else "big"
    value = int.from_bytes(body, order)
    bodies = {
        "one": (1).to_bytes(32, order),
        "the order": group.order.to_bytes(32, order),
        "plus one": ((value + 1) % group.order).to_bytes(32, order),
        "negated": (-value % group.order).to_bytes(32, order),
    }
    if group.order == L_ED:
        bodies["plus the order"] = (value + group.order).to_bytes(32, order)
    return bodies


@cache  # the same broadcast is changed for each recipient
def _frames(group: Group, frame: Frame) -> dict[str, Frame]:
    """Every change of one frame, by what it is."""
    changed: dict[str, Frame] = {}
    if frame.kind in _NESTED:
        children = frame.children
        variants = {
            "empty": (),
            "last dropped": children[:-1],
            "first dropped": children[1:],
            "last doubled": children + children[-1:],
            "reversed": children[::-1],
            "very many": children[:1] * 5000,
            "nested in itself": (frame,),
        }
        changed |= {name: replace(frame, children=variant) for name, variant in variants.items()}
    else:
        bodies = _bodies(frame.body)
        if frame.name == b"Point":
            bodies |= _points(group, frame.body)
        elif frame.name == b"Scalar":
            bodies |= _scalars(group, frame.body)
        changed |= {name: replace(frame, body=body) for name, body in bodies.items()}
    if frame.kind in _NAMED:
        changed["another type name"] = replace(frame, name=b"Other")
    changed["another kind"] = replace(frame, kind=ord("b") if frame.kind != ord("b") else ord("s"))
    changed["absent"] = Frame(ord("-"))
    return {name: new for name, new in changed.items() if new != frame}


def variants(group: Group, payload: bytes) -> Iterator[tuple[str, bytes]]:
    """One message with each of its frames changed in every way, for attacks that know more of the protocol."""
    tree = parse(payload)
    for at, frame in places(tree):
        for name, new in _frames(group, frame).items():
            yield f"field {'.'.join(map(str, at)) or 'itself'}: {name}", put(tree, at, new).encode()


Change = Callable[[Packet], list[Packet]]
Place = tuple[int, bool]  # round, private


@dataclass(frozen=True)
class Mutation:
    """One thing that an adversary does to its packets of one place, towards ``victims``."""

    name: str
    place: Place
    victims: frozenset[PartyId]
    change: Change
    silent: bool = False  # nothing arrives, so others may wait
    racing: bool = False  # the honest packet arrives as well, perhaps first

    def tap(self, altered: set[PartyId]) -> Tap:
        """For the simulator; ``altered`` collects who got something else than the honest packet."""

        def tap(packet: Packet) -> list[Packet]:
            if (packet.round, packet.private) != self.place or packet.recipient not in self.victims:
                return [packet]
            packets = self.change(packet)
            if set(packets) != {packet}:
                altered.add(packet.recipient)
            return packets

        return tap


Log = Mapping[tuple[PartyId, PartyId, int, bool], bytes]


def log(simulator: Simulator) -> Log:
    """What was sent in a run, by sender, recipient, round and privacy."""
    return {(p.sender, p.recipient, p.round, p.private): p.payload for p in simulator.sent}


def mutations(group: Group, me: PartyId, honest: Log, earlier: Log) -> Iterator[Mutation]:
    """Everything ``me`` can do alone: ``honest`` is a run of this session, ``earlier`` one of another session.

    Each change is made towards everybody and, as an equivocation, towards one peer only.
    """
    peers = sorted({recipient for sender, recipient, *_ in honest if sender == me})
    targets = [frozenset(peers), frozenset(peers[:1])]
    for place in sorted({(round_, private) for sender, _, round_, private in honest if sender == me}):
        sample = honest[me, peers[0], *place]
        for victims in targets:
            for name, change in _payload_changes(group, me, place, sample, honest, earlier).items():
                yield Mutation(f"round {place[0]}: {name}", place, victims, _on_payload(change))
            yield from _packet_mutations(place, victims)


def _on_payload(change: Callable[[Packet], bytes]) -> Change:
    return lambda packet: [replace(packet, payload=change(packet))]


def _payload_changes(
    group: Group, me: PartyId, place: Place, sample: bytes, honest: Log, earlier: Log
) -> dict[str, Callable[[Packet], bytes]]:
    changes: dict[str, Callable[[Packet], bytes]] = {
        "nothing but a kind": lambda packet: packet.payload[:1],
        "no bytes": lambda packet: b"",
        "cut in half": lambda packet: packet.payload[: len(packet.payload) // 2],
        "a trailing byte": lambda packet: packet.payload + b"\x00",
        "sent twice in one": lambda packet: packet.payload * 2,
        "noise": lambda packet: bytes(reversed(packet.payload)),
        "a huge length": lambda packet: packet.payload[:1] + b"\xff" * 4 + packet.payload[5:],
        "the whole message of another session": lambda packet: earlier[me, packet.recipient, *place],
    }
    for other_place in {(round_, private) for sender, _, round_, private in honest if sender == me} - {place}:
        changes[f"the message of round {other_place}"] = lambda packet, at=other_place: honest[
            me, packet.recipient, *at
        ]
    changes["the peer's own message, reflected"] = lambda packet: honest[packet.recipient, me, *place]

    def exchanged(at: tuple[int, ...], name: str) -> Callable[[Packet], bytes]:
        def change(packet: Packet) -> bytes:
            tree = parse(packet.payload)
            return put(tree, at, _frames(group, find(tree, at))[name]).encode()

        return change

    def transplanted(at: tuple[int, ...], source: Callable[[Packet], bytes]) -> Callable[[Packet], bytes]:
        return lambda packet: put(parse(packet.payload), at, find(parse(source(packet)), at)).encode()

    for at, frame in places(parse(sample)):
        where = f"field {'.'.join(map(str, at)) or 'itself'}"
        for name in _frames(group, frame):
            changes[f"{where}: {name}"] = exchanged(at, name)
        if at:
            changes[f"{where}: of another session"] = transplanted(
                at, lambda packet: earlier[me, packet.recipient, *place]
            )
            changes[f"{where}: the peer's"] = transplanted(at, lambda packet: honest[packet.recipient, me, *place])
    return changes


def _packet_mutations(place: Place, victims: frozenset[PartyId]) -> Iterator[Mutation]:
    def named(name: str, change: Change, **kind: bool) -> Mutation:
        return Mutation(f"round {place[0]}: {name}", place, victims, change, **kind)

    yield named("duplicate", lambda packet: [packet] * 3)
    yield named("withheld", lambda packet: [], silent=True)
    yield named("two versions", lambda packet: [packet, replace(packet, payload=packet.payload + b"\x00")], racing=True)
    yield named("late", lambda packet: [replace(packet, round=packet.round - 1)], silent=True)
    yield named("early", lambda packet: [replace(packet, round=packet.round + 1)], silent=True)


def check(
    mutation: Mutation,
    simulator: Simulator,
    me: PartyId,
    altered: set[PartyId],
    valid: Callable[[PartyId, Any], bool],
) -> None:
    """What no single adversary can break, whatever the protocol.

    Nothing but the errors made for it is raised; whoever is named is the adversary; results are valid; who received
    something altered has none; nobody waits unless somebody failed or the adversary was silent; duplicates and equal
    values do nothing.
    """
    named = f"{mutation.name} to {sorted(mutation.victims)}"
    failures = {party: failure for party, failure in simulator.failures.items() if party != me}
    for party, failure in failures.items():
        assert isinstance(failure, ProtocolAbort | EchoMismatch), f"{named}: party {party} raised {failure!r}"
        if isinstance(failure, ProtocolAbort):
            assert failure.culprits == (me,), f"{named}: party {party} blames {failure.culprits} for {failure.step}"
    for party, result in simulator.results.items():
        assert party == me or valid(party, result), f"{named}: party {party} has a bad result"
    deceived = altered & set(simulator.results)
    assert mutation.racing or not deceived, f"{named}: {sorted(deceived)} finished all the same"
    if not altered:
        assert set(simulator.results) == set(simulator.parties), f"{named}: {failures}"
    elif not mutation.silent and not mutation.racing:
        assert failures, f"{named}: nobody noticed"


class SplitPersonality:
    """A tap that shows one face, the running program, to most, and a second program of its own to ``victims``.

    Both faces are honest in themselves, so that every single message is right: the split broadcast.
    """

    def __init__(self, me: PartyId, second: Rounds[object], victims: set[PartyId], codec: Codec) -> None:
        self.simulator: Simulator | None = None  # set once it exists
        self._me, self._second, self._victims, self._codec = me, second, victims, codec
        self._round, self._step = 0, None

    def __call__(self, packet: Packet) -> list[Packet]:
        """The second face's packet in place of the first's."""
        while self._round < packet.round:
            self._step = self._second.send(self._inbox() if self._round else None)
            while isinstance(self._step, Checkpoint):
                self._step = self._second.send(None)
            self._round += 1
        if packet.recipient not in self._victims:
            return [packet]
        message = self._step.to_each[packet.recipient] if packet.private else self._step.to_all
        return [replace(packet, payload=self._codec.encode(message))]

    def _inbox(self) -> Inbox:
        """What the others sent us in the round before; the rounds of the first face have all arrived by now."""
        broadcast_type, private_type = self._step.expected()
        received = {False: {}, True: {}}
        for packet in self.simulator.sent:
            if packet.recipient == self._me and packet.round == self._round:
                cls = private_type if packet.private else broadcast_type
                received[packet.private][packet.sender] = self._codec.decode(cls, packet.payload)
        return Inbox(broadcast=received[False], private=received[True])
