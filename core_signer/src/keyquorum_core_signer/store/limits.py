"""Every size, count and time-out of the share store, each with its reason."""

ID_CHARS_MAX = 128  # "key_", "op_" and the like with 128 to 256 bits in hexadecimal stay below 80
CODE_CHARS_MAX = 64  # error codes and policy rules are short words
DETAIL_CHARS_MAX = 1024  # one line for an auditor
ASSET_CHARS_MAX = 256  # CAIP-19 types are below 200
SEALED_BYTES_MAX = 256 * 1024  # a GG20 share with its Paillier keys is below 16 KiB
STATEMENT_BYTES_MAX = 64 * 1024  # certificates of 16 parties with a full policy stay below 16 KiB
SIGNATURES_MAX = 64  # a certificate has one per party
SIGNATURE_BYTES_MAX = 128  # Ed25519 has 64
SPENDS_MAX = 64  # as many assets as a policy can limit
AMOUNT_BOUND = 2**256  # the range of an EVM word; no chain has more
TIME_MS_BOUND = 4_102_444_800_000  # the year 2100: no clock that says more is right
VALID_UNTIL_MS_BOUND = 2**53  # whoever judges intents bounds it far lower; SQLite and JSON both keep this exact
WINDOW_S_MAX = 366 * 24 * 3600
EPOCH_BOUND = 2**31

QUEUE_COMMANDS_MAX = 4096  # a quarter of a second of work at the measured rate; beyond it the caller hears StoreBusy
BATCH_COMMANDS_MAX = 256  # one fsync for all of them; keeps a batch below the time of two fsyncs
PAGE_ROWS_MAX = 500  # a read on the event loop stays below a few milliseconds
BUSY_TIMEOUT_MS = 2_000  # only a checkpointing or verifying reader can hold us up, and briefly
WAL_PAGES = 4_000  # 16 MiB: pages written again and again reach the database once; read back in 0.1 s after a crash
WINDOWS_CACHED_MAX = 4096  # (key, asset, window) sums kept between admissions
EMISSIONS_MAX = 100_000  # admitted operations whose reservation this process may still release
CHAIN_CHECKED_AT_OPEN = 5_000  # newest events, 0.3 s; the whole chain is the offline verification's matter
PSEUDONYMS_CACHED_MAX = 4096  # keys, tenants and initiators come again; operations do not, and only pass through

GENERATION_BOUND = 2**32  # of a pair's set-ups; one a second lasts a century
PAIRS_MAX = 64  # of one session
PATH_ELEMENTS_MAX = 8  # as an intent's path
PATH_ELEMENT_BOUND = 2**31  # non-hardened
PRESIGNATURES_AT_ONCE_MAX = 256  # in one command: as many as an online session signs
PRESIGNATURE_BYTES_MAX = 8 * 1024  # an envelope; DKLs23's are below 1 KiB
PRESIGNATURES_OF_POOL_MAX = 4_096  # of one path and quorum of a key: no key takes the others' room
PRESIGNATURES_MAX = 65_536  # 600 bytes each, in the database and, as names, in memory
