"""Bitcoin Core's own consensus code behind the Esplora REST and the JSON-RPC that wallets speak.

Only the chain's identity is exported here, so that a configuration can name the chain without loading the library;
the server is in :mod:`keyquorum_devnet.bitcoin.server`.
"""

from keyquorum_devnet.bitcoin.genesis import CHAIN_ID, GENESIS_HASH, NATIVE_ASSET

__all__ = ["CHAIN_ID", "GENESIS_HASH", "NATIVE_ASSET"]
