"""Coins for whoever asks: the miner's rewards, paid out from one Taproot key that lives as long as the process."""

from typing import Final

from embit import ec
from embit.script import Script, Witness
from embit.transaction import Transaction as UnsignedTransaction
from embit.transaction import TransactionInput, TransactionOutput

from keyquorum_devnet.bitcoin.chain import Coin
from keyquorum_devnet.bitcoin.node import Node
from keyquorum_devnet.bitcoin.policy import dust_limit
from keyquorum_devnet.bitcoin.scripts import Kind, kind_of
from keyquorum_devnet.bitcoin.transactions import Outpoint, Transaction, TxOut, parse

FEE_RATE: Final = 2  # sat/vB
COINS_MAX: Final = 2_000  # outputs of one payment, which stay below the standard weight
_OVERHEAD_VSIZE, _INPUT_VSIZE, _OUTPUT_VSIZE = 11, 58, 43  # virtual bytes, Taproot


class FaucetEmpty(Exception):
    """Too few mature coins; more blocks bring more."""


class Faucet:
    """``secret`` is the key that the chain's blocks pay: 32 bytes."""

    def __init__(self, node: Node, secret: bytes) -> None:
        self._node = node
        internal = ec.PrivateKey(secret)
        self._key = internal.taproot_tweak(b"")
        self.script = b"\x51\x20" + self._key.get_public_key().xonly()

    def balance(self) -> int:
        """Satoshis that could be paid out now."""
        return sum(coin.output.value for _outpoint, coin in self._spendable())

    def fund(self, script: bytes, value: int, count: int = 1) -> list[Outpoint]:
        """Send ``count`` coins of ``value`` satoshis each; they wait in the mempool. ValueError for an amount that cannot
        be sent; :class:`FaucetEmpty`."""
        output = TxOut(value, script)
        if (
            not 1 <= count <= COINS_MAX
            or value < dust_limit(output)
            or kind_of(script) in (Kind.EMPTY, Kind.NONSTANDARD)
        ):
            raise ValueError(f"a payment is 1 to {COINS_MAX} coins of at least {dust_limit(output)} satoshis")
        sources, change = self._select(value * count, _OVERHEAD_VSIZE + _OUTPUT_VSIZE * (count + 1))
        outputs = [output] * count + ([TxOut(change, self.script)] if change else [])
        transaction = self._signed(sources, outputs)
        self._node.broadcast(transaction)
        return [Outpoint(transaction.txid, vout) for vout in range(count)]

    def _spendable(self) -> list[tuple[Outpoint, Coin]]:
        """Confirmed, mature and not spent by a waiting transaction; largest first."""
        chain, mempool = self._node.chain, self._node.mempool
        coins = [
            (outpoint, coin)
            for outpoint, coin in chain.unspent(self.script).items()
            if coin.output.value  # a late block's subsidy is nothing
            and outpoint not in mempool.spenders
            and not coin.immature_at(chain.tip.height + 1)
        ]
        return sorted(coins, key=lambda each: -each[1].output.value)

    def _select(self, value: int, vsize: int) -> tuple[list[tuple[Outpoint, Coin]], int]:
        """Coins that cover a value and the fee, and the change."""
        chosen: list[tuple[Outpoint, Coin]] = []
        total = 0
        for outpoint, coin in self._spendable():
            chosen.append((outpoint, coin))
            total += coin.output.value
            change = total - value - FEE_RATE * (vsize + _INPUT_VSIZE * len(chosen))
            if change >= 0:
                return chosen, change if change >= dust_limit(TxOut(change, self.script)) else 0
        raise FaucetEmpty(f"the faucet has {total} mature satoshis, not {value} and the fee; mine blocks")

    def _signed(self, sources: list[tuple[Outpoint, Coin]], outputs: list[TxOut]) -> Transaction:
        unsigned = UnsignedTransaction(
            version=2,
            vin=[TransactionInput(bytes.fromhex(outpoint.txid), outpoint.vout) for outpoint, _coin in sources],
            vout=[TransactionOutput(output.value, Script(output.script)) for output in outputs],
        )
        scripts = [Script(coin.output.script) for _outpoint, coin in sources]
        values = [coin.output.value for _outpoint, coin in sources]
        for index in range(len(sources)):
            digest = unsigned.sighash_taproot(index, scripts, values)
            unsigned.vin[index].witness = Witness([self._key.schnorr_sign(digest).serialize()])
        return parse(unsigned.serialize())
