"""Binary frames between a host and its worker, over a socket pair that nobody else has.

A frame is its length (4 bytes, big-endian, of all that follows), a kind (1 byte), a session number (8 bytes) and a body.
Numbers are the host's and never used twice. The two sides are one program, so a frame that breaks a rule is a bug of
ours: :class:`FrameError`, and the worker ends.
"""

import struct
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from keyquorum_core_signer.protocols.rounds import PartyId
from keyquorum_core_signer.runtime.events import Checkpoint, Event, Failed, Finished, Progress
from keyquorum_core_signer.runtime.hardening import Hardening
from keyquorum_core_signer.runtime.limits import CULPRITS_MAX, DETAIL_CHARS_MAX, FRAME_BYTES_MAX
from keyquorum_core_signer.runtime.session import Outgoing

_LENGTH: Final = struct.Struct(">I")
_HEADER: Final = struct.Struct(">IBQ")
_PARTY: Final = struct.Struct(">I")
_SHORT: Final = struct.Struct(">H")
_AFTER_LENGTH: Final = _HEADER.size - _LENGTH.size

POOL: Final = 0
"""The session number of frames that are about the worker itself."""


class Kind(IntEnum):
    """What a frame is."""

    # host to worker
    SETUP = 1  # factory path, zero byte, set-up bytes
    OPEN = 2  # job
    DELIVER = 3  # party, envelope
    RESUME = 4
    CLOSE = 5
    # worker to host
    READY = 16  # one byte per member of Hardening
    OUTGOING = 17  # party, envelope
    PROGRESS = 18  # round
    CHECKPOINT = 19  # as the job encodes it
    FINISHED = 20  # as the job encodes it
    FAILED = 21


class FrameError(Exception):
    """Proves a bug of ours: the other side of the socket pair does not speak this format."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame; bodies may hold keys and shares."""

    kind: int
    number: int
    body: bytes = field(repr=False)


class FrameReader:
    """Cuts a byte stream into frames."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are complete with ``data``; FrameError for one that is too large or has no header."""
        self._data += data
        frames: list[Frame] = []
        at = 0
        while len(self._data) - at >= _HEADER.size:
            length, kind, number = _HEADER.unpack_from(self._data, at)
            if not _AFTER_LENGTH <= length <= FRAME_BYTES_MAX:
                raise FrameError("a frame's length is out of range")
            end = at + _LENGTH.size + length
            if len(self._data) < end:
                break
            frames.append(Frame(kind, number, bytes(self._data[at + _HEADER.size : end])))
            at = end
        del self._data[:at]
        return frames


def pack(kind: Kind, number: int, body: bytes = b"") -> bytes:
    """A frame's bytes; FrameError if it would be too large."""
    length = _AFTER_LENGTH + len(body)
    if length > FRAME_BYTES_MAX:
        raise FrameError("a frame would be too large")
    return _HEADER.pack(length, kind, number) + body


def pack_delivery(number: int, peer: int, data: bytes) -> bytes:
    """An envelope from ``peer``'s channel."""
    return pack(Kind.DELIVER, number, _PARTY.pack(peer) + data)


def unpack_delivery(body: bytes) -> tuple[PartyId, bytes]:
    """The body of a DELIVER or OUTGOING frame."""
    if len(body) < _PARTY.size:
        raise FrameError("an envelope without its party")
    return PartyId(_PARTY.unpack_from(body)[0]), body[_PARTY.size :]


def pack_setup(factory: str, setup: bytes) -> bytes:
    """A worker's first frame."""
    return pack(Kind.SETUP, POOL, factory.encode() + b"\x00" + setup)


def unpack_setup(frame: Frame) -> tuple[str, bytes]:
    """The factory path and the set-up bytes."""
    if frame.kind != Kind.SETUP:
        raise FrameError("a worker is set up first")
    factory, separator, setup = frame.body.partition(b"\x00")
    if not separator:
        raise FrameError("a set-up without a factory")
    return factory.decode(), setup


def pack_ready(hardening: Hardening) -> bytes:
    """A worker's first answer."""
    flags = (hardening.undumpable, hardening.core_files_off, hardening.memory_locked)
    return pack(Kind.READY, POOL, bytes(flags))


def unpack_ready(body: bytes) -> Hardening:
    """What the worker achieved."""
    if len(body) != 3:
        raise FrameError("a READY frame has three flags")
    undumpable, core_files_off, memory_locked = map(bool, body)
    return Hardening(undumpable, core_files_off, memory_locked)


def pack_event(number: int, event: Event) -> bytes:
    """A frame for an event of session ``number``."""
    match event:
        case Outgoing(recipient, data):
            return pack(Kind.OUTGOING, number, _PARTY.pack(recipient) + data)
        case Progress(round_):
            return pack(Kind.PROGRESS, number, _PARTY.pack(round_))
        case Checkpoint(data):
            return pack(Kind.CHECKPOINT, number, data)
        case Finished(data):
            return pack(Kind.FINISHED, number, data)
        case Failed():
            return pack(Kind.FAILED, number, _failure_body(event))


def unpack_event(frame: Frame) -> Event:
    """The event in a frame; FrameError if it holds none."""
    try:
        return _event(frame)
    except (struct.error, UnicodeDecodeError):
        raise FrameError("an event that does not parse") from None


def _event(frame: Frame) -> Event:
    match frame.kind:
        case Kind.OUTGOING:
            return Outgoing(*unpack_delivery(frame.body))
        case Kind.PROGRESS:
            return Progress(_PARTY.unpack(frame.body)[0])
        case Kind.CHECKPOINT:
            return Checkpoint(frame.body)
        case Kind.FINISHED:
            return Finished(frame.body)
        case Kind.FAILED:
            return _failure(frame.body)
        case _:
            raise FrameError("not an event")


def _failure_body(event: Failed) -> bytes:
    texts = (event.code, event.step, event.detail)
    encoded = [text[:DETAIL_CHARS_MAX].encode() for text in texts]
    culprits = event.culprits[:CULPRITS_MAX]
    parts = [_SHORT.pack(len(text)) + text for text in encoded]
    parts += [_SHORT.pack(len(culprits)), *(_PARTY.pack(party) for party in culprits), event.evidence]
    return b"".join(parts)


def _failure(body: bytes) -> Failed:
    at = 0
    texts: list[str] = []
    for _ in range(3):
        length = _SHORT.unpack_from(body, at)[0]
        at += _SHORT.size
        texts.append(body[at : at + length].decode())
        at += length
    count = _SHORT.unpack_from(body, at)[0]
    at += _SHORT.size
    end = at + count * _PARTY.size
    culprits = tuple(party for (party,) in _PARTY.iter_unpack(body[at:end]))
    code, step, detail = texts
    return Failed(code, step, culprits, detail, body[end:])
