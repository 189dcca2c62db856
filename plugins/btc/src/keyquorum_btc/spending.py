"""The one transaction that this plugin makes: coins of one account, paid to at most one destination.

Inputs: 1 to 16 coins of the account's own P2TR output, key path, each with a sequence that signals replacement (BIP125).
Outputs: one to a destination, at most one back to the account, at most one memo; or, for a cancellation, nothing but the
one back. Version is 2 and locktime 0: a party knows neither the time nor a block height, and so cannot tell a lock that
has passed from one under which a signed payment lies in wait for years.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from embit.script import Script, Witness
from embit.transaction import SIGHASH, Transaction, TransactionInput, TransactionOutput

from keyquorum_btc.addresses import require_payable
from keyquorum_btc.coin import Coin
from keyquorum_btc.limits import AMOUNT_MAX, FEE_MAX, INPUTS_MAX
from keyquorum_btc.memo import is_memo, memo_of
from keyquorum_btc.sizes import dust_limit, transaction_weight, vsize
from keyquorum_btc.taproot import output_script
from keyquorum_plugin_api.errors import FeeTooHigh, FeeTooLow, InsufficientFunds, InvalidAmount, InvalidPayload

VERSION = 2
LOCKTIME = 0
SEQUENCE = 0xFFFFFFFD


@dataclass(frozen=True, slots=True)
class Output:
    """Satoshi to a scriptPubKey."""

    script: bytes
    amount: int


@dataclass(frozen=True)
class Spend:
    """A transaction. Every instance may be signed; the constructor raises a :class:`ChainError` otherwise."""

    internal_key: bytes  # x-only, 32 bytes
    coins: tuple[Coin, ...]
    outputs: tuple[Output, ...]

    def __post_init__(self) -> None:
        """Check what no transaction may be."""
        self._check_coins()
        self._check_outputs()
        if self.fee < 0:
            raise InsufficientFunds("the coins do not pay for the outputs")
        if self.fee == 0:
            raise FeeTooLow("the network includes nothing without a fee")
        if self.fee > FEE_MAX:
            raise FeeTooHigh(f"a fee of more than {FEE_MAX} satoshi is never signed")

    def _check_coins(self) -> None:
        if not 0 < len(self.coins) <= INPUTS_MAX:
            raise InvalidPayload(f"a transaction spends 1 to {INPUTS_MAX} coins")
        if len({coin.outpoint for coin in self.coins}) != len(self.coins):
            raise InvalidPayload("a coin is spent twice")
        if sum(coin.amount for coin in self.coins) > AMOUNT_MAX:
            raise InvalidPayload("the coins are more than there will ever be")

    def _check_outputs(self) -> None:
        memos = [output for output in self.outputs if is_memo(output.script)]
        back = [output for output in self.outputs if output.script == self.source_script]
        paid = [output for output in self.outputs if output not in (*memos, *back)]
        if max(len(memos), len(back), len(paid)) > 1:
            raise InvalidPayload("a transaction pays one destination, with one memo and one change")
        if not paid and (memos or not back):
            raise InvalidPayload("a transaction pays a destination, or does nothing but return change")
        for output in (*paid, *back):
            require_payable(output.script)
            least = dust_limit(output.script)
            if type(output.amount) is not int or not least <= output.amount <= AMOUNT_MAX:
                raise InvalidAmount(
                    f"the network takes amounts from {least} to {AMOUNT_MAX} satoshi for such an output"
                )
        for output in memos:
            memo_of(output.script)
            if output.amount:
                raise InvalidAmount("what a memo's output holds would be lost")

    @cached_property
    def source_script(self) -> bytes:
        """What all coins are locked with, and where change returns to."""
        return output_script(self.internal_key)

    @property
    def transfer(self) -> Output | None:
        """What is paid to somebody else; None for a cancellation."""
        return next((out for out in self.outputs if not is_memo(out.script) and out.script != self.source_script), None)

    @property
    def change(self) -> int:
        """Satoshi that return to the source; 0 if nothing does."""
        return sum(output.amount for output in self.outputs if output.script == self.source_script)

    @property
    def memo(self) -> str:
        """The text, or nothing."""
        return next((memo_of(output.script) for output in self.outputs if is_memo(output.script)), "")

    @property
    def fee(self) -> int:
        """Satoshi that the network takes, exactly."""
        return sum(coin.amount for coin in self.coins) - sum(output.amount for output in self.outputs)

    @property
    def vsize(self) -> int:
        """Virtual bytes of the signed transaction, exactly."""
        return vsize(transaction_weight(len(self.coins), (len(output.script) for output in self.outputs)))

    @property
    def txid(self) -> str:
        """The id, known before it is signed: signatures are in the witness, which the id leaves out (BIP141)."""
        return str(self.transaction().txid().hex())

    @property
    def unsigned_bytes(self) -> bytes:
        """The transaction without witnesses."""
        return bytes(self.transaction().serialize())

    def transaction(self) -> Transaction:
        """The transaction as embit has it; a new one each time."""
        vin = [TransactionInput(bytes.fromhex(coin.txid), coin.vout, sequence=SEQUENCE) for coin in self.coins]
        vout = [TransactionOutput(output.amount, Script(output.script)) for output in self.outputs]
        return Transaction(version=VERSION, vin=vin, vout=vout, locktime=LOCKTIME)

    def sighashes(self) -> tuple[bytes, ...]:
        """What each input's key signs: BIP341, SIGHASH_DEFAULT, which commits to all inputs, amounts and outputs."""
        made = self.transaction()
        scripts = [Script(self.source_script)] * len(self.coins)
        amounts = [coin.amount for coin in self.coins]
        return tuple(
            made.sighash_taproot(index, script_pubkeys=scripts, values=amounts, sighash=SIGHASH.DEFAULT)
            for index in range(len(self.coins))
        )

    def signed(self, signatures: Sequence[bytes]) -> bytes:
        """The network serialization with one key-path signature per input; they are not verified here."""
        made = self.transaction()
        for spent, signature in zip(made.vin, signatures, strict=True):
            spent.witness = Witness([bytes(signature)])
        return bytes(made.serialize())
