"""Replacement by fee, each rule from both sides."""

import pytest

from keyquorum_devnet.bitcoin.policy import TxRefused
from keyquorum_devnet.bitcoin.transactions import Outpoint
from support.bitcoin_node import node_without_server

VALUE = 1_000_000
SPEND_VSIZE = 111
FINAL = 0xFFFFFFFE  # no BIP 125 signal


@pytest.fixture
def coins(regtest, alice):
    """Confirmed coins of Alice."""
    return regtest.fund(alice.address, VALUE, 4)


def send(regtest, alice, bob, sources, fee, **options):
    """Alice's coins to Bob; the txid."""
    total = sum(regtest._value(each) for each in sources)
    return regtest.send(regtest.pay(alice, sources, [(bob.address, total - fee)], **options))


def test_replaced_by_more(regtest, alice, bob, coins):
    """Exactly the relay of the new one on top of the old fee is enough; the old one is gone from every index."""
    old = send(regtest, alice, bob, [coins[0]], 200)
    new = send(regtest, alice, bob, [coins[0]], 200 + SPEND_VSIZE)
    assert list(regtest.node.mempool.entries) == [new]
    assert regtest.node.mempool.spenders[coins[0]].txid == new
    assert list(regtest.node.mempool.activity.of(bob.script).txids) == [new]
    assert regtest.node.mempool.total_fee == 200 + SPEND_VSIZE
    regtest.mine()
    assert regtest.node.chain.transaction(old) is None


def test_rule_4_pays_for_its_own_relay(regtest, alice, bob, coins):
    """One satoshi less is refused, and the old one stays."""
    old = send(regtest, alice, bob, [coins[0]], 200)
    text = r"not enough additional fees to relay; 0\.0000011 < 0\.00000111$"
    with pytest.raises(TxRefused, match=f"^insufficient fee, rejecting replacement [0-9a-f]{{64}}, {text}"):
        send(regtest, alice, bob, [coins[0]], 200 + SPEND_VSIZE - 1)
    assert list(regtest.node.mempool.entries) == [old]


def test_rule_6_needs_a_higher_rate(regtest, alice, bob, coins):
    """More satoshis over many more bytes are less."""
    send(regtest, alice, bob, [coins[0]], 2_000)
    with pytest.raises(TxRefused, match=r"new feerate 0\.00010563 BTC/kvB <= old feerate 0\.00018018 BTC/kvB"):
        send(regtest, alice, bob, coins, 3_000)


def test_rule_3_pays_for_all_that_go(regtest, alice, bob, coins):
    """The fees of descendants count."""
    parent = send(regtest, alice, alice, [coins[0]], 200)
    child = send(regtest, alice, bob, [Outpoint(parent, 0)], 5_000)
    with pytest.raises(TxRefused, match=r"less fees than conflicting txs; 0\.00005 < 0\.000052"):
        send(regtest, alice, bob, [coins[0]], 5_000)
    assert set(regtest.node.mempool.entries) == {parent, child}
    new = send(regtest, alice, bob, [coins[0]], 5_200 + SPEND_VSIZE)
    assert set(regtest.node.mempool.entries) == {new}


def test_rule_2_adds_no_unconfirmed_input(regtest, alice, bob, coins):
    """A replacement may bring confirmed coins along, waiting ones only if the old one had them."""
    waiting = send(regtest, alice, alice, [coins[1]], 200)
    send(regtest, alice, bob, [coins[0]], 200)
    with pytest.raises(
        TxRefused, match=r"^replacement-adds-unconfirmed, replacement [0-9a-f]{64} adds unconfirmed input, idx 1$"
    ):
        send(regtest, alice, bob, [coins[0], Outpoint(waiting, 0)], 5_000)
    send(regtest, alice, bob, [coins[0], coins[2]], 5_000)


def test_conflict_with_its_own_ancestor(regtest, alice, bob, coins):
    """What spends an output of a transaction cannot replace it."""
    parent = send(regtest, alice, alice, [coins[0]], 200)
    with pytest.raises(
        TxRefused, match=rf"^bad-txns-spends-conflicting-tx, [0-9a-f]{{64}} spends conflicting transaction {parent}$"
    ):
        send(regtest, alice, bob, [Outpoint(parent, 0), coins[0]], 9_000)


def test_rule_5_evicts_a_hundred_at_most(regtest, alice, bob):
    """Five families of 21 are too many; four of 25 are not."""
    coins = regtest.fund(alice.address, VALUE, 5)

    def family(coin, children):
        outputs = [(alice.address, 5_000)] * children
        parent = regtest.send(regtest.pay(alice, [coin], [*outputs, (bob.address, 500_000)]))
        for vout in range(children):
            send(regtest, alice, bob, [Outpoint(parent, vout)], 200)

    for coin in coins[:4]:
        family(coin, 24)
    family(coins[4], 0)
    fee = 4_000_000
    with pytest.raises(TxRefused, match=r"too many potential replacements \(101 > 100\)"):
        send(regtest, alice, bob, coins, fee)
    assert len(regtest.node.mempool) == 101
    send(regtest, alice, bob, coins[:4], fee - 500_000)
    assert len(regtest.node.mempool) == 2


def test_rule_1_only_where_the_node_asks_for_signals(alice, bob):
    """With opt-in replacement a final transaction stays; a signalling parent makes its child replaceable."""
    with node_without_server(full_rbf=False) as regtest:
        coins = regtest.fund(alice.address, VALUE, 2)
        first = send(regtest, alice, bob, [coins[0]], 200, sequence=FINAL)
        with pytest.raises(TxRefused, match=r"^txn-mempool-conflict$"):
            send(regtest, alice, bob, [coins[0]], 2_000)
        parent = send(regtest, alice, alice, [coins[1]], 200)
        child = send(regtest, alice, bob, [Outpoint(parent, 0)], 200, sequence=FINAL)
        new = send(regtest, alice, bob, [Outpoint(parent, 0)], 2_000)
        assert set(regtest.node.mempool.entries) == {first, parent, new} != {first, parent, child}


def test_unsignalled_is_replaced_by_default(regtest, alice, bob, coins):
    """As Core does since 28."""
    send(regtest, alice, bob, [coins[0]], 200, sequence=FINAL)
    new = send(regtest, alice, bob, [coins[0]], 2_000)
    assert list(regtest.node.mempool.entries) == [new]


def test_badly_signed_replacement_evicts_nothing(regtest, alice, bob, coins):
    """Signatures are checked before anything goes."""
    old = send(regtest, alice, bob, [coins[0]], 200)
    forged = bytearray.fromhex(regtest.pay(alice, [coins[0]], [(bob.address, VALUE - 5_000)]))
    forged[-9] ^= 1
    with pytest.raises(TxRefused, match="Invalid Schnorr signature"):
        regtest.send(forged.hex())
    assert list(regtest.node.mempool.entries) == [old]
