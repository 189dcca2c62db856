"""What parties say to each other outside of any session, in the pairwise channel that proves who says it.

A frame of a channel is a session's envelope, or one of these after a zero byte, which begins no envelope. Nothing here is
signed: it asks for a session and contributes its nonces, and the session's own handshake shows whether both meant the same.
"""

from dataclasses import dataclass
from typing import Final

from keyquorum_core_signer.wire.codec import Bytes32, Codec, DecodeError, Limits

_PREFIX: Final = b"\x00"
FRAME_BYTES_MAX: Final = 256 * 1024  # 16 nonces, 16 names and a path take 3 KiB; a whole stock of names is the longest
STOCK_NAMES_MAX: Final = 8192  # that one frame tells of
STOCK_NAME_BYTES: Final = 16  # of an id: who could make two that agree in so many gains nothing by it


@dataclass(frozen=True, slots=True)
class PairWanted:
    """The party with the higher index lacks a living set-up; ``generation`` is the highest it knows of."""

    generation: int


@dataclass(frozen=True, slots=True)
class PairProposal:
    """The party with the lower index wants to pair; ``generation`` is one above the highest it knows of."""

    nonce: Bytes32
    generation: int


@dataclass(frozen=True, slots=True)
class PairAcceptance:
    """The other is about to begin. ``generation`` is at least the proposed one."""

    proposed: Bytes32
    nonce: Bytes32
    generation: int


@dataclass(frozen=True, slots=True)
class PresignInvitation:
    """The quorum's lowest party wants ``count`` presignatures for one path of a key."""

    nonce: Bytes32
    key_id: str
    epoch: int
    path: tuple[int, ...]
    node_ids: tuple[str, ...]
    count: int


@dataclass(frozen=True, slots=True)
class PresignAcceptance:
    """A party of the quorum waits for the start."""

    invited: Bytes32
    nonce: Bytes32


@dataclass(frozen=True, slots=True)
class PresignStart:
    """Everybody accepted; the nonces are in the quorum's order."""

    invited: Bytes32
    nonces: tuple[Bytes32, ...]


@dataclass(frozen=True, slots=True)
class StockHeld:
    """What we hold with the recipient's part in it: the beginnings of the ids, one after the other. Whatever the recipient
    holds with us beyond that is of no use: we lost our half when our process started."""

    names: bytes


@dataclass(frozen=True, slots=True)
class Declined:
    """Not now. ``asked`` is the nonce of the proposal or invitation."""

    asked: Bytes32


Control = (
    PairWanted
    | PairProposal
    | PairAcceptance
    | PresignInvitation
    | PresignAcceptance
    | PresignStart
    | StockHeld
    | Declined
)
_KINDS: Final[tuple[type[Control], ...]] = (
    PairWanted,
    PairProposal,
    PairAcceptance,
    PresignInvitation,
    PresignAcceptance,
    PresignStart,
    StockHeld,
    Declined,
)
_codec = Codec({}, Limits(message_bytes=FRAME_BYTES_MAX, int_bytes=8, items=64))


def is_control(frame: bytes) -> bool:
    """Whether a channel's frame is one of these rather than an envelope."""
    return frame[:1] == _PREFIX


def encode(message: Control) -> bytes:
    """A frame for the channel."""
    return _PREFIX + bytes([_KINDS.index(type(message))]) + _codec.encode(message)


def decode(frame: bytes) -> Control:
    """Inverse of :func:`encode`; ``DecodeError`` for anything else."""
    if not is_control(frame) or len(frame) < 2 or frame[1] >= len(_KINDS):
        raise DecodeError("not a control frame")
    return _codec.decode(_KINDS[frame[1]], frame[2:])
