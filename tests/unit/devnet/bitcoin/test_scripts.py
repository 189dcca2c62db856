"""Scripts and addresses."""

import pytest
from embit import bech32

from keyquorum_devnet.bitcoin.scripts import (
    InvalidAddress,
    Kind,
    WrongNetwork,
    address_of,
    core_asm,
    esplora_asm,
    is_push_only,
    kind_of,
    script_of,
)
from support.vectors import load

BIP350 = load("bip350_addresses")
HASH20, HASH32 = bytes(range(20)), bytes(range(32))
SCRIPTS = {
    Kind.P2PKH: b"\x76\xa9\x14" + HASH20 + b"\x88\xac",
    Kind.P2SH: b"\xa9\x14" + HASH20 + b"\x87",
    Kind.P2WPKH: b"\x00\x14" + HASH20,
    Kind.P2WSH: b"\x00\x20" + HASH32,
    Kind.P2TR: b"\x51\x20" + HASH32,
    Kind.WITNESS_UNKNOWN: b"\x52\x20" + HASH32,
}


@pytest.mark.parametrize(("kind", "script"), SCRIPTS.items(), ids=lambda each: getattr(each, "name", ""))
def test_addresses_lead_back_to_their_script(kind, script):
    """Every kind that has an address is recognised, and its address names it alone."""
    assert kind_of(script) is kind
    address = address_of(script)
    assert address is not None
    assert script_of(address) == script
    if script[0] < 0x70:
        assert address.startswith("bcrt1")
        assert script_of(address.upper()) == script


@pytest.mark.parametrize("vector", BIP350["valid"], ids=lambda each: each["address"])
def test_published_scripts_have_regtest_addresses(vector):
    """BIP 350's programs under regtest's prefix: the same data part, so another checksum, read back to the same script."""
    script = bytes.fromhex(vector["script"])
    with pytest.raises(WrongNetwork):
        script_of(vector["address"])
    address = address_of(script)
    assert address is not None
    assert script_of(address) == script
    separator = vector["address"].rindex("1")
    assert address[len("bcrt1") : -6] == vector["address"].lower()[separator + 1 : -6]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bcrt1",
        "x" * 200,
        "bcrt1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq",
        bech32.bech32_encode(bech32.Encoding.BECH32, "bcrt", [1, *bech32.convertbits(HASH32, 8, 5)]),
        bech32.bech32_encode(bech32.Encoding.BECH32M, "bcrt", [0, *bech32.convertbits(HASH20, 8, 5)]),
        bech32.bech32_encode(bech32.Encoding.BECH32, "bcrt", [0, *bech32.convertbits(HASH32[:21], 8, 5)]),
        "2N" + "1" * 30,
        "0OIl",
    ],
)
def test_texts_that_are_no_address(text):
    """Wrong checksums, the wrong checksum for the version, wrong lengths."""
    with pytest.raises(InvalidAddress):
        script_of(text)


def test_addresses_of_mainnet_are_named_as_such():
    """An address of another network is not just invalid."""
    with pytest.raises(WrongNetwork):
        script_of("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2")
    with pytest.raises(WrongNetwork):
        script_of("3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy")


@pytest.mark.parametrize(
    ("script", "esplora", "core"),
    [
        (SCRIPTS[Kind.P2TR], f"OP_PUSHNUM_1 OP_PUSHBYTES_32 {HASH32.hex()}", f"1 {HASH32.hex()}"),
        (SCRIPTS[Kind.P2WPKH], f"OP_0 OP_PUSHBYTES_20 {HASH20.hex()}", f"0 {HASH20.hex()}"),
        (
            SCRIPTS[Kind.P2PKH],
            f"OP_DUP OP_HASH160 OP_PUSHBYTES_20 {HASH20.hex()} OP_EQUALVERIFY OP_CHECKSIG",
            f"OP_DUP OP_HASH160 {HASH20.hex()} OP_EQUALVERIFY OP_CHECKSIG",
        ),
        (b"\x6a\x02hi", "OP_RETURN OP_PUSHBYTES_2 6869", "OP_RETURN 26984"),
        (b"\x01\x80\xb1", "OP_PUSHBYTES_1 80 OP_CLTV", "0 OP_CHECKLOCKTIMEVERIFY"),
        (b"\x05ab", "<unexpected end>", "[error]"),
        (b"\x4c\x01a", "OP_PUSHDATA1 61", "97"),
    ],
)
def test_scripts_as_text(script, esplora, core):
    """The words of rust-bitcoin, and those of Core."""
    assert esplora_asm(script) == esplora
    assert core_asm(script) == core


def test_push_only():
    """A push that ends early is no push."""
    assert is_push_only(b"\x00\x51\x02ab")
    assert not is_push_only(b"\x02a")
    assert not is_push_only(b"\x76")
    assert kind_of(b"\x6a\x05ab") is Kind.NONSTANDARD
    assert kind_of(b"\x6a\x02ab") is Kind.OP_RETURN
    assert address_of(b"\x6a\x02ab") is None
