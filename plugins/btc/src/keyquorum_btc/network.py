"""Names of networks and assets.

CAIP-2 (namespace ``bip122``): the first 32 hexadecimal digits of the genesis block's hash. The native asset is
``<chain>/slip44:0`` on the main network and ``<chain>/slip44:1`` on all test networks (SLIP-44).
"""

from dataclasses import dataclass

from keyquorum_plugin_api.errors import Unsupported, UnsupportedAsset

NAMESPACE = "bip122"
DECIMALS = 8


@dataclass(frozen=True, slots=True)
class Network:
    """One of Bitcoin's networks. Test networks share base58 prefixes, and all but regtest share ``tb``."""

    chain: str  # CAIP-2
    name: str
    aliases: tuple[str, ...]
    hrp: str  # BIP173
    p2pkh: int  # base58 version bytes
    p2sh: int
    coin_type: int  # SLIP-44
    symbol: str

    @property
    def native_asset(self) -> str:
        """CAIP-19."""
        return f"{self.chain}/slip44:{self.coin_type}"


def _test_network(genesis: str, name: str, aliases: tuple[str, ...], hrp: str = "tb") -> Network:
    return Network(f"{NAMESPACE}:{genesis}", name, aliases, hrp, 0x6F, 0xC4, 1, "tBTC")


MAINNET = Network(
    f"{NAMESPACE}:000000000019d6689c085ae165831e93", "Bitcoin", ("bitcoin:mainnet",), "bc", 0x00, 0x05, 0, "BTC"
)
TESTNET3 = _test_network("000000000933ea01ad0ee984209779ba", "Bitcoin Testnet3", ("bitcoin:testnet3",))
TESTNET4 = _test_network("00000000da84f2bafbbc53dee25a72ae", "Bitcoin Testnet4", ("bitcoin:testnet4",))
SIGNET = _test_network("00000008819873e925422c1ff0f99f7c", "Bitcoin Signet", ("bitcoin:signet",))
REGTEST = _test_network("0f9188f13cb7b2c71f2a335e3a4fc328", "Bitcoin Regtest", ("bitcoin:regtest",), "bcrt")

NETWORKS = {network.chain: network for network in (MAINNET, TESTNET3, TESTNET4, SIGNET, REGTEST)}


def require_network(chain: str) -> Network:
    """The network of a CAIP-2 id in full; aliases are for people and are refused, and so are other chains' ids."""
    network = NETWORKS.get(chain)
    if network is None:
        raise Unsupported("not the CAIP-2 id of a Bitcoin network")
    return network


def native_asset(chain: str) -> str:
    """CAIP-19 of the coin of a network."""
    return require_network(chain).native_asset


def require_native(asset: str, chain: str) -> str:
    """The asset, if it is the coin of that very network."""
    if asset != native_asset(chain):
        raise UnsupportedAsset("only the coin of the same network can be moved")
    return asset
