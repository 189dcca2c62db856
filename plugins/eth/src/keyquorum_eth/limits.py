"""Every size and bound of the codec, each with its reason."""

U256_MAX = 2**256 - 1
U64_MAX = 2**64 - 1

CHAIN_ID_MAX = (2**64 - 1) // 2 - 36  # EIP-2294
NONCE_MAX = 2**64 - 2  # EIP-2681
GAS_LIMIT_MIN = 21_000  # what a transaction without data costs
GAS_LIMIT_MAX = 2**24  # EIP-7825: what one transaction may use
FEE_WEI_MAX = 10**18  # one whole coin: no transfer is worth more, whatever a node says; configuration asks for less

TRANSACTION_BYTES_MAX = 128 * 1024  # what nodes take into their pools
TRANSFER_BYTES_MAX = 256  # an unsigned transfer or approval takes 190 at most
MESSAGE_BYTES_MAX = 4096  # of UTF-8: more than a person reads
DOCUMENT_BYTES_MAX = 8192  # of a structured document; Permit2's take 900
HASH_BYTES = 32  # of Keccak-256
SIGNATURE_BYTES = 65  # r ‖ s ‖ recovery id
