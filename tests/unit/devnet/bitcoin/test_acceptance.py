"""Admission to the mempool, on a chain."""

import pytest

from keyquorum_devnet.bitcoin.node import AlreadyConfirmed, FeeTooHigh
from keyquorum_devnet.bitcoin.policy import TxRefused
from keyquorum_devnet.bitcoin.scripts import address_of
from keyquorum_devnet.bitcoin.transactions import Outpoint, parse

VALUE = 100_000
SPEND_VSIZE = 111  # one Taproot input by key path, one Taproot output


@pytest.fixture
def coin(regtest, alice):
    """A confirmed coin of Alice."""
    return regtest.fund(alice.address, VALUE)[0]


def one_output(regtest, alice, bob, coin, fee, **options):
    """Alice's coin to Bob."""
    return regtest.pay(alice, [coin], [(bob.address, VALUE - fee)], **options)


def test_a_good_transaction_waits_and_is_mined(regtest, alice, bob, coin):
    """Its fee and its place are known; after a block it waits no more, and cannot be sent again."""
    signed = one_output(regtest, alice, bob, coin, 500)
    txid = regtest.send(signed)
    entry = regtest.node.mempool.get(txid)
    assert entry is not None
    assert (entry.fee, entry.vsize) == (500, SPEND_VSIZE)
    assert regtest.send(signed) == txid
    assert len(regtest.node.mempool) == 1
    regtest.mine()
    assert len(regtest.node.mempool) == 0
    assert list(regtest.node.chain.unspent(bob.script)) == [Outpoint(txid, 0)]
    assert regtest.node.chain.tip.transactions[0].output_value == 50 * 10**8 + 500
    with pytest.raises(AlreadyConfirmed):
        regtest.send(signed)


def test_least_fee(regtest, alice, bob, coin):
    """One satoshi per virtual byte is enough, one satoshi less is not."""
    low = one_output(regtest, alice, bob, coin, SPEND_VSIZE - 1)
    with pytest.raises(TxRefused, match=f"^min relay fee not met, {SPEND_VSIZE - 1} < {SPEND_VSIZE}$"):
        regtest.send(low)
    regtest.send(one_output(regtest, alice, bob, coin, SPEND_VSIZE))


def test_fee_above_what_the_sender_allowed(regtest, alice, bob, coin):
    """The limit is a rate."""
    transaction = parse(bytes.fromhex(one_output(regtest, alice, bob, coin, SPEND_VSIZE * 10)))
    with pytest.raises(FeeTooHigh):
        regtest.node.broadcast(transaction, 9.99)
    assert len(regtest.node.mempool) == 0
    regtest.node.broadcast(transaction, 10.0)


def test_wrong_signature(regtest, alice, bob, coin):
    """Every byte of a signature counts; so does its key."""
    signed = one_output(regtest, alice, bob, coin, 500)
    for position in (-9, -30, -72):
        forged = bytearray.fromhex(signed)
        forged[position] ^= 1
        with pytest.raises(TxRefused, match=r"mandatory-script-verify-flag-failed \(Invalid Schnorr signature\)"):
            regtest.send(forged.hex())
    with pytest.raises(TxRefused, match="Invalid Schnorr signature"):
        regtest.send(one_output(regtest, bob, alice, coin, 500))
    assert len(regtest.node.mempool) == 0


def test_missing_witness(regtest, alice, bob, coin):
    """An unsigned transaction is refused, whatever else is right."""
    signed = bytes.fromhex(one_output(regtest, alice, bob, coin, 500))
    unsigned = signed[:4] + signed[6 : -4 - 66] + signed[-4:]
    with pytest.raises(TxRefused, match="empty witness"):
        regtest.send(unsigned.hex())


def test_missing_and_spent_inputs(regtest, alice, bob, coin):
    """A coin that never was, and one that is gone."""
    with pytest.raises(TxRefused, match=r"^bad-txns-inputs-missingorspent$") as caught:
        regtest.send(one_output(regtest, alice, bob, Outpoint("ab" * 32, 0), 500))
    assert caught.value.missing_inputs
    regtest.send(one_output(regtest, alice, bob, coin, 500))
    regtest.mine()
    with pytest.raises(TxRefused, match="missingorspent"):
        regtest.send(one_output(regtest, alice, bob, coin, 900))


def test_more_out_than_in(regtest, alice, bob, coin):
    """No transaction creates money."""
    with pytest.raises(TxRefused, match=r"^bad-txns-in-belowout, value in \(0\.001\) < value out \(0\.00100001\)$"):
        regtest.send(one_output(regtest, alice, bob, coin, -1))


def test_coinbase_matures_after_100_blocks(regtest, alice, bob):
    """In the 100th block after its own it may be spent, not in the 99th."""
    block_hash = regtest.node.mine(alice.script)[0]
    reward = Outpoint(regtest.node.blocks[block_hash].transactions[0].txid, 0)
    signed = regtest.pay(alice, [reward], [(bob.address, 50 * 10**8 - 500)])
    regtest.mine(98)
    with pytest.raises(TxRefused, match=r"^bad-txns-premature-spend-of-coinbase, tried to spend coinbase at depth 99$"):
        regtest.send(signed)
    regtest.mine()
    txid = regtest.send(signed)
    regtest.mine()
    assert regtest.node.chain.transaction(txid) is not None


def test_lock_times(regtest, alice, bob, coin):
    """Absolute and relative locks hold until their block."""
    height = regtest.height
    with pytest.raises(TxRefused, match=r"^non-final$"):
        regtest.send(one_output(regtest, alice, bob, coin, 500, locktime=height + 1))
    with pytest.raises(TxRefused, match=r"^non-BIP68-final$"):
        regtest.send(one_output(regtest, alice, bob, coin, 500, sequence=3))
    regtest.mine(2)
    regtest.send(one_output(regtest, alice, bob, coin, 500, sequence=3, locktime=height + 2))
    regtest.mine()
    assert list(regtest.node.chain.unspent(bob.script))


def test_output_to_an_unknown_witness_version_may_be_sent_but_not_spent(regtest, alice, bob, coin):
    """Relay leaves future versions to those who know them."""
    future = address_of(b"\x52\x20" + bytes(32))
    txid = regtest.send(regtest.pay(alice, [coin], [(future, VALUE - 500)]))
    regtest.mine()
    with pytest.raises(TxRefused, match="bad-txns-nonstandard-inputs"):
        regtest.send(regtest.pay(alice, [Outpoint(txid, 0)], [(bob.address, VALUE - 1000)]))


def test_chains_of_waiting_transactions_have_25_links(regtest, alice, coin):
    """The 26th waits for a block."""
    value, source = VALUE, coin
    for _ in range(25):
        value -= 200
        source = Outpoint(regtest.send(regtest.pay(alice, [source], [(alice.address, value)])), 0)
    late = regtest.pay(alice, [source], [(alice.address, value - 200)])
    with pytest.raises(TxRefused, match=r"^too-long-mempool-chain, too many unconfirmed ancestors \[limit: 25\]$"):
        regtest.send(late)
    regtest.mine()
    assert regtest.node.chain.transaction(source.txid) is not None
    regtest.send(late)


def test_descendants_are_limited_to_25(regtest, alice, coin):
    """A parent with 24 children has no room for another."""
    parent = regtest.send(regtest.pay(alice, [coin], [(alice.address, 3_000)] * 30))
    for vout in range(24):
        regtest.send(regtest.pay(alice, [Outpoint(parent, vout)], [(alice.address, 2_500)]))
    with pytest.raises(TxRefused, match=rf"too many descendants for tx {parent} \[limit: 25\]"):
        regtest.send(regtest.pay(alice, [Outpoint(parent, 24)], [(alice.address, 2_500)]))


def test_same_transaction_with_another_witness(regtest, alice, bob, coin):
    """The id leaves the witness out: the second is known already."""
    signed = one_output(regtest, alice, bob, coin, 500)
    regtest.send(signed)
    other = bytearray.fromhex(signed)
    other[-9] ^= 1
    with pytest.raises(TxRefused, match="txn-same-nonwitness-data-in-mempool"):
        regtest.node.check(parse(bytes(other)))
