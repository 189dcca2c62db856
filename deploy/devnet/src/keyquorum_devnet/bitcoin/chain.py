"""Indexes of the best chain: blocks by height, coins, spenders, transactions, activity by script. They follow the consensus
code block by block, forth and back, and never decide anything."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from keyquorum_devnet.bitcoin.activity import Activity
from keyquorum_devnet.bitcoin.blocks import Block
from keyquorum_devnet.bitcoin.scripts import is_unspendable
from keyquorum_devnet.bitcoin.transactions import Outpoint, Transaction, TxOut

COINBASE_MATURITY = 100  # blocks


@dataclass(frozen=True, slots=True)
class Coin:
    """An output that can be spent. ``height`` is None where its transaction is not in a block."""

    output: TxOut
    height: int | None
    coinbase: bool = False

    def immature_at(self, height: int) -> bool:
        """Whether it is too young to be spent in a block at ``height``."""
        return self.coinbase and self.height is not None and height - self.height < COINBASE_MATURITY


class Spender(NamedTuple):
    """The input that spends an output."""

    txid: str
    vin: int


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A transaction in the best chain with the coins that it spends."""

    transaction: Transaction
    block: Block
    spent: tuple[Coin, ...]

    @property
    def fee(self) -> int:
        """Satoshis; 0 for a coinbase."""
        if not self.spent:
            return 0
        return sum(coin.output.value for coin in self.spent) - self.transaction.output_value


class Chain:
    """The best chain, indexed."""

    def __init__(self, genesis: Block) -> None:
        self.active: list[Block] = [genesis]
        self.coins: dict[Outpoint, Coin] = {}
        self.spenders: dict[Outpoint, Spender] = {}
        self.activity = Activity()
        self._heights = {genesis.hash: 0}
        self._transactions: dict[str, Confirmed] = {}
        self._unspent: dict[bytes, dict[Outpoint, Coin]] = {}

    @property
    def tip(self) -> Block:
        """The newest block."""
        return self.active[-1]

    def height_of(self, block_hash: str) -> int | None:
        """A block's height; None where it is not in the best chain."""
        return self._heights.get(block_hash)

    def transaction(self, txid: str) -> Confirmed | None:
        """A transaction of the best chain."""
        return self._transactions.get(txid)

    def unspent(self, script: bytes) -> Mapping[Outpoint, Coin]:
        """The coins of a script."""
        return self._unspent.get(script, {})

    def connect(self, block: Block) -> None:
        """A block joined the best chain."""
        self.active.append(block)
        self._heights[block.hash] = block.height
        for transaction in block.transactions:
            spent = () if transaction.is_coinbase else self._spend(transaction)
            self._transactions[transaction.txid] = Confirmed(transaction, block, spent)
            self.activity.add(transaction, [coin.output for coin in spent])
            for vout, output in enumerate(transaction.outputs):
                if not is_unspendable(output.script):
                    coin = Coin(output, block.height, transaction.is_coinbase)
                    self._put(Outpoint(transaction.txid, vout), coin)

    def disconnect(self) -> Block:
        """The newest block left the best chain."""
        block = self.active.pop()
        del self._heights[block.hash]
        for transaction in reversed(block.transactions):
            for vout, output in enumerate(transaction.outputs):
                if not is_unspendable(output.script):
                    self._take(Outpoint(transaction.txid, vout))
            spent = self._transactions.pop(transaction.txid).spent
            self.activity.remove(transaction, [coin.output for coin in spent])
            for vin, coin in enumerate(spent):
                outpoint = transaction.inputs[vin].outpoint
                del self.spenders[outpoint]
                self._put(outpoint, coin)
        return block

    def _spend(self, transaction: Transaction) -> tuple[Coin, ...]:
        spent = []
        for vin, source in enumerate(transaction.inputs):
            spent.append(self._take(source.outpoint))
            self.spenders[source.outpoint] = Spender(transaction.txid, vin)
        return tuple(spent)

    def _put(self, outpoint: Outpoint, coin: Coin) -> None:
        self.coins[outpoint] = coin
        self._unspent.setdefault(coin.output.script, {})[outpoint] = coin

    def _take(self, outpoint: Outpoint) -> Coin:
        coin = self.coins.pop(outpoint)
        of_script = self._unspent[coin.output.script]
        del of_script[outpoint]
        if not of_script:
            del self._unspent[coin.output.script]
        return coin
