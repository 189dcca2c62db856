"""Every size and bound of the Solana plugin, each with its reason."""

PACKET_BYTES_MAX = 1232  # an IPv6 minimum MTU of 1280 less its headers: what a transaction may take on the wire
SIGNATURE_BYTES = 64
U64_MAX = 2**64 - 1

LAMPORTS_PER_SIGNATURE = 5_000  # the network's base fee
MICRO_LAMPORTS = 1_000_000  # per lamport; compute-unit prices are in micro-lamports
COMPUTE_UNITS_MAX = 1_400_000  # what one transaction may use
FEE_LAMPORTS_MAX = 100_000_000  # 0.1 SOL: no transfer is worth more, whatever a node says; configuration asks for less

MEMO_BYTES_MAX = 512  # leaves room in the packet; the memo program itself takes about 566
PAYLOAD_BYTES_MAX = PACKET_BYTES_MAX - 1 - SIGNATURE_BYTES  # of a transaction with one signature
