"""Every size, count and time of the runtime, each with its reason. Those of the wire are beside what they bound."""

from dataclasses import dataclass

from keyquorum_core_signer.wire.envelope import PAYLOAD_BYTES_MAX, ROUND_MAX


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """What one session may take."""

    payload_bytes_max: int = PAYLOAD_BYTES_MAX  # what the wire allows; a protocol with small messages may say less
    rounds_max: int = ROUND_MAX  # likewise
    # An honest peer on an ordered channel sends two envelopes per round and repeats none; opening one costs a signature.
    envelopes_per_peer_max: int = 4 * ROUND_MAX


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """What a pool of workers may take, and how long."""

    # At 1 MiB per buffered message and some kilobytes of state, a full worker stays under a gigabyte.
    sessions_per_worker_max: int = 512
    # A session has at most one event per round and party, all consumed at once by a host that is alive.
    events_per_session_max: int = 4096
    # What a worker that computes for a second may leave unread before new work is refused.
    backlog_bytes_max: int = 64 << 20
    # A sealed share, a message of 64 KiB per signature and a presignature fit many times over.
    job_bytes_max: int = 4 << 20
    # A roster, an identity and parameters; a ring of Paillier keys for 16 parties is under 100 KB.
    setup_bytes_max: int = 1 << 20
    # Interpreter, libraries and the factory's own imports take 0.3 s; a laden machine takes longer.
    start_s_max: float = 30.0
    # A factory that always fails must not spin; a single crash must not be felt.
    respawn_s_min: float = 0.05
    respawn_s_max: float = 5.0
    # How long a worker may finish its step when its host goes.
    stop_s_max: float = 2.0


FRAME_BYTES_MAX = 8 << 20
"""Between host and worker. Above the largest job and the largest envelope, with room for what surrounds them."""

READ_BYTES = 1 << 18
"""One read of a worker from its host: many envelopes of a signing round at once."""

DETAIL_CHARS_MAX = 512
"""An error's text that leaves a worker: a sentence, never a dump."""

CULPRITS_MAX = 256
"""Parties named by one failure; a roster has 16."""
