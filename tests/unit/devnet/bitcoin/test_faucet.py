"""Coins for whoever asks."""

import pytest

from keyquorum_devnet.bitcoin.faucet import FaucetEmpty


def test_many_coins_in_one_payment(regtest, alice):
    """Each has the value asked for, and all are confirmed by the next block."""
    outpoints = regtest.fund(alice.address, 12_345, 200)
    coins = regtest.node.chain.unspent(alice.script)
    assert list(coins) == outpoints
    assert {coin.output.value for coin in coins.values()} == {12_345}


def test_payments_without_a_block_between(regtest, alice):
    """Each takes other coins of the faucet, until there are no more."""
    for _ in range(5):
        regtest.fund(alice.address, 50_000, confirm=False)
    assert len(regtest.node.mempool) == 5
    balance = regtest.faucet.balance()
    with pytest.raises(FaucetEmpty, match="mine blocks"):
        regtest.fund(alice.address, balance)
    regtest.mine()
    assert len(regtest.node.chain.unspent(alice.script)) == 5


@pytest.mark.parametrize(("value", "count"), [(329, 1), (1000, 0), (1000, 2001)])
def test_payments_that_no_node_would_relay(regtest, alice, value, count):
    """Dust and crowds are refused before anything is signed."""
    with pytest.raises(ValueError, match="a payment is"):
        regtest.fund(alice.address, value, count)
    assert len(regtest.node.mempool) == 0


def test_largest_payment_is_standard(regtest, alice):
    """As many coins as one call may ask for."""
    assert len(regtest.fund(alice.address, 1000, 2000)) == 2000
    assert len(regtest.node.chain.unspent(alice.script)) == 2000
