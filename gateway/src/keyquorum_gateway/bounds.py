"""A limit on everything that a client, a plugin or the coordinator can make this process hold or wait for.

Figures that an operator may want to change are in the configuration; these are the ones nobody needs to.
"""

from typing import Final

JSON_DEPTH_MAX: Final = 32
"""Nesting of a request body. Our deepest model has four levels."""

PAGE_ITEMS_MAX: Final = 100
"""Items on one page of a list."""

PAGE_ITEMS: Final = 25
"""Items on a page when the client does not say."""

IDEMPOTENCY_KEY_CHARS_MAX: Final = 255
"""Longest Idempotency-Key; a UUID takes 36."""

IDEMPOTENCY_KEPT_S: Final = 24 * 3600
"""How long an answer can be replayed. A client that retries a day later should look at the operation instead."""

MESSAGE_BYTES_MAX: Final = 16 * 1024
"""Longest message of POST /v1/signatures: far below a party's limit on payloads, far above a login challenge."""

EVENTS_PER_OPERATION_MAX: Final = 1000
"""A ceremony has about eight events; a coordinator that sends more without end is cut off."""

OPERATIONS_LIVE_MAX: Final = 4096
"""Operations in memory at once; beyond it new ones are refused with 503, before anything is reserved."""

AWAITING_PER_TENANT_MAX: Final = 256
"""Operations of one tenant that wait for an initiator: each may hold a reservation."""

EVENT_STREAMS_MAX: Final = 1024
"""Open server-sent event streams: each costs a connection."""

EVENT_STREAMS_PER_TENANT_MAX: Final = 256
"""Of those, the streams of one tenant: nobody takes them all."""

EVENT_STREAM_HEARTBEAT_S: Final = 15.0
"""Silence after which a comment line is sent, below the idle time-outs of common proxies."""

BODY_READ_S: Final = 10.0
"""Longest time for a client to send a body of the allowed size."""

WRITES_PER_COMMIT_MAX: Final = 256
"""Commands that share one fsync: bounds the latency of the first."""

LAZY_WRITE_S: Final = 0.02
"""How long a write that nobody waits for may wait for company: what a crash takes back is found out again after it."""

API_KEY_CACHE_S: Final = 1.0
"""How long a verified API key is believed without a look at the database: a revocation takes effect within it."""

API_KEY_CACHE_MAX: Final = 4096
"""Cached API keys; beyond it the cache starts again, so that garbage keys cannot grow it."""

CERTIFIED_KEYS_MAX: Final = 16_384
"""Verified certificates kept parsed, about 2 KiB each."""

CHAIN_RETRY_S: Final = (1.0, 30.0)
"""First and longest pause between attempts to start an adapter whose node is not there yet."""

FOLLOW_RETRY_S: Final = (0.5, 15.0)
"""First and longest pause between attempts to learn a broadcast transaction's status."""

BROADCAST_RETRY_S: Final = (0.25, 5.0)
"""First and longest pause between broadcasts of the same signed bytes."""

STREAM_RETRY_S: Final = (0.05, 2.0)
"""First and longest pause between attempts to follow an operation after the coordinator's stream broke."""

READINESS_CACHE_S: Final = 2.0
"""How long an answer of the coordinator counts for /readyz and /v1/parties' roster check."""

COORDINATOR_READ_S: Final = 5.0
"""Deadline of the coordinator's unary reads."""

ATTESTATION_S: Final = 10.0
"""Deadline of an address attestation: each party runs its codec worker, which may have to start."""
