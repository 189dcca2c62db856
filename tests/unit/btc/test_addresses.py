"""Addresses against BIP-173's and BIP-350's vectors, and what is refused beyond them."""

import pytest
from embit import base58
from hypothesis import given
from hypothesis import strategies as st

from keyquorum_btc.addresses import address_of, address_of_script, canonical_address, parse_destination
from keyquorum_btc.network import MAINNET, NETWORKS, REGTEST, SIGNET, TESTNET3, TESTNET4
from keyquorum_plugin_api.errors import InvalidAddress
from support.vectors import load

VECTORS = load("bip350_addresses")
KEY = bytes.fromhex("02" + load("bip341_taproot")["internal_key"])
P2PKH = "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2"
P2SH = "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy"
PAYABLE = ("0014", "0020", "5120")


def network_of(address: str) -> str:
    return MAINNET.chain if address.lower().startswith("bc1") else TESTNET3.chain


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda vector: vector["address"])
def test_published_addresses(vector):
    """Versions 0 and 1 give the published script; programs that have no rules yet are refused, valid or not."""
    address, script = vector["address"], bytes.fromhex(vector["script"])
    if vector["script"][:4] not in PAYABLE:
        with pytest.raises(InvalidAddress, match="no rules"):
            parse_destination(address, network_of(address))
        return
    assert parse_destination(address, network_of(address)) == script
    assert address_of_script(script, network_of(address)) == address.lower()


@pytest.mark.parametrize("vector", [*VECTORS["invalid"], *VECTORS["revoked"]], ids=lambda vector: vector["address"])
def test_published_invalid_addresses(vector):
    """On every network: BIP-173's and BIP-350's invalid ones, and those with the old checksum of version 1 and above."""
    for chain in NETWORKS:
        with pytest.raises(InvalidAddress):
            parse_destination(vector["address"], chain)


def test_published_taproot_address():
    """BIP-341's first wallet vector, from the internal key to the address."""
    vector = load("bip341_key_path")
    assert address_of(KEY, MAINNET.chain) == vector["address"]
    assert address_of(b"\x03" + KEY[1:], MAINNET.chain) == vector["address"]


@pytest.mark.parametrize(
    ("version", "chain", "address"),
    [
        (0x00, MAINNET.chain, P2PKH),
        (0x05, MAINNET.chain, P2SH),
        (0x6F, TESTNET4.chain, base58.encode_check(b"\x6f" + bytes(range(20)))),
        (0xC4, REGTEST.chain, base58.encode_check(b"\xc4" + bytes(range(20)))),
    ],
)
def test_base58_addresses(version, chain, address):
    """Version byte and hash, in P2PKH's and P2SH's script, and back."""
    script = parse_destination(address, chain)
    digest = base58.decode_check(address)[1:]
    expected = b"\xa9\x14" + digest + b"\x87" if version in (5, 0xC4) else b"\x76\xa9\x14" + digest + b"\x88\xac"
    assert script == expected
    assert canonical_address(address, chain) == address
    for other in (MAINNET.chain,) if version in (0x6F, 0xC4) else (TESTNET3.chain, REGTEST.chain):
        with pytest.raises(InvalidAddress):
            parse_destination(address, other)


def test_upper_case_is_canonicalised_and_mixed_case_refused():
    """BIP-173: one case or the other; effects name lower case."""
    address = address_of(KEY, MAINNET.chain)
    assert canonical_address(address.upper(), MAINNET.chain) == address
    for mixed in (address[:10] + address[10:].upper(), "BC1" + address[3:], "bc1" + address[3:].upper()):
        with pytest.raises(InvalidAddress):
            canonical_address(mixed, MAINNET.chain)
    for wrong in (P2PKH.upper(), P2PKH.lower(), P2SH.swapcase()):
        with pytest.raises(InvalidAddress):
            canonical_address(wrong, MAINNET.chain)


def test_networks_are_kept_apart():
    """Bech32 of one prefix is refused under another; test networks that share ``tb`` cannot be told apart."""
    addresses = {network.chain: address_of(KEY, network.chain) for network in NETWORKS.values()}
    shared = {TESTNET3.chain, TESTNET4.chain, SIGNET.chain}
    for chain, address in addresses.items():
        for other in NETWORKS:
            if other == chain or {chain, other} <= shared:
                assert canonical_address(address, other) == address
            else:
                with pytest.raises(InvalidAddress):
                    canonical_address(address, other)


@pytest.mark.parametrize(
    "address",
    [
        "",
        " " + P2PKH,
        P2PKH + "\n",
        "1" + P2PKH,
        P2PKH[:-1],
        P2PKH[:-1] + "3",
        "1" * 91,
        "z" * 90,
        "bc1",
        "BC1",
        "bc1q",
        "bc1pfeessrawgf",  # pay to anchor
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4\u0130",
        "\u0130c1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
        base58.encode_check(b"\x00" + bytes(19)),
        base58.encode_check(b"\x00" + bytes(21)),
        base58.encode_check(b"\x80" + bytes(32)),  # a secret key
        None,
        b"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
    ],
)
def test_other_texts_are_refused(address):
    """With the one error that there is for it."""
    with pytest.raises(InvalidAddress):
        parse_destination(address, MAINNET.chain)


def test_a_key_off_the_curve_is_no_destination():
    """A valid address by BIP-350, to which coins would be lost."""
    for x in (b"\xff" * 32, bytes(32), (5).to_bytes(32, "big")):
        address = address_of_script(b"\x51\x20" + x, MAINNET.chain)
        with pytest.raises(InvalidAddress, match="no point"):
            parse_destination(address, MAINNET.chain)


@pytest.mark.parametrize(
    "script", [b"", b"\x51", b"\x6a", b"\x52\x20" + bytes(32), b"\x00\x15" + bytes(21), b"\x51\x02\x4e\x73"]
)
def test_other_scripts_have_no_address(script):
    """Nothing is invented for them."""
    with pytest.raises(InvalidAddress):
        address_of_script(script, MAINNET.chain)


@given(st.sampled_from(sorted(NETWORKS)), st.sampled_from([20, 32]), st.binary(min_size=32, max_size=32), st.data())
def test_addresses_and_scripts_are_one_to_one(chain, length, program, data):
    """Whatever script has an address reads back from it; one wrong letter is noticed."""
    heads = {20: [(b"\x00\x14", b""), (b"\x76\xa9\x14", b"\x88\xac"), (b"\xa9\x14", b"\x87")], 32: [(b"\x00\x20", b"")]}
    head, tail = data.draw(st.sampled_from(heads[length]))
    script = head + program[:length] + tail
    address = address_of_script(script, chain)
    assert parse_destination(address, chain) == script
    at = data.draw(st.integers(0, len(address) - 1))
    letter = data.draw(st.sampled_from("qpzry9x8gf2tvdw0s3jn54khce6mua7lABC"))
    if letter != address[at]:
        with pytest.raises(InvalidAddress):
            parse_destination(address[:at] + letter + address[at + 1 :], chain)
