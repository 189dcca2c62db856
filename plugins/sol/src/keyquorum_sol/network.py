"""Names of clusters and assets.

CAIP-2: ``solana:`` and the first 32 characters of the cluster's genesis hash in base58. The native asset is
``<chain>/slip44:501``, a token ``<chain>/token:<mint in base58>``, whichever token program its mint belongs to.
"""

import re
from dataclasses import dataclass

from solders.pubkey import Pubkey

from keyquorum_plugin_api.errors import InvalidAddress, Unsupported, UnsupportedAsset
from keyquorum_sol.addresses import RESERVED, parse_address

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


def token_asset(chain: str, mint: Pubkey) -> str:
    """CAIP-19 of a token on a cluster."""
    return f"{require_chain(chain)}/token:{mint}"


def parse_asset(asset: str, chain: str) -> Pubkey | None:
    """The mint of a token on that very cluster, None for SOL; :class:`UnsupportedAsset` for any other text."""
    if asset == native_asset(chain):
        return None
    prefix = f"{chain}/token:"
    if not asset.startswith(prefix):
        raise UnsupportedAsset("only SOL and tokens of the same cluster can be moved")
    try:
        mint = parse_address(asset.removeprefix(prefix))
    except InvalidAddress:
        raise UnsupportedAsset("a token is named by its mint, 32 bytes in base58") from None
    if mint in RESERVED:
        raise UnsupportedAsset("the address belongs to the network itself and is no mint")
    return mint
