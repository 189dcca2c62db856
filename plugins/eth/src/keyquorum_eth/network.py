"""Names of chains and assets.

CAIP-2: ``eip155:`` and the decimal chain id. The native asset is ``<chain>/slip44:60``; a token ``<chain>/erc20:`` and the
address of its contract in lower case, which is the canonical spelling; EIP-55 is understood, too.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from keyquorum_eth.addresses import parse_address
from keyquorum_eth.limits import CHAIN_ID_MAX
from keyquorum_plugin_api.errors import InvalidAddress, Unsupported, UnsupportedAsset

DECIMALS = 18
SYMBOL = "ETH"
_CHAIN = re.compile(r"eip155:([1-9][0-9]{0,18})")
_ERC20 = "/erc20:"


@dataclass(frozen=True, slots=True)
class Network:
    """A public network."""

    name: str
    aliases: tuple[str, ...]


NETWORKS = {
    "eip155:1": Network("Ethereum", ("ethereum:mainnet",)),
    "eip155:11155111": Network("Ethereum Sepolia", ("ethereum:sepolia",)),
    "eip155:560048": Network("Ethereum Hoodi", ("ethereum:hoodi",)),
}


@lru_cache(maxsize=64)
def chain_id_of(chain: str) -> int:
    """The chain id of a CAIP-2 id in full; aliases are for people and are refused."""
    found = _CHAIN.fullmatch(chain)
    if found is None or (number := int(found[1])) > CHAIN_ID_MAX:
        raise Unsupported("not the CAIP-2 id of an EIP-155 chain")
    return number


def native_asset(chain: str) -> str:
    """CAIP-19 of a chain's own coin."""
    chain_id_of(chain)
    return f"{chain}/slip44:60"


def token_asset(chain: str, contract: bytes) -> str:
    """CAIP-19 of a token, by the 20 bytes of its contract's address."""
    chain_id_of(chain)
    return f"{chain}{_ERC20}0x{contract.hex()}"


def parse_asset(asset: str, chain: str) -> bytes | None:
    """The contract of a token of that very chain, None for the chain's own coin; :class:`UnsupportedAsset` for the rest."""
    if asset == native_asset(chain):
        return None
    prefix = f"{chain}{_ERC20}"
    if not isinstance(asset, str) or not asset.startswith(prefix):
        raise UnsupportedAsset("only the chain's own coin and ERC-20 tokens of the same chain can be moved")
    try:
        return parse_address(asset[len(prefix) :])
    except InvalidAddress:
        raise UnsupportedAsset("an ERC-20 token is named by the address of its contract") from None
