"""Submitting a signed transaction so that the answer is never wrong about money.

``sendTransaction`` is idempotent on the network (a message is taken at most once), but its answers are not: a lost answer
may belong to a sent transaction, and a refusal may come from a node to which the transaction is old news. So before
anything but success is reported, the node is asked whether it knows the id. Three classes of failure come out:

* nothing was broadcast (ChainUnavailable, InsufficientFunds, …): building another is safe;
* it can never be included (Expired): building another is safe;
* OutcomeUnknown: follow the id, build nothing.
"""

from dataclasses import dataclass

from solders.message import Message, MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from keyquorum_plugin_api.errors import (
    ChainError,
    ChainUnavailable,
    Expired,
    InvalidPayload,
    OutcomeUnknown,
    SignatureInvalid,
)
from keyquorum_sol.lifetimes import Lifetime
from keyquorum_sol.limits import PACKET_BYTES_MAX
from keyquorum_sol.node import SolanaNode
from keyquorum_sol.panics import containing_panics
from keyquorum_sol.rejections import ALREADY_PROCESSED, BLOCKHASH_NOT_FOUND, rejection
from keyquorum_sol.rpc import NoAnswer, NodeError

ATTEMPTS = 2  # of the same bytes, when an answer got lost

_PREFLIGHT_FAILURE = -32002
_SIGNATURE_FAILURE = -32003
_INVALID_PARAMS = -32602


@dataclass(frozen=True, slots=True)
class Submission:
    """A signed transaction that parses, verifies and has the id that it claims."""

    raw: bytes
    txid: str
    transaction: VersionedTransaction

    @property
    def blockhash(self) -> str:
        """The blockhash that it names."""
        return str(self.transaction.message.recent_blockhash)

    @property
    def uses_nonce(self) -> bool:
        """Whether it names the value of a nonce account; it stays valid until that nonce is used."""
        return self.transaction.uses_durable_nonce()

    @property
    def nonce_account(self) -> Pubkey | None:
        """That account; None where there is none, or a lookup table has to be asked for it."""
        if not self.uses_nonce:
            return None
        keys = self.transaction.message.account_keys
        index = bytes(self.transaction.message.instructions[0].accounts)[0]
        return keys[index] if index < len(keys) else None

    @classmethod
    def parse(cls, raw: bytes, txid: str) -> "Submission":
        """Check bytes before they leave; :class:`InvalidPayload` or :class:`SignatureInvalid`.

        Any transaction of version legacy or 0 is taken, not only our own: clients may submit what they signed themselves.
        """
        if not 0 < len(raw) <= PACKET_BYTES_MAX:
            raise InvalidPayload(f"a transaction has 1 to {PACKET_BYTES_MAX} bytes")
        with containing_panics(InvalidPayload("not a Solana transaction")):
            transaction = VersionedTransaction.from_bytes(raw)
            transaction.sanitize()
            known = isinstance(transaction.message, Message | MessageV0) and bytes(transaction) == raw
            verified = known and all(transaction.verify_with_results())
        if not known:
            raise InvalidPayload("not a Solana transaction of version legacy or 0")
        if not verified:
            raise SignatureInvalid("a signature of the transaction does not verify")
        if str(transaction.signatures[0]) != txid:
            raise InvalidPayload("the transaction has another id")
        return cls(raw, txid, transaction)


class Submitter:
    """Hands submissions to the node."""

    def __init__(self, node: SolanaNode) -> None:
        self._node = node

    async def submit(self, submission: Submission, lifetime: Lifetime | None, *, sent_before: bool) -> None:
        """Return once the node has taken the transaction or knows it already.

        ``lifetime`` tells expiry from a node that has not seen the blockhash yet; without it, an unknown blockhash leaves
        the outcome unknown. After ``sent_before``, "nothing was broadcast" can no longer be said.
        """
        detail = ""
        for _ in range(ATTEMPTS):
            try:
                await self._node.send(submission.raw, preflight=True)
            except NodeError as error:
                await self._explain(submission, error, lifetime, sent_before=sent_before)
                return
            except NoAnswer as error:
                sent_before = sent_before or error.acted
                if not sent_before:
                    raise ChainUnavailable(error.detail) from None
                detail = error.detail
            else:
                return
            if await self._known(submission):
                return
        raise _unknown(submission, detail)

    async def _explain(
        self, submission: Submission, error: NodeError, lifetime: Lifetime | None, *, sent_before: bool
    ) -> None:
        """Return if the refusal means that the transaction is there already; raise what it means otherwise."""
        cause = error.data.get("err") if isinstance(error.data, dict) else None
        if await self._known(submission):
            return
        if error.code == _PREFLIGHT_FAILURE and cause == ALREADY_PROCESSED:
            # The message was taken, but the node does not know our id: a pool of nodes that are not equally far, or
            # another signature over the same message. Following the id tells them apart.
            raise _unknown(submission, "the network has taken this message already")
        if error.code == _PREFLIGHT_FAILURE and cause == BLOCKHASH_NOT_FOUND:
            await self._require_stale(submission, lifetime, sent_before=sent_before)
            return
        if sent_before:
            raise _unknown(submission, f"the node refuses now what may have been sent before ({error})")
        raise _refusal(submission, error, cause)

    async def _require_stale(self, submission: Submission, lifetime: Lifetime | None, *, sent_before: bool) -> None:
        if lifetime is None:
            raise _unknown(submission, "the node does not know the blockhash, or no longer")
        end = await lifetime.ended(self._node)
        if end is None:
            if sent_before or not lifetime.exact:
                raise _unknown(submission, "the node has not seen the blockhash yet")
            raise ChainUnavailable("the node does not take the transaction's blockhash or nonce yet")
        # Asked of a bank at least as far, or a node that lags would make an included payment look expired.
        again = await self._node.statuses([submission.txid])
        if again.statuses[0] is not None:
            return
        if again.slot < end.slot:
            raise _unknown(submission, "the nodes are not equally far")
        raise Expired(end.detail)

    async def _known(self, submission: Submission) -> bool:
        try:
            view = await self._node.statuses([submission.txid])
        except ChainUnavailable:
            return False
        return view.statuses[0] is not None


def _unknown(submission: Submission, detail: str) -> OutcomeUnknown:
    return OutcomeUnknown(f"{detail}; follow {submission.txid}")


def _refusal(submission: Submission, error: NodeError, cause: object) -> ChainError:
    if error.code == _PREFLIGHT_FAILURE:
        return rejection(error.message if cause is None else cause, submission.transaction)
    if error.code == _SIGNATURE_FAILURE:
        return SignatureInvalid("the node finds that a signature does not verify")
    if error.code == _INVALID_PARAMS:
        return rejection(error.message, submission.transaction)
    return ChainUnavailable(f"the node does not take transactions now: {error}")
