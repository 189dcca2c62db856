"""The JSON-RPC of bitcoind as wallets use it, and the calls that only a development network has."""
