"""Addresses and names of clusters."""

import pytest
from solders.pubkey import Pubkey

from keyquorum_plugin_api.errors import InvalidAddress, Unsupported
from keyquorum_sol.addresses import RESERVED, address_of, parse_address, parse_destination
from keyquorum_sol.network import CLUSTERS, chain_of, native_asset, require_chain
from support.solana_target import solana_account

ACCOUNT = solana_account(b"addresses", 0).account
VAULT, _ = Pubkey.find_program_address([b"vault"], Pubkey.from_bytes(ACCOUNT.public_key))


def test_vaults_of_programs_can_be_paid() -> None:
    """A program-derived address is off the curve and has an owner all the same; but no key of ours has it."""
    assert not VAULT.is_on_curve()
    assert parse_destination(str(VAULT)) == VAULT
    with pytest.raises(InvalidAddress, match="curve"):
        address_of(bytes(VAULT))


@pytest.mark.parametrize("key", sorted(map(str, RESERVED)))
def test_the_networks_own_addresses_cannot_be_paid(key: str) -> None:
    """What they receive is lost; they are addresses nevertheless."""
    assert str(parse_address(key)) == key
    with pytest.raises(InvalidAddress, match="lost"):
        parse_destination(key)


@pytest.mark.parametrize("text", [None, 7, b"1" * 32, "", "1" * 31, "1" * 33, "0" * 40, "ä" * 40, "z" * 44, "z" * 1000])
def test_other_text_is_no_address(text: object) -> None:
    """Of any type and length."""
    with pytest.raises(InvalidAddress):
        parse_address(text)


def test_clusters_are_named_by_their_genesis() -> None:
    """The published hashes give the published CAIP-2 ids."""
    assert chain_of("5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d") in CLUSTERS
    assert chain_of("EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxkrZBG") in CLUSTERS
    assert chain_of("4uhcVJyU9pJkvQyS88uRDiswHXSCkY3zQawwpjk2NsNY") in CLUSTERS
    for chain in CLUSTERS:
        assert native_asset(chain) == f"{chain}/slip44:501"


@pytest.mark.parametrize(
    "chain", ["solana:mainnet", "solana:", "eip155:1", "solana:" + "1" * 33, "solana:" + "0" * 32, ""]
)
def test_aliases_are_for_people(chain: str) -> None:
    """Codecs and adapters know the CAIP-2 id and nothing else."""
    with pytest.raises(Unsupported):
        require_chain(chain)


def test_the_network_itself_has_no_account_here():
    """Thirty-two zero bytes are a point of the curve, and the system program's address."""
    with pytest.raises(InvalidAddress):
        address_of(bytes(32))
