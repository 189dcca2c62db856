"""Every size and count that an intent, a policy or a certificate may have, each with its reason."""

INTENT_BYTES_MAX = 2 * 1024 * 1024  # all messages at their largest, the payload and the effects; half of gRPC's own cap
CERTIFICATE_BYTES_MAX = 64 * 1024  # 16 parties and a full policy stay below 16 KiB

MESSAGES_MAX = 16  # the FROST session signs all of them in the same two rounds
MESSAGE_BYTES_MAX = 64 * 1024  # an Ed25519 message is signed whole; Solana's largest is 1,232 bytes
PAYLOAD_BYTES_MAX = 256 * 1024  # travels to the codec worker as base64 in one request
EFFECTS_MAX = 256  # one per output of a large Bitcoin payment
DETAIL_CHARS_MAX = 64 * 1024  # a message effect repeats the message's text
ADDRESS_CHARS_MAX = 128  # the longest in use today are below 110

PATH_ELEMENTS_MAX = 8  # BIP44 needs five
PATH_ELEMENT_BOUND = 2**31  # from here on BIP32 means hardened, which no public key can follow
AMOUNT_BOUND = 2**256  # the range of an EVM word; no chain has more

PARTIES_MAX = 16  # messages grow with the square
THRESHOLD_MIN = 2  # with one, a single party would hold the key
INITIATOR_KEYS_MAX = 32
ASSET_LIMITS_MAX = 64
WINDOW_S_MAX = 366 * 24 * 3600

VALIDITY_MS_MAX = 24 * 3600 * 1000  # how long a party must be able to tell an old operation id from a new one
CLOCK_SKEW_MS_MAX = 30 * 1000
