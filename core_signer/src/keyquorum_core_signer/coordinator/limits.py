"""Every size, count and time-out of a coordinator that is not configuration, each with its reason."""

from typing import Final

# the links
FRAME_BYTES_MAX: Final = 4 * 1024 * 1024  # an intent of 2 MiB and its frame; gRPC's own default
BATCH_BYTES_MAX: Final = 1 << 18  # of frames that are written at once; far below what gRPC takes, and far above a round
RELAY_BYTES_MAX: Final = 3 * 1024 * 1024  # fits a message with a batch around it: none costs its recipient the link
LINK_FRAMES_MAX: Final = 4096  # waiting for one party: all sessions' frames of several rounds
LINK_BYTES_MAX: Final = 32 * 1024 * 1024  # waiting for one party: eight frames at their largest
LINK_STALL_S: Final = 1.0  # a party that took no frame for so long is the slow one; before, its peer is the loud one
NONCES_PER_LINK_MAX: Final = 4096  # the most that a party's configuration can offer
PREPARED_KEYS_MAX: Final = 1024  # looked up when a link comes up; the next link finds the rest
CODECS_MAX: Final = 64  # as many as a party's configuration can pin
CODEC_BYTES_MAX: Final = 256  # a name, a version and a hash
VERSION_CHARS_MAX: Final = 64
KEEPALIVE_MS: Final = 10_000  # gRPC servers take pings more often than that for an attack
KEEPALIVE_TIMEOUT_MS: Final = 4_000  # a party that is stopped, not dead, is noticed after both
RECONNECT_S_MIN: Final = 0.05
RECONNECT_S_MAX: Final = 1.0  # a restarted party is back within a second
LINK_STABLE_S: Final = 5.0  # a link that stood for so long makes the back-off start anew

# operations
QUORUM_WAIT_S: Final = 3.0  # how long an operation waits for a party to come back; a supervised restart takes two
BREAKER_POLL_S: Final = 0.01  # the shortest wait for a breaker's time-out
ANSWER_MARGIN_S: Final = 0.1  # an operation ends so long before its caller's deadline, that the caller hears of it
ATTEMPT_S_MIN: Final = 0.05  # with less time left another quorum is not tried
ATTEMPTS_MAX: Final = 16  # sessions of one operation; parties that fail faster than their breakers open are not spun on
LAGGARD_S: Final = 1.0  # after a party is lost in the last round of key generation: the others need milliseconds
ROUNDS_MAX: Final = 64  # no protocol has as many
FORGIVE_S: Final = 10.0  # how long a failure makes a party the second choice
RESULT_BYTES_MAX: Final = 64 * 1024  # a signed certificate of 16 parties stays below 16 KiB
SIGNATURE_BYTES_MAX: Final = 128  # 64 for Schnorr, 65 for ECDSA with recovery id
PAGE_MAX: Final = 100
PAGE_DEFAULT: Final = 25
CERTIFICATES_CACHED_MAX: Final = 16_384  # parsed, about 2 KiB each

# the edge
REQUEST_BYTES_MAX: Final = 4 * 1024 * 1024  # as for frames
RPCS_MAX: Final = 8192  # beyond followers and unary calls something else is wrong
KEEPALIVE_ALLOWED_MS: Final = 5_000  # gateways ping us every 10 s
ATTESTATIONS_MAX: Final = 256  # under way at once; each is a derivation at every party

# the database
NOTE_DELAY_S: Final = 0.02  # how long a row of progress waits for company
SYNC_DELAY_S: Final = 1.0  # how long a completed signature may be written and not yet on disk
WRITES_PENDING_MAX: Final = 65_536  # beyond that the disk is not keeping up, and commits are refused
DATABASE_BUSY_MS: Final = 2_000  # somebody looks at it with another tool
OPERATIONS_KEPT_MS: Final = 30 * 24 * 3600 * 1000  # terminal operations, counted from when their intent expired
PRUNED_AT_ONCE_MAX: Final = 500  # so that pruning never holds a commit up for long
PRUNE_EVERY_S: Final = 60.0
