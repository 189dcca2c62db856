"""Every size and bound of the Solana plugin, each with its reason."""

PACKET_BYTES_MAX = 1232  # an IPv6 minimum MTU of 1280 less its headers: what a transaction may take on the wire
SIGNATURE_BYTES = 64
U64_MAX = 2**64 - 1

LAMPORTS_PER_SIGNATURE = 5_000  # the network's base fee
MICRO_LAMPORTS = 1_000_000  # per lamport; compute-unit prices are in micro-lamports
COMPUTE_UNITS_MAX = 1_400_000  # what one transaction may use
FEE_LAMPORTS_MAX = 100_000_000  # 0.1 SOL: no transfer is worth more, whatever a node says; configuration asks for less

RENT_PER_BYTE = 6_960  # lamports that an account holds for each byte to be exempt from rent: two years at 3,480
ACCOUNT_OVERHEAD_BYTES = 128  # that rent counts on top of an account's data
TOKEN_ACCOUNT_BYTES = 165  # of an account of the first token program
TOKEN_2022_ACCOUNT_BYTES_MAX = 256  # with extensions; those that a mint can force on an account today take it to 195
TOKEN_2022_NEW_ACCOUNT_BYTES = 170  # with the one extension that every associated account has: its owner stays
NONCE_ACCOUNT_BYTES = 80
SEED_CHARS_MAX = 32  # of an address derived with a seed, the network's own limit
MINT_BYTES_MAX = 4_096  # of a mint that is looked at; metadata is what makes them long

MEMO_BYTES_MAX = 512  # leaves room in the packet; the memo program itself takes about 566
PAYLOAD_BYTES_MAX = PACKET_BYTES_MAX - 1 - SIGNATURE_BYTES  # of a transaction with one signature


def rent_exemption(size: int) -> int:
    """Lamports that an account with ``size`` bytes of data has to hold, at the rate that clusters have had since genesis."""
    return (ACCOUNT_OVERHEAD_BYTES + size) * RENT_PER_BYTE
