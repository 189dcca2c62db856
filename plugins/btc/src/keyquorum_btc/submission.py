"""Submitting a signed transaction so that the answer is never wrong about money.

A lost answer may belong to a transaction that was sent, and a refusal may come from a node to which it is old news. So
before anything but success is reported, the nodes are asked whether they know the id. Three classes of failure come out:

* nothing was broadcast (ChainUnavailable, FeeTooLow, TransactionRejected, …): building another is safe;
* another transaction has taken a coin (NonceConflict): building another is safe;
* OutcomeUnknown: follow the id, build nothing.

After the bytes may have left once, a refusal no longer means the first: other nodes may hold them. Only a conflict that
is buried deep says then that they can never be included.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from embit.transaction import Transaction

from keyquorum_btc.node import BitcoinNode, Outpoint, Spender
from keyquorum_btc.nodes import Nodes
from keyquorum_btc.transport import NoAnswer, Refused
from keyquorum_plugin_api.errors import (
    ChainError,
    ChainUnavailable,
    FeeTooHigh,
    FeeTooLow,
    InvalidPayload,
    NonceConflict,
    OutcomeUnknown,
    SignatureInvalid,
    TransactionRejected,
)

RAW_BYTES_MAX: Final = 100_000  # what nodes relay has at most 400,000 weight units
ATTEMPTS: Final = 2  # of the same bytes, when an answer got lost

# Reject reasons of Bitcoin Core's validation.cpp and its RPC errors, as texts begin or end with them.
_KNOWN = ("txn-already-in-mempool", "txn-already-known", "already in utxo set", "already in block chain")
_CONFLICT = (
    "bad-txns-inputs-missingorspent",
    "missing-inputs",
    "missing inputs",
    "txn-mempool-conflict",
    "bad-txns-spends-conflicting-tx",
)
_FEE_TOO_LOW = ("min relay fee not met", "mempool min fee not met", "insufficient fee", "mempool full")
_FEE_TOO_HIGH = ("max-fee-exceeded", "fee exceeds maximum")
_SIGNATURE = ("script-verify-flag-failed",)
_LATER = ("too-long-mempool-chain", "too many potential replacements", "replacement-adds-unconfirmed")


@dataclass(frozen=True, slots=True)
class Submission:
    """A signed transaction that parses and has the id that it claims."""

    raw: bytes
    txid: str
    outpoints: tuple[Outpoint, ...]  # that it spends

    @classmethod
    def parse(cls, raw: bytes, txid: str) -> "Submission":
        """Check bytes before they leave; :class:`InvalidPayload`.

        Any standard transaction with witnesses is taken, not only our own: clients may submit what they signed elsewhere.
        Its signatures are checked by whoever knows the coins: the codec that combined it, and the node.
        """
        if not 0 < len(raw) <= RAW_BYTES_MAX:
            raise InvalidPayload(f"a transaction has 1 to {RAW_BYTES_MAX} bytes")
        try:
            found = Transaction.parse(raw)
            whole = bytes(found.serialize()) == raw
            same = found.txid().hex() == txid
            signed = all(each.witness.items or each.script_sig.data for each in found.vin)
            outpoints = tuple(Outpoint(each.txid.hex(), each.vout) for each in found.vin)
        except Exception:  # noqa: BLE001 whatever the library makes of such bytes
            raise InvalidPayload("not a Bitcoin transaction") from None
        if not whole or not outpoints or not found.vout:
            raise InvalidPayload("not a Bitcoin transaction in its one serialization")
        if not signed:
            raise SignatureInvalid("an input of the transaction is not signed")
        if not same:
            raise InvalidPayload("the transaction has another id")
        return cls(raw, txid, outpoints)


class Submitter:
    """Hands submissions to the nodes, one after the other until one takes them."""

    def __init__(self, nodes: Nodes, *, final_confirmations: int) -> None:
        self._nodes = nodes
        self._final_confirmations = final_confirmations

    async def submit(self, submission: Submission, *, sent_before: bool) -> None:
        """Return once a node has taken the transaction or knows it already."""
        detail = ""
        for _ in range(ATTEMPTS):
            for node in await self._open(submission, sent_before=sent_before):
                try:
                    given = await node.broadcast(submission.raw)
                except Refused as error:
                    await self._explain(submission, error, sent_before=sent_before)
                    return
                except NoAnswer as error:
                    sent_before = sent_before or error.acted
                    detail = error.detail
                else:
                    if given == submission.txid:
                        return
                    sent_before, detail = True, "the node names another transaction"
            if await self._known(submission):
                return
            if not sent_before:
                raise ChainUnavailable(detail)
        raise _unknown(submission, detail)

    async def conflict(self, outpoints: Sequence[Outpoint], txid: str) -> tuple[str, bool] | None:
        """The transaction that spends a coin of ``txid`` instead of it, and whether it is too deep to be undone."""
        shallow = None
        for outpoint in outpoints:
            spender = await self._spender(outpoint)
            if spender is None or spender.txid == txid:
                continue
            if spender.block is not None:
                depth = (await self._nodes.tip()).height - spender.block.height + 1
                if depth >= self._final_confirmations:
                    return spender.txid, True
            shallow = spender.txid
        return None if shallow is None else (shallow, False)

    async def _open(self, submission: Submission, *, sent_before: bool) -> Sequence[BitcoinNode]:
        try:
            return await self._nodes.each()
        except ChainUnavailable as error:
            if sent_before:
                raise _unknown(submission, error.detail) from None
            raise

    async def _explain(self, submission: Submission, error: Refused, *, sent_before: bool) -> None:
        """Return if the refusal means that the transaction is there already; raise what it means otherwise."""
        if _says(error, _KNOWN) or await self._known(submission):
            return
        conflict = await self._conflict(submission)
        if conflict is not None and conflict[1]:
            raise NonceConflict("another transaction, which is final, spends a coin of this one")
        if sent_before:
            raise _unknown(submission, f"the node refuses now what may have been sent before ({error})")
        if conflict is not None and not _says(error, _FEE_TOO_LOW):
            raise NonceConflict("another transaction spends a coin of this one")
        raise _refusal(error)

    async def _spender(self, outpoint: Outpoint) -> Spender | None:
        return await self._nodes.ask(lambda node: node.spender(outpoint))

    async def _conflict(self, submission: Submission) -> tuple[str, bool] | None:
        try:
            return await self.conflict(submission.outpoints, submission.txid)
        except ChainUnavailable:
            return None

    async def _known(self, submission: Submission) -> bool:
        try:
            return await self._nodes.ask(lambda node: node.transaction(submission.txid)) is not None
        except ChainUnavailable:
            return False


def _unknown(submission: Submission, detail: str) -> OutcomeUnknown:
    return OutcomeUnknown(f"{detail}; follow {submission.txid}")


def _says(error: Refused, reasons: Sequence[str]) -> bool:
    message = error.message.lower()
    return any(reason in message for reason in reasons)


def _refusal(error: Refused) -> ChainError:
    if _says(error, _CONFLICT):
        return NonceConflict("a coin of the transaction is spent, or is not there any more")
    if _says(error, _FEE_TOO_LOW):
        return FeeTooLow(f"the node wants a higher fee: {error.message}")
    if _says(error, _FEE_TOO_HIGH):
        return FeeTooHigh("the node finds the fee too high")
    if _says(error, _SIGNATURE):
        return SignatureInvalid("the node finds that a signature does not verify")
    if _says(error, _LATER):
        return ChainUnavailable(f"the network cannot take the transaction now: {error.message}")
    return TransactionRejected(f"the node refuses the transaction: {error}")
