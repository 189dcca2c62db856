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
from solders.transaction import VersionedTransaction

from keyquorum_plugin_api.errors import (
    ChainError,
    ChainUnavailable,
    Expired,
    InvalidPayload,
    OutcomeUnknown,
    SignatureInvalid,
)
from keyquorum_sol.limits import PACKET_BYTES_MAX
from keyquorum_sol.node import SolanaNode
from keyquorum_sol.panics import containing_panics
from keyquorum_sol.rejections import ALREADY_PROCESSED, BLOCKHASH_NOT_FOUND, rejection
from keyquorum_sol.rpc import NoAnswer, NodeError

BLOCKHASH_AGE_MAX = 150  # blocks for which a blockhash may be named
ATTEMPTS = 2  # of the same bytes, when an answer got lost

_PREFLIGHT_FAILURE = -32002
_SIGNATURE_FAILURE = -32003
_INVALID_PARAMS = -32602


@dataclass(frozen=True, slots=True)
class Validity:
    """The last block height at which a transaction may be included; an upper bound of it where not ``exact``."""

    last_block_height: int
    exact: bool = True

    @classmethod
    def bounded(cls, height: int) -> "Validity":
        """Of a transaction whose blockhash is of unknown age, seen while a node was at ``height``.

        The blockhash existed then, so it is at most as new as the cluster, which a node that calls itself healthy is at
        most one window behind; from there it lives for another.
        """
        return cls(height + 2 * BLOCKHASH_AGE_MAX, exact=False)


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
    def may_expire(self) -> bool:
        """Whether it names a blockhash; one that uses a durable nonce stays valid until the nonce is used."""
        return not self.transaction.uses_durable_nonce()

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

    async def submit(self, submission: Submission, validity: Validity | None, *, sent_before: bool) -> None:
        """Return once the node has taken the transaction or knows it already.

        ``validity`` tells expiry from a node that has not seen the blockhash yet; without it, an unknown blockhash leaves
        the outcome unknown. After ``sent_before``, "nothing was broadcast" can no longer be said.
        """
        detail = ""
        for _ in range(ATTEMPTS):
            try:
                await self._node.send(submission.raw, preflight=True)
            except NodeError as error:
                await self._explain(submission, error, validity, sent_before=sent_before)
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
        self, submission: Submission, error: NodeError, validity: Validity | None, *, sent_before: bool
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
            await self._require_stale(submission, validity, sent_before=sent_before)
            return
        if sent_before:
            raise _unknown(submission, f"the node refuses now what may have been sent before ({error})")
        raise _refusal(submission, error, cause)

    async def _require_stale(self, submission: Submission, validity: Validity | None, *, sent_before: bool) -> None:
        if validity is None:
            raise _unknown(submission, "the node does not know the blockhash, or no longer")
        view = await self._node.epoch_info()
        if view.block_height <= validity.last_block_height:
            if sent_before or not validity.exact:
                raise _unknown(submission, "the node has not seen the blockhash yet")
            raise ChainUnavailable("the node has not seen the transaction's blockhash yet")
        # Asked of a bank at least as far, or a node that lags would make an included payment look expired.
        again = await self._node.statuses([submission.txid])
        if again.statuses[0] is not None:
            return
        if again.slot < view.slot:
            raise _unknown(submission, "the nodes are not equally far")
        raise Expired(f"valid until height {validity.last_block_height}, and the chain is at {view.block_height}")

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
