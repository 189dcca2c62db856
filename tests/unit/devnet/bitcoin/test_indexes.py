"""The indexes against what follows from the blocks alone, whatever happens to the chain."""

from random import Random

import pytest

from keyquorum_devnet.bitcoin.policy import TxRefused
from keyquorum_devnet.bitcoin.scripts import is_unspendable
from keyquorum_devnet.bitcoin.transactions import Outpoint
from support.bitcoin_node import BitcoinNode, TaprootKey

STEPS = 80
REFUSALS = {"insufficient fee", "too-long-mempool-chain", "replacement-adds-unconfirmed"}
KEYS = [TaprootKey(number) for number in range(1, 5)]


def assert_consistent(regtest: BitcoinNode) -> None:
    """Every index is what a scan of the best chain and of the mempool says."""
    chain, mempool = regtest.node.chain, regtest.node.mempool
    coins, spenders, funded, spent = {}, {}, {}, {}
    for block in chain.active[1:]:
        assert chain.height_of(block.hash) == block.height
        for transaction in block.transactions:
            confirmed = chain.transaction(transaction.txid)
            assert confirmed is not None
            assert confirmed.block is block
            for vin, source in enumerate(() if transaction.is_coinbase else transaction.inputs):
                script, value = coins.pop(source.outpoint)
                spenders[source.outpoint] = (transaction.txid, vin)
                spent[script] = spent.get(script, 0) + value
            for vout, output in enumerate(transaction.outputs):
                funded[output.script] = funded.get(output.script, 0) + output.value
                if not is_unspendable(output.script):
                    coins[Outpoint(transaction.txid, vout)] = (output.script, output.value)
    assert {each: (coin.output.script, coin.output.value) for each, coin in chain.coins.items()} == coins
    assert chain.spenders == spenders
    for key in KEYS:
        of_script = {each for each, (script, _) in coins.items() if script == key.script}
        assert set(chain.unspent(key.script)) == of_script
        activity = chain.activity.of(key.script)
        assert (activity.funded_sum, activity.spent_sum) == (funded.get(key.script, 0), spent.get(key.script, 0))
    waiting = list(mempool)
    assert mempool.total_fee == sum(entry.fee for entry in waiting)
    assert set(mempool.spenders) == {source.outpoint for entry in waiting for source in entry.transaction.inputs}
    for entry in waiting:
        assert chain.transaction(entry.txid) is None
        assert entry.parents == mempool.parents_of(entry.transaction)
        assert all(entry.txid in mempool.entries[parent].children for parent in entry.parents)
        for source in entry.transaction.inputs:
            assert source.outpoint in coins or source.outpoint.txid in entry.parents


def pay(regtest: BitcoinNode, random: Random) -> None:
    """Somebody pays somebody from a coin of the chain or of the mempool, perhaps one that is spent already."""
    payer, payee = random.sample(KEYS, 2)
    waiting = [
        Outpoint(entry.txid, vout)
        for entry in regtest.node.mempool
        for vout, output in enumerate(entry.transaction.outputs)
        if output.script == payer.script
    ]
    sources = [*regtest.node.chain.unspent(payer.script), *waiting]
    if not sources:
        return
    source = random.choice(sources)
    value = regtest._value(source) - random.randrange(200, 3000)
    if value > 1000:
        try:
            regtest.send(regtest.pay(payer, [source], [(payee.address, value // 2), (payer.address, value // 2)]))
        except TxRefused as refused:
            if refused.reason not in REFUSALS:
                raise


@pytest.mark.parametrize("seed", range(3))
def test_indexes_follow_any_history(regtest, seed):
    """Payments, replacements, blocks, reorganisations and invalidations in any order: the next block is always valid."""
    random = Random(seed)
    for key in KEYS:
        regtest.fund(key.address, 1_000_000, 5)
    invalidated: list[str] = []
    for _ in range(STEPS):
        action = random.choices(["pay", "mine", "reorg", "invalidate", "reconsider"], [60, 12, 4, 2, 2])[0]
        recent = [tx.txid for block in regtest.node.chain.active[-3:] for tx in block.transactions[1:]]
        if action == "pay":
            pay(regtest, random)
        elif action == "mine":
            regtest.mine()
        elif action == "reorg":
            regtest.reorg(random.randrange(1, 4), drop=random.sample(recent, min(1, len(recent))))
        elif action == "invalidate":
            invalidated.append(random.choice(regtest.node.chain.active[-3:]).hash)
            regtest.node.invalidate(invalidated[-1])
        elif invalidated:
            regtest.node.reconsider(invalidated.pop())
        assert_consistent(regtest)
    regtest.mine()
    assert len(regtest.node.mempool) == 0
    assert_consistent(regtest)
