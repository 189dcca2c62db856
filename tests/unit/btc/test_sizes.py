"""Sizes against transactions that are really written, and the figures that everyone knows."""

import pytest

from keyquorum_btc import sizes
from keyquorum_btc.memo import memo_script
from support.bitcoin_by_hand import packet, taproot_key

KEY = taproot_key(b"sizes", 0)
P2PKH = b"\x76\xa9\x14" + bytes(20) + b"\x88\xac"
P2SH = b"\xa9\x14" + bytes(20) + b"\x87"
P2WPKH = b"\x00\x14" + bytes(20)
P2WSH = b"\x00\x20" + bytes(32)


@pytest.mark.parametrize("inputs", [1, 2, 15, 16])
@pytest.mark.parametrize(
    "scripts",
    [[P2PKH], [P2SH], [P2WPKH], [P2WSH], [KEY.script], [KEY.script, KEY.script], [P2WPKH, memo_script("x" * 80)]],
)
def test_weight_of_written_transactions(inputs, scripts):
    """BIP141: three times without witnesses, once with."""
    made = packet(KEY, [(bytes([each] * 32), 0, 1) for each in range(1, inputs + 1)], [(1, each) for each in scripts])
    weight = 3 * len(made.unsigned()) + len(made.signed([bytes(64)] * inputs))
    assert sizes.transaction_weight(inputs, map(len, scripts)) == weight
    assert sizes.vsize(weight) == -(-weight // 4)


def test_known_figures():
    """One input, two P2TR outputs: 154 virtual bytes. An input: 57.5."""
    assert sizes.vsize(sizes.transaction_weight(1, [34, 34])) == 154
    assert sizes.INPUT_WEIGHT / 4 == 57.5
    assert sizes.CHANGE_WEIGHT / 4 == 43


@pytest.mark.parametrize(
    ("script", "limit"), [(P2PKH, 546), (P2SH, 540), (P2WPKH, 294), (P2WSH, 330), (KEY.script, 330)]
)
def test_dust_limits(script, limit):
    """As Bitcoin Core's policy documents them."""
    assert sizes.dust_limit(script) == limit
    assert sizes.CHANGE_DUST_LIMIT == 330


def test_fees_are_rounded_up():
    """A node counts whole virtual bytes and whole satoshi."""
    assert sizes.fee_at(1_000, 4) == 1
    assert sizes.fee_at(1_000, 5) == 2
    assert sizes.fee_at(1, 4) == 1
    assert sizes.fee_at(0, 1_000) == 0
    assert sizes.transaction_fee(1_000, 5) == 2
    assert sizes.transaction_fee(3_000, 601) == 453
