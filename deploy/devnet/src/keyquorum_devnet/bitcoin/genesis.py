"""The identity of the development chain: Bitcoin's regression-test network.

A CAIP-2 id of Bitcoin is ``bip122:`` and the first 32 characters of the genesis block's hash. Regtest's genesis is the
same everywhere; the blocks after it differ in every run, so that a transaction of an earlier run is never valid later.
"""

GENESIS_HASH = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"

CHAIN_ID = f"bip122:{GENESIS_HASH[:32]}"
"""CAIP-2."""

NATIVE_ASSET = f"{CHAIN_ID}/slip44:1"
"""CAIP-19 of bitcoin on this chain (SLIP-44 has one number for all test networks); minor unit satoshi, 8 decimals."""
