"""Every size and bound of the pure half, each with its reason. Amounts are in satoshi."""

SATOSHI_PER_BITCOIN = 100_000_000
AMOUNT_MAX = 21_000_000 * SATOSHI_PER_BITCOIN  # more than will ever exist; consensus refuses more (MoneyRange)
FEE_MAX = SATOSHI_PER_BITCOIN // 10  # whatever a node says; 16 inputs at 5,000 sat/vB cost half of it

INPUTS_MAX = 16  # each is a message of its own, and a party signs at most 16 per intent
VOUT_MAX = 99_999  # a block has no room for a transaction with more outputs

SIGNATURE_BYTES = 64  # BIP340; SIGHASH_DEFAULT appends no byte
MEMO_BYTES_MAX = 80  # what every node relays in an OP_RETURN
MESSAGE_BYTES_MAX = 4096  # a person reads it before it is signed
PAYLOAD_BYTES_MAX = 4608  # the longest message and its header; the largest PSBT is below 2.4 KiB
