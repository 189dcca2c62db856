"""Networks are named by their genesis blocks, which are made here from their headers."""

import pytest

from keyquorum_btc.network import MAINNET, NETWORKS, REGTEST, SIGNET, TESTNET3, TESTNET4, native_asset, require_native
from keyquorum_plugin_api.errors import Unsupported, UnsupportedAsset
from support.bitcoin_by_hand import double_sha256

SATOSHIS = "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b"  # the coinbase of 2009
TESTNET4S = "7aa0a7ae1e223414cb807e40cd57e667b718e42aaf9306db9102fe28912b7b4e"  # BIP-94


@pytest.mark.parametrize(
    ("network", "merkle_root", "time", "bits", "nonce"),
    [
        (MAINNET, SATOSHIS, 1231006505, 0x1D00FFFF, 2083236893),
        (TESTNET3, SATOSHIS, 1296688602, 0x1D00FFFF, 414098458),
        (TESTNET4, TESTNET4S, 1714777860, 0x1D00FFFF, 393743547),
        (SIGNET, SATOSHIS, 1598918400, 0x1E0377AE, 52613770),
        (REGTEST, SATOSHIS, 1296688602, 0x207FFFFF, 2),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_chain_is_the_genesis_hash(network, merkle_root, time, bits, nonce):
    """CAIP-2 takes its first 32 digits."""
    numbers = b"".join(number.to_bytes(4, "little") for number in (time, bits, nonce))
    header = (1).to_bytes(4, "little") + bytes(32) + bytes.fromhex(merkle_root)[::-1] + numbers
    assert network.chain == "bip122:" + double_sha256(header)[::-1].hex()[:32]
    assert NETWORKS[network.chain] is network


def test_names_do_not_collide():
    """Ids and aliases each mean one network."""
    names = [name for network in NETWORKS.values() for name in (network.chain, *network.aliases)]
    assert len(names) == len(set(names)) == 10


def test_assets():
    """Coins that are worth something have another asset than those that are not."""
    assert native_asset(MAINNET.chain) == f"{MAINNET.chain}/slip44:0"
    for network in (TESTNET3, TESTNET4, SIGNET, REGTEST):
        assert require_native(f"{network.chain}/slip44:1", network.chain) == network.native_asset
        with pytest.raises(UnsupportedAsset):
            require_native(f"{network.chain}/slip44:0", network.chain)


@pytest.mark.parametrize(
    "chain",
    [
        "",
        "bip122",
        "bip122:",
        "bitcoin:mainnet",
        MAINNET.chain.upper(),
        MAINNET.chain[:-1],
        MAINNET.chain + "4",
        "bip122:" + "0" * 32,
        "bip122:12a765e31ffd4059bada1e25190f6e98",  # Litecoin
    ],
)
def test_other_chains_are_refused(chain):
    """No prefix, no alias, no fork."""
    with pytest.raises(Unsupported):
        native_asset(chain)
