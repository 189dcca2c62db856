"""Names of clusters and assets.

CAIP-2: ``solana:`` and the first 32 characters of the cluster's genesis hash in base58. The native asset is
``<chain>/slip44:501``.
"""

import re
from dataclasses import dataclass

from keyquorum_plugin_api.errors import Unsupported, UnsupportedAsset

NAMESPACE = "solana"
DECIMALS = 9
SYMBOL = "SOL"
_REFERENCE_CHARS = 32
_CHAIN = re.compile(r"solana:[1-9A-HJ-NP-Za-km-z]{32}")


@dataclass(frozen=True, slots=True)
class Cluster:
    """A public cluster."""

    name: str
    aliases: tuple[str, ...]


CLUSTERS = {
    "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp": Cluster("Solana", ("solana:mainnet", "solana:mainnet-beta")),
    "solana:4uhcVJyU9pJkvQyS88uRDiswHXSCkY3z": Cluster("Solana Testnet", ("solana:testnet",)),
    "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1": Cluster("Solana Devnet", ("solana:devnet",)),
}


def require_chain(chain: str) -> str:
    """The chain, if it is the CAIP-2 id of a Solana cluster in full; aliases are for people and are refused."""
    if not _CHAIN.fullmatch(chain):
        raise Unsupported("not the CAIP-2 id of a Solana cluster")
    return chain


def chain_of(genesis_hash: str) -> str:
    """The CAIP-2 id of the cluster with a genesis hash in base58."""
    return f"{NAMESPACE}:{genesis_hash[:_REFERENCE_CHARS]}"


def native_asset(chain: str) -> str:
    """CAIP-19 of SOL on a cluster."""
    return f"{require_chain(chain)}/slip44:501"


def require_native(asset: str, chain: str) -> str:
    """The asset, if it is SOL on that very cluster."""
    if asset != native_asset(chain):
        raise UnsupportedAsset("only SOL of the same cluster can be moved")
    return asset
