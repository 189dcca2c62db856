"""What a session in a worker process tells its host."""

from dataclasses import dataclass, field
from typing import Final, TypeAlias

from keyquorum_core_signer.runtime.session import Outgoing

PROTOCOL_ABORT: Final = "protocol-abort"
"""A peer or the relay broke the protocol; ``culprits`` are proven, and may be empty."""

WORKER_LOST: Final = "worker-lost"
"""The worker process ended. The session left no secret outside it; the same intent may be tried anew."""

OVERLOADED: Final = "overloaded"
"""A queue is full: the worker computes, or the host does not read."""

INTERNAL: Final = "internal"
"""A bug of ours, or a misuse; ``detail`` holds no more than its name."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Everybody's messages of this round are in. Counts from 1."""

    round: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """``data``, as the job encodes it, must be durable before ``resume()``."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Finished:
    """The result, as the job encodes it. The last event."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Failed:
    """Why there is no result. The last event.

    ``code`` is one of the above or one that the job chose by raising JobRefused; ``step`` is the check that failed, in
    the words of the paper, if one did; ``detail`` is English, without secrets; ``evidence`` is what the abort carried.
    """

    code: str
    step: str = ""
    culprits: tuple[int, ...] = ()
    detail: str = ""
    evidence: bytes = field(default=b"", repr=False)


Event: TypeAlias = Outgoing | Progress | Checkpoint | Finished | Failed
