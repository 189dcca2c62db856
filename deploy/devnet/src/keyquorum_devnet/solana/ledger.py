"""The ledger: LiteSVM with slots, a blockhash window, duplicate detection and a record of what was included.

LiteSVM executes transactions exactly as a validator does, but has no blocks: one blockhash is valid at a time. Its check
is off, and the order of a validator's bank is kept here: signatures, age of the blockhash (or durable nonce), duplicate,
then the runtime (fee payer, execution). What the runtime refuses to charge for was never included.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from solders.clock import Clock
from solders.hash import Hash
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import FailedTransactionMetadata, SimulatedTransactionInfo, TransactionMetadata
from solders.transaction_status import TransactionErrorFieldless as Refusal
from solders.transaction_status import TransactionErrorType

from keyquorum_devnet.solana import durable_nonce
from keyquorum_devnet.solana.blocks import (
    FIRST_SLOT,
    PROCESSING_AGE_MAX,
    SLOTS_PER_EPOCH,
    Block,
    BlockClock,
    Commitment,
)
from keyquorum_devnet.solana.messages import AnyMessage, compute_unit_price, is_writable, message_of
from keyquorum_devnet.solana.tokens import TokenBalance, token_balances

RECORDS_MAX = 100_000  # included transactions that are remembered; about 2 KiB each
FAUCET_LAMPORTS = 500_000_000 * 10**9


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of executing or simulating a transaction."""

    error: TransactionErrorType | None
    fee: int = 0  # lamports
    units: int = 0  # compute units
    logs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """An included transaction."""

    signature: Signature
    transaction: VersionedTransaction
    outcome: Outcome
    slot: int
    block_time: int  # seconds since the Unix epoch
    pre_balances: tuple[int, ...]
    post_balances: tuple[int, ...]
    pre_tokens: tuple[TokenBalance, ...] = ()
    post_tokens: tuple[TokenBalance, ...] = ()


class Ledger:
    """The state of the chain. Not thread-safe; every call is synchronous and takes well below a millisecond.

    ``entropy`` seeds the blockhashes; ``now`` gives seconds since the Unix epoch.
    """

    def __init__(
        self, entropy: bytes, now: Callable[[], float], *, confirmed_after: int = 1, finalized_after: int = 31
    ) -> None:
        self.blocks = BlockClock(entropy, confirmed_after=confirmed_after, finalized_after=finalized_after)
        self.svm = LiteSVM().with_blockhash_check(False).with_transaction_history(0).with_lamports(FAUCET_LAMPORTS)
        self.observers: list[Callable[[], None]] = []
        self.drop_next = 0  # how many sent transactions still get lost on the way to a leader
        self.transaction_count = 0
        self._forgotten = FIRST_SLOT - 1  # slot of the newest transaction that is not remembered any more
        self._now = now
        self._records: OrderedDict[Signature, Record] = OrderedDict()
        self._histories: dict[Pubkey, list[Signature]] = {}  # address -> transactions that name it, oldest first
        self._messages: dict[Hash, int] = {}  # hash of an included message -> slot
        self._prices: dict[int, dict[Pubkey, int]] = {}  # slot -> writable account -> least compute-unit price paid
        self._faucet = Keypair()
        self._airdrops = 0
        self.svm.airdrop(self._faucet.pubkey(), FAUCET_LAMPORTS // 2)
        self._set_clock(self.blocks.tip)

    @property
    def faucet(self) -> Keypair:
        """The account that airdrops come from."""
        return self._faucet

    def next_airdrop(self) -> int:
        """A number that no earlier airdrop had."""
        self._airdrops += 1
        return self._airdrops

    def advance(self, slots: int = 1) -> None:
        """Let time pass."""
        tip = self.blocks.tip
        for _ in range(slots):
            tip = self.blocks.advance()
        self._set_clock(tip)
        horizon = tip.slot - 2 * PROCESSING_AGE_MAX
        self._messages = {message: slot for message, slot in self._messages.items() if slot > horizon}
        self._prices = {slot: prices for slot, prices in self._prices.items() if slot > tip.slot - PROCESSING_AGE_MAX}
        self._notify()

    def simulate(
        self,
        transaction: VersionedTransaction,
        *,
        verify_signatures: bool,
        at: Block | None = None,
        any_blockhash: bool = False,
    ) -> Outcome:
        """Execute without effect, on the newest state. A blockhash younger than ``at`` is not found, which is what a
        client meets that asks for a preflight at a lower commitment than the one it got its blockhash at.
        ``any_blockhash`` skips the checks of age and duplicate."""
        refused = None if any_blockhash else self._refusal(message_of(transaction), at)[0]
        if refused is not None:
            return Outcome(refused)
        self.svm.with_sigverify(verify_signatures)
        try:
            result = self.svm.simulate_transaction(transaction)
        finally:
            self.svm.with_sigverify(True)
        return _outcome(result)

    def send(self, transaction: VersionedTransaction) -> None:
        """Take a transaction into the newest block, or drop it silently where a validator would."""
        message = message_of(transaction)
        if self.drop_next > 0:
            self.drop_next -= 1
            return
        refused, nonce_account = self._refusal(message)
        if refused is not None:
            return
        accounts = list(message.account_keys)
        pre_balances, pre_tokens = self._balances(accounts), tuple(token_balances(self.svm, accounts))
        outcome = _outcome(self.svm.send_transaction(transaction))
        post_balances, post_tokens = self._balances(accounts), tuple(token_balances(self.svm, accounts))
        if outcome.error is not None and pre_balances[0] == post_balances[0]:
            return  # not charged, so not included
        tip = self.blocks.tip
        if nonce_account is not None:
            durable_nonce.advance(self.svm, nonce_account, tip.blockhash)
        self._messages[message.hash()] = tip.slot
        self._note_price(message, tip.slot)
        signature = transaction.signatures[0]
        self._records[signature] = Record(
            signature=signature,
            transaction=transaction,
            outcome=outcome,
            slot=tip.slot,
            block_time=int(self._now()),
            pre_balances=pre_balances,
            post_balances=post_balances,
            pre_tokens=pre_tokens,
            post_tokens=post_tokens,
        )
        for account in accounts:
            self._histories.setdefault(account, []).append(signature)
        if len(self._records) > RECORDS_MAX:
            self._forget(self._records.popitem(last=False)[1])
        self.transaction_count += 1
        self._notify()

    def record(self, signature: Signature, *, history: bool = True) -> Record | None:
        """An included transaction; without ``history`` only among those of the last 150 slots."""
        record = self._records.get(signature)
        if record is None or (not history and self.blocks.tip.slot - record.slot > PROCESSING_AGE_MAX):
            return None
        return record

    def history(self, address: Pubkey) -> Iterator[Record]:
        """Included transactions that name an address, newest first."""
        return (self._records[signature] for signature in reversed(self._histories.get(address, [])))

    @property
    def first_slot(self) -> int:
        """From this slot on, every included transaction is remembered."""
        return self._forgotten + 1

    def commitment_of(self, record: Record) -> Commitment:
        """How settled an included transaction is."""
        return self.blocks.commitment_of(record.slot)

    def balance(self, address: Pubkey) -> int:
        """Lamports; 0 where there is no account."""
        return self.svm.get_balance(address) or 0

    def recent_prices(self, accounts: list[Pubkey]) -> Mapping[int, int]:
        """Slot to the least compute-unit price (micro-lamports) that got a transaction writing to any of ``accounts``
        into it, for the last 150 slots; with no accounts, that got any transaction in."""
        tip = self.blocks.tip.slot
        prices: dict[int, int] = {}
        for slot in range(tip - PROCESSING_AGE_MAX + 1, tip + 1):
            paid = self._prices.get(slot, {})
            named = [paid[account] for account in accounts if account in paid]
            prices[slot] = max(named, default=0) if accounts else min(paid.values(), default=0)
        return prices

    def _refusal(
        self, message: AnyMessage, at: Block | None = None
    ) -> tuple[TransactionErrorType | None, Pubkey | None]:
        nonce_account = None
        if not self.blocks.accepts(message.recent_blockhash, at=at):
            nonce_account = durable_nonce.may_use(self.svm, message, self.blocks.tip.blockhash)
            if nonce_account is None:
                return Refusal.BlockhashNotFound, None
        if message.hash() in self._messages:
            return Refusal.AlreadyProcessed, None
        return None, nonce_account

    def _forget(self, record: Record) -> None:
        self._forgotten = record.slot
        for account in message_of(record.transaction).account_keys:
            history = self._histories[account]
            history.remove(record.signature)
            if not history:
                del self._histories[account]

    def _balances(self, accounts: list[Pubkey]) -> tuple[int, ...]:
        return tuple(self.balance(account) for account in accounts)

    def _note_price(self, message: AnyMessage, slot: int) -> None:
        price = compute_unit_price(message)
        paid = self._prices.setdefault(slot, {})
        for index, account in enumerate(message.account_keys):
            if is_writable(message, index):
                paid[account] = min(paid.get(account, price), price)

    def _set_clock(self, tip: Block) -> None:
        epoch = tip.slot // SLOTS_PER_EPOCH
        self.svm.set_clock(Clock(tip.slot, 0, epoch, epoch + 1, int(self._now())))

    def _notify(self) -> None:
        for observer in self.observers:
            observer()


def _outcome(result: TransactionMetadata | SimulatedTransactionInfo | FailedTransactionMetadata) -> Outcome:
    error = result.err() if isinstance(result, FailedTransactionMetadata) else None
    meta = result if isinstance(result, TransactionMetadata) else result.meta()
    return Outcome(error, meta.fee(), meta.compute_units_consumed(), tuple(meta.logs()))
