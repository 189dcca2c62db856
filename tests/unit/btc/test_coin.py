"""Coins, and their one spelling in metadata."""

import pytest

from keyquorum_btc.coin import Coin, format_coins, parse_coins
from keyquorum_plugin_api.errors import InvalidPayload

A, B = "a" * 64, "b" * 64


def test_order_is_that_of_bip69():
    """Transaction ids as they are shown, then indices as numbers."""
    coins = [Coin(B, 0, 1), Coin(A, 10, 1), Coin(A, 9, 1)]
    assert format_coins(coins) == f"{A}:9:1,{A}:10:1,{B}:0:1"
    assert parse_coins(format_coins(coins)) == tuple(sorted(coins))
    assert coins[1].outpoint == f"{A}:10"


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        f"{A}:0",
        f"{A}:0:0",
        f"{A}:00:1",
        f"{A}:0:01",
        f"{A}:-1:1",
        f"{A}:0:+1",
        f"{A}:0:1,",
        f"{A}:0:1, {B}:0:1",
        f"{B}:0:1,{A}:0:1",
        f"{A}:0:1\n",
        f"{A.upper()}:0:1",
        f"{A[:-1]}:0:1",
        f"{A}:100000:1",
        f"{A}:0:2100000000000001",
        f"{A}:٣:1",
        "0" * 64 + ":0:1",
        ",".join(f"{A}:{vout}:1" for vout in range(17)),
        "9" * 100_000,
    ],
)
def test_other_spellings_are_refused(text):
    """Metadata come from nodes."""
    with pytest.raises(InvalidPayload):
        parse_coins(text)


@pytest.mark.parametrize(
    ("txid", "vout", "amount"),
    [("", 0, 1), (A, -1, 1), (A, True, 1), (A, 0, 0), (A, 0, -1), (A, 0, 1.0), (A, 0, True), (A, "0", 1), (None, 0, 1)],
)
def test_impossible_coins_do_not_exist(txid, vout, amount):
    """The constructor refuses them, so nothing has to check again."""
    with pytest.raises(InvalidPayload):
        Coin(txid, vout, amount)
