"""Submitting a signed transaction so that the answer is never wrong about money.

Nodes take the same bytes any number of times, but their answers are not to be taken literally: a lost answer may belong to a
sent transaction, and "already known" or "nonce too low" may be about this very one. So before anything but success is
reported, the node is asked whether it knows our own hash. Three classes of failure come out:

* nothing was broadcast (ChainUnavailable), or can be included any more (NonceConflict, FeeTooLow, …): building anew is safe;
* OutcomeUnknown: follow the hash, build nothing.

A nonce that another transaction took settles the matter: of two with one nonce, one is included at most.
"""

from collections import OrderedDict
from dataclasses import dataclass

from keyquorum_eth.addresses import checksummed
from keyquorum_eth.codec import transaction_id
from keyquorum_eth.limits import TRANSACTION_BYTES_MAX
from keyquorum_eth.network import chain_id_of
from keyquorum_eth.node import EthereumNode, TransactionView
from keyquorum_eth.payloads import Kind, Payload
from keyquorum_eth.rpc import NoAnswer, NodeError
from keyquorum_eth.transactions import DynamicFeeTransaction
from keyquorum_plugin_api.codec import SignedTransaction
from keyquorum_plugin_api.errors import (
    ChainError,
    ChainUnavailable,
    FeeTooLow,
    InsufficientFunds,
    InvalidPayload,
    NonceConflict,
    OutcomeUnknown,
    TransactionRejected,
)

ATTEMPTS = 2  # of the same bytes, when an answer got lost
SENT_MAX = 10_000  # transactions whose bytes are kept, to be sent again if the network forgets them

# What clients call their refusals (geth, reth, erigon, nethermind, besu, anvil), in lower case. Order matters.
_UNDERPRICED = ("replacement transaction underpriced", "replacementnotallowed", "gas price too low to replace")
_Refusal = tuple[type[ChainError], str, tuple[str, ...]]
_REPLACEMENT: _Refusal = (FeeTooLow, "the network wants a higher fee for a replacement", _UNDERPRICED)
_CONFLICT: _Refusal = (NonceConflict, "another transaction with this nonce waits to be included", _UNDERPRICED)
_REFUSALS: tuple[_Refusal, ...] = (
    (NonceConflict, "another transaction took the nonce", ("nonce too low", "oldnonce", "nonce is too low")),
    (
        InsufficientFunds,
        "the account cannot pay amount and fee",
        ("insufficient funds", "insufficient balance", "upfront cost exceeds"),
    ),
    (
        FeeTooLow,
        "the network wants a higher fee",
        ("less than block base fee", "underpriced", "feetoolow", "fee too low", "gas price below", "max fee per gas"),
    ),
    (
        TransactionRejected,
        "the node does not take the transaction",
        (
            "intrinsic gas",
            "exceeds block gas limit",
            "gas limit",
            "invalid chain id",
            "invalid sender",
            "tip above fee cap",
            "priority fee",
            "not supported",
            "nonce too high",
            "oversized",
            "in-flight transaction limit",
        ),
    ),
)
_LATER = ("txpool is full", "pool is full", "overflow", "too many requests", "rate limit")


@dataclass(frozen=True, slots=True)
class Submission:
    """A signed transaction of this chain that parses, verifies and has the hash that it claims."""

    raw: bytes
    txid: str
    transaction: DynamicFeeTransaction
    sender: bytes

    @property
    def account(self) -> str:
        """The sender's address."""
        return checksummed(self.sender)

    @property
    def place(self) -> tuple[bytes, int]:
        """Sender and nonce: of all transactions with them, one can be included."""
        return self.sender, self.transaction.nonce

    @property
    def payload(self) -> bytes:
        """The payload that was signed."""
        body = self.transaction.encode()
        return Payload(Kind.TRANSACTION, self.transaction.chain_id, self.sender, body).encode()

    @classmethod
    def parse(cls, signed: SignedTransaction) -> "Submission":
        """Check bytes before they leave; :class:`InvalidPayload` or :class:`SignatureInvalid`.

        Any dynamic-fee transaction of the chain is taken, not only our own: clients may submit what they signed themselves.
        """
        if not 0 < len(signed.raw) <= TRANSACTION_BYTES_MAX:
            raise InvalidPayload(f"a transaction has 1 to {TRANSACTION_BYTES_MAX} bytes")
        transaction, sender = DynamicFeeTransaction.decode_signed(signed.raw)
        if transaction.chain_id != chain_id_of(signed.chain):
            raise InvalidPayload("the transaction is for another chain")
        if transaction_id(signed.raw) != signed.txid:
            raise InvalidPayload("the transaction has another hash")
        return cls(signed.raw, signed.txid, transaction, sender)


class Submitter:
    """Hands submissions to the node, and remembers them."""

    def __init__(self, node: EthereumNode) -> None:
        self._node = node
        self._sent: OrderedDict[str, Submission] = OrderedDict()
        self._latest: dict[tuple[bytes, int], str] = {}  # sender and nonce -> the hash that was sent last

    async def submit(self, submission: Submission, *, replaces: bool = False) -> None:
        """Return once the node has taken the transaction or knows it already."""
        detail = ""
        for _ in range(ATTEMPTS):
            sent_before = submission.txid in self._sent
            try:
                found = await self._node.send(submission.raw)
            except NodeError as error:
                view = await self._view(submission)
                if view is not None and (view.receipt is not None or view.known is not None):
                    self._remember(submission)
                    return
                settled = view is not None and (view.final_count or 0) > submission.transaction.nonce
                raise self._explained(submission, error, replaces=replaces, settled=settled) from None
            except NoAnswer as error:
                if not error.acted and not sent_before:
                    raise ChainUnavailable(error.detail) from None
                detail = error.detail
            else:
                self._remember(submission)
                if found == submission.txid:
                    return
                detail = "the node gives the transaction another hash"
            self._remember(submission)
            if await self.knows(submission):
                return
        raise _unknown(submission, detail)

    async def again(self, txid: str) -> None:
        """Send the same bytes once more, for a network that has forgotten them.

        Nothing for what was not sent here, nor for what was replaced since: a cancelled payment is not brought back.
        """
        submission = self._sent.get(txid)
        if submission is not None and self._latest.get(submission.place) == txid:
            try:
                await self._node.send(submission.raw)
            except (NodeError, NoAnswer, ChainUnavailable):
                return  # whoever follows the transaction sees what became of it

    def was_sent(self, txid: str) -> bool:
        """Whether the bytes may have left here."""
        return txid in self._sent

    async def knows(self, submission: Submission) -> bool:
        """Whether the node knows the hash; no, where it does not say."""
        view = await self._view(submission)
        return view is not None and (view.receipt is not None or view.known is not None)

    async def _view(self, submission: Submission) -> TransactionView | None:
        try:
            return await self._node.transaction(submission.txid, submission.account)
        except ChainUnavailable:
            return None

    def _explained(self, submission: Submission, error: NodeError, *, replaces: bool, settled: bool) -> ChainError:
        """What a refusal means; ``settled`` where another transaction took the nonce for good."""
        text = error.message.lower()
        if settled:
            return NonceConflict("another transaction took the nonce, and nothing takes that back")
        if "already" in text or self.was_sent(submission.txid):
            self._remember(submission)
            return _unknown(submission, f"the node says {error}, and does not know it")
        if any(phrase in text for phrase in _LATER):
            return ChainUnavailable(f"the node does not take transactions now: {error}")
        for kind, detail, phrases in ((_REPLACEMENT if replaces else _CONFLICT), *_REFUSALS):
            if any(phrase in text for phrase in phrases):
                return kind(f"{detail}: {error.message}")
        self._remember(submission)
        return _unknown(submission, f"the node says {error}")

    def _remember(self, submission: Submission) -> None:
        self._sent[submission.txid] = submission
        self._sent.move_to_end(submission.txid)
        self._latest[submission.place] = submission.txid
        if len(self._sent) > SENT_MAX:
            txid, forgotten = self._sent.popitem(last=False)
            if self._latest.get(forgotten.place) == txid:
                del self._latest[forgotten.place]


def _unknown(submission: Submission, detail: str) -> OutcomeUnknown:
    return OutcomeUnknown(f"{detail}; follow {submission.txid}")
