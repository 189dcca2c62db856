"""Mining, reorganisations and invalid blocks."""

import pytest

from keyquorum_devnet.bitcoin import selection
from keyquorum_devnet.bitcoin.blocks import mine
from keyquorum_devnet.bitcoin.genesis import GENESIS_HASH
from keyquorum_devnet.bitcoin.kernel import BlockRefused
from keyquorum_devnet.bitcoin.node import UnknownBlock
from keyquorum_devnet.bitcoin.policy import TxRefused
from keyquorum_devnet.bitcoin.transactions import Outpoint, parse

VALUE = 1_000_000


def snapshot(regtest):
    """All that the indexes say."""
    chain = regtest.node.chain
    scripts = {coin.output.script for coin in chain.coins.values()}
    activity = {
        script: (chain.activity.of(script).funded_sum, chain.activity.of(script).spent_sum) for script in scripts
    }
    return chain.tip.hash, dict(chain.coins), dict(chain.spenders), activity


def pay(regtest, alice, bob, coin, fee=500):
    """Alice's coin to Bob: the txid."""
    return regtest.send(regtest.pay(alice, [coin], [(bob.address, VALUE - fee)]))


def test_reorg_brings_transactions_back_to_the_mempool(regtest, alice, bob):
    """Parent and child wait again in their order, and are mined again."""
    coin = regtest.fund(alice.address, VALUE)[0]
    parent = regtest.send(regtest.pay(alice, [coin], [(alice.address, VALUE - 500)]))
    regtest.mine()
    child = regtest.send(regtest.pay(alice, [Outpoint(parent, 0)], [(bob.address, VALUE - 1000)]))
    regtest.mine()
    waiting = regtest.send(regtest.pay(bob, [Outpoint(child, 0)], [(bob.address, VALUE - 1500)]))
    height = regtest.height
    regtest.reorg(2)
    assert regtest.height == height + 1
    assert list(regtest.node.mempool.entries) == [parent, child, waiting]
    assert regtest.node.mempool.entries[child].parents == {parent}
    assert regtest.node.chain.transaction(parent) is None
    assert list(regtest.node.chain.unspent(alice.script)) == [coin]
    regtest.mine()
    assert regtest.node.chain.transaction(waiting) is not None


def test_reorg_and_back(regtest, alice, bob):
    """Invalidate what won and the old chain is best again, with every index as it was."""
    coin = regtest.fund(alice.address, VALUE)[0]
    txid = pay(regtest, alice, bob, coin)
    regtest.mine(2)
    before = snapshot(regtest)
    old, new = regtest.node.reorganise(regtest.faucet.script, 2)
    assert regtest.node.chain.transaction(txid) is None
    assert txid in regtest.node.mempool
    assert [block.hash for block in regtest.node.chain.active[-3:]] == new
    regtest.node.invalidate(new[0])
    assert snapshot(regtest) == before
    assert [block.hash for block in regtest.node.chain.active[-2:]] == old
    assert len(regtest.node.mempool) == 0
    regtest.node.reconsider(new[0])
    assert regtest.node.chain.tip.hash == new[-1]
    assert txid in regtest.node.mempool


def test_invalidated_tip_leaves_a_shorter_chain(regtest):
    """As invalidateblock does: the height falls, and what is mined then competes with nothing."""
    height, tip = regtest.height, regtest.node.chain.tip.hash
    regtest.node.invalidate(tip)
    assert regtest.height == height - 1
    fresh = regtest.mine()[0]
    regtest.node.reconsider(tip)
    assert regtest.node.chain.tip.hash == fresh
    for unknown in ("ab" * 32, GENESIS_HASH):
        with pytest.raises(UnknownBlock):
            regtest.node.invalidate(unknown)


def test_dropped_and_kept_transactions(regtest, alice, bob):
    """A dropped one is forgotten with its child, a kept one is confirmed again, any other waits."""
    coins = regtest.fund(alice.address, VALUE, 3)
    dropped, kept, other = (pay(regtest, alice, bob, coin) for coin in coins)
    child = regtest.send(regtest.pay(bob, [Outpoint(dropped, 0)], [(bob.address, VALUE - 1000)]))
    regtest.mine()
    regtest.reorg(1, drop=[dropped], keep=[kept])
    assert list(regtest.node.mempool.entries) == [other]
    assert child not in regtest.node.mempool
    assert regtest.node.chain.transaction(kept) is not None
    assert coins[0] in regtest.node.chain.coins


def test_double_spend_in_a_reorg_wins(regtest, alice, bob):
    """A conflicting transaction of the new chain makes the old one impossible for good."""
    coin = regtest.fund(alice.address, VALUE)[0]
    paid = regtest.pay(alice, [coin], [(bob.address, VALUE - 500)])
    taken_back = regtest.pay(alice, [coin], [(alice.address, VALUE - 500)])
    txid = regtest.send(paid)
    regtest.mine()
    regtest.reorg(1, include=[taken_back])
    assert txid not in regtest.node.mempool
    assert regtest.node.chain.transaction(parse(bytes.fromhex(taken_back)).txid) is not None
    with pytest.raises(TxRefused, match="missingorspent"):
        regtest.send(paid)


def test_reorg_onto_an_invalid_block_changes_nothing(regtest, alice, bob):
    """The library calls every block new; the chain goes back to the valid one and the mempool with it."""
    coin = regtest.fund(alice.address, VALUE)[0]
    confirmed = pay(regtest, alice, bob, coin)
    regtest.mine()
    waiting = regtest.send(regtest.pay(bob, [Outpoint(confirmed, 0)], [(bob.address, VALUE - 1000)]))
    before, known = snapshot(regtest), set(regtest.node.blocks)
    forged = bytearray.fromhex(regtest.pay(alice, [coin], [(alice.address, VALUE - 500)]))
    forged[-9] ^= 1
    with pytest.raises(BlockRefused, match="consensus"):
        regtest.reorg(1, include=[forged.hex()])
    assert snapshot(regtest) == before
    assert set(regtest.node.blocks) == known
    assert list(regtest.node.mempool.entries) == [waiting]
    regtest.mine()
    assert regtest.node.chain.transaction(waiting) is not None


def test_coinbase_of_a_lost_block_takes_its_spends_along(regtest, alice, bob):
    """A reward that is no more cannot be spent by what waits."""
    block_hash = regtest.node.mine(alice.script)[0]
    reward = Outpoint(regtest.node.blocks[block_hash].transactions[0].txid, 0)
    regtest.mine(100)
    txid = regtest.send(regtest.pay(alice, [reward], [(bob.address, 50 * 10**8 - 500)]))
    regtest.reorg(1)
    assert txid in regtest.node.mempool
    regtest.reorg(103)
    assert txid not in regtest.node.mempool


@pytest.mark.parametrize(
    ("transactions", "fees"),
    [(["good"], 501), (["forged"], 500), (["good", "other"], 1000)],
    ids=["reward", "signature", "spent-twice"],
)
def test_blocks_that_break_a_rule_are_refused(regtest, alice, bob, transactions, fees):
    """A greedy miner, a forged signature, a coin spent twice: refused, though the library's answer calls the block new."""
    coin = regtest.fund(alice.address, VALUE)[0]
    good = parse(bytes.fromhex(regtest.pay(alice, [coin], [(bob.address, VALUE - 500)])))
    other = parse(bytes.fromhex(regtest.pay(alice, [coin], [(alice.address, VALUE - 500)])))
    forged = bytearray(good.raw)
    forged[-9] ^= 1
    known = {"good": good, "other": other, "forged": parse(bytes(forged))}
    before = snapshot(regtest)
    with pytest.raises(BlockRefused, match="consensus"):
        regtest.node.mine_one(regtest.faucet.script, [known[name] for name in transactions], fees)
    assert snapshot(regtest) == before
    regtest.node.mine_one(regtest.faucet.script, [good], 500)
    assert regtest.node.chain.transaction(good.txid) is not None


@pytest.mark.parametrize(("position", "value"), [(-1, b"\x01"), (72, b"\xff\xff\x00\x1d")], ids=["merkle", "proof"])
def test_tampered_blocks_are_refused(regtest, position, value):
    """Transactions that the header does not commit to, and work that was not done."""
    tip = regtest.node.chain.tip
    raw = bytearray(mine(tip, regtest.faucet.script, [], time=tip.time + 1, fees=0, extra=b"x"))
    position %= len(raw)
    raw[position : position + len(value)] = value
    before = snapshot(regtest)
    with pytest.raises(BlockRefused):
        regtest.node.submit_block(bytes(raw))
    assert snapshot(regtest) == before


def test_block_with_a_double_spend_evicts_what_waited(regtest, alice, bob):
    """A miner may take another transaction than the mempool has; that one and its child go."""
    coin = regtest.fund(alice.address, VALUE)[0]
    waiting = pay(regtest, alice, bob, coin)
    regtest.send(regtest.pay(bob, [Outpoint(waiting, 0)], [(bob.address, VALUE - 1000)]))
    other = parse(bytes.fromhex(regtest.pay(alice, [coin], [(alice.address, VALUE - 500)])))
    regtest.node.mine_one(regtest.faucet.script, [other], 500)
    assert len(regtest.node.mempool) == 0
    assert regtest.node.mempool.total_vsize == 0
    assert list(regtest.node.chain.unspent(alice.script)) == [Outpoint(other.txid, 0)]


def test_unknown_parent(regtest):
    """A block that follows nothing known is refused."""
    raw = bytearray(regtest.node.chain.tip.raw)
    raw[4:36] = bytes(32)
    with pytest.raises(BlockRefused, match="missing-prev"):
        regtest.node.submit_block(bytes(raw))


def test_miner_takes_the_best_rates_with_their_parents(regtest, alice, bob):
    """A child pays for its parent; what does not fit is left, and so is what is refused with its children."""
    coins = regtest.fund(alice.address, VALUE, 3)
    cheap = regtest.send(regtest.pay(alice, [coins[0]], [(alice.address, VALUE - 150)]))
    rich = regtest.send(regtest.pay(alice, [Outpoint(cheap, 0)], [(bob.address, VALUE - 5000)]))
    middle = pay(regtest, alice, bob, coins[1], 1_000)
    low = pay(regtest, alice, bob, coins[2], 200)
    weight = regtest.node.mempool.entries[low].transaction.weight
    mempool = regtest.node.mempool
    assert {entry.txid for entry in selection.for_block(mempool)} == {cheap, rich, middle, low}
    assert [entry.txid for entry in selection.for_block(mempool, weight_max=2 * weight)] == [cheap, rich]
    assert {entry.txid for entry in selection.for_block(mempool, without=[cheap])} == {middle, low}


def test_depths_that_the_chain_does_not_have(regtest):
    """Genesis stays."""
    for depth in (0, -1, regtest.height + 1):
        with pytest.raises(UnknownBlock):
            regtest.node.reorganise(regtest.faucet.script, depth)
