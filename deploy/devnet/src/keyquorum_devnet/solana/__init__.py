"""Solana's own runtime (LiteSVM) behind the JSON-RPC and websocket interface that Solana clients speak.

Only the chain's identity is exported here, so that a configuration can name the chain without loading the runtime;
the server is in :mod:`keyquorum_devnet.solana.server`.
"""

from keyquorum_devnet.solana.genesis import CHAIN_ID, GENESIS_HASH, NATIVE_ASSET

__all__ = ["CHAIN_ID", "GENESIS_HASH", "NATIVE_ASSET"]
