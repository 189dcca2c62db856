"""The identity of the development chain.

A CAIP-2 id of Solana is ``solana:`` and the first 32 characters of the genesis hash in base58. The hash is fixed, so that
the id survives restarts; the blockhashes after it are not, so that a transaction of an earlier run is never valid in
a later one.
"""

GENESIS_SEED = b"keyquorum-devnet/solana/genesis/1"

GENESIS_HASH = "6f6vg8CAZwpSVH7LopCpVvHa8AjccGshM8TygfAq2HoT"
"""Base58 of SHA-256 over :data:`GENESIS_SEED`."""

CHAIN_ID = f"solana:{GENESIS_HASH[:32]}"
"""CAIP-2."""

NATIVE_ASSET = f"{CHAIN_ID}/slip44:501"
"""CAIP-19 of SOL on this chain; minor unit lamport, 9 decimals."""
