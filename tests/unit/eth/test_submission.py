"""Submitting: every answer of a node, and what it means about money."""

from typing import Any

import pytest

from keyquorum_eth.node import EthereumNode
from keyquorum_eth.submission import Submission, Submitter
from keyquorum_plugin_api.errors import (
    ChainError,
    ChainUnavailable,
    FeeTooLow,
    InsufficientFunds,
    NonceConflict,
    OutcomeUnknown,
    TransactionRejected,
)
from keyquorum_plugin_api.testing import refused
from keyquorum_plugin_api.testing.codec_conformance import built, signatures_of
from support.ethereum_script import block, receipt
from support.ethereum_target import EthereumCodecTarget
from support.scripted_rpc import Reply, ScriptedNode, body, error, hang_up, result

SENDS = "eth_sendRawTransaction"


@pytest.fixture
def submission(target: EthereumCodecTarget) -> Submission:
    """A transfer with nonce 7."""
    unsigned = built(target)
    return Submission.parse(target.codec.combine(unsigned, signatures_of(target, unsigned)))


@pytest.fixture
def submitter(node: EthereumNode, script: ScriptedNode) -> Submitter:
    knows(script, receipt=None)
    return Submitter(node)


def knows(script: ScriptedNode, *, receipt: Any = None, pending: Any = None, final_count: int = 0) -> None:
    """What the node says of the transaction when it is asked."""
    script.says("eth_getBlockByNumber", result(block()))
    script.says("eth_getTransactionReceipt", result(receipt))
    script.says("eth_getTransactionByHash", result(pending))
    script.says("eth_getTransactionCount", result(hex(final_count)))


REFUSALS: dict[str, tuple[Reply, type[ChainError]]] = {
    "geth: nonce": (error(-32000, "nonce too low: next nonce 9, tx nonce 7"), NonceConflict),
    "geth: price": (error(-32000, "replacement transaction underpriced"), NonceConflict),
    "geth: fee": (error(-32000, "max fee per gas less than block base fee: address 0x, maxFeePerGas: 1"), FeeTooLow),
    "geth: tip": (error(-32000, "transaction underpriced: gas tip cap 0, minimum needed 1"), FeeTooLow),
    "geth: funds": (error(-32000, "insufficient funds for gas * price + value: balance 0"), InsufficientFunds),
    "geth: gas": (error(-32000, "intrinsic gas too low: gas 21000, minimum needed 21400"), TransactionRejected),
    "geth: block": (error(-32000, "exceeds block gas limit"), TransactionRejected),
    "geth: full": (error(-32000, "txpool is full"), ChainUnavailable),
    "nethermind: nonce": (error(-32010, "OldNonce, Current nonce: 9, nonce of rejected tx: 7"), NonceConflict),
    "nethermind: price": (error(-32010, "ReplacementNotAllowed, Price is too low"), NonceConflict),
    "besu: funds": (error(-32004, "Upfront cost exceeds account balance"), InsufficientFunds),
    "anvil: funds": (error(-32003, "Insufficient funds for gas * price + value"), InsufficientFunds),
    "rate limit": (error(-32005, "limit exceeded"), ChainUnavailable),
    "HTTP rate limit": (body("", status=429), ChainUnavailable),
    "already known, but is not": (error(-32000, "already known"), OutcomeUnknown),
    "already imported, but is not": (error(-32003, "transaction already imported"), OutcomeUnknown),
    "something else": (error(-32603, "internal error"), OutcomeUnknown),
    "lost": (hang_up, OutcomeUnknown),
    "HTTP error": (body("", status=502), OutcomeUnknown),
    "another hash": (result("0x" + "ee" * 32), OutcomeUnknown),
    "no hash": (result(True), OutcomeUnknown),
    "null": (result(None), OutcomeUnknown),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_refusals_say_whether_paying_again_is_safe(
    submitter: Submitter, submission: Submission, script: ScriptedNode, name: str
) -> None:
    """Only what nothing can come of any more is anything but an unknown outcome."""
    answer, kind = REFUSALS[name]
    script.says(SENDS, answer)
    with refused(kind, what=name):
        await submitter.submit(submission)
    assert {params[0] for params in script.called(SENDS)} == {f"0x{submission.raw.hex()}"}


@pytest.mark.parametrize("name", REFUSALS)
async def test_what_the_node_knows_was_submitted(
    submitter: Submitter, submission: Submission, script: ScriptedNode, name: str
) -> None:
    """However it answered the submission, unless it says that it did not look."""
    answer, kind = REFUSALS[name]
    if "rate limit" in name:
        script.says(SENDS, answer, result(submission.txid))
        with refused(kind):
            await submitter.submit(submission)
        await submitter.submit(submission)
        return
    knows(script, pending={"hash": submission.txid, "blockHash": None})
    script.says(SENDS, answer)
    await submitter.submit(submission)
    knows(script, receipt=receipt(submission.txid))
    await submitter.submit(submission)


async def test_a_lost_answer_is_asked_for_with_the_same_bytes(
    submitter: Submitter, submission: Submission, script: ScriptedNode
) -> None:
    """Once; then the outcome is unknown, and no refusal makes it known again."""
    script.says(SENDS, hang_up, result(submission.txid))
    await submitter.submit(submission)
    assert len(script.called(SENDS)) == 2
    for later in ("nonce too low", "insufficient funds", "replacement transaction underpriced"):
        script.says(SENDS, error(-32000, later))
        with refused(OutcomeUnknown, what=later):
            await submitter.submit(submission)


async def test_a_nonce_that_is_gone_for_good_settles_it(
    submitter: Submitter, submission: Submission, script: ScriptedNode
) -> None:
    """Also for bytes that were sent before: another transaction with the nonce is final."""
    script.says(SENDS, result(submission.txid), error(-32000, "nonce too low"))
    await submitter.submit(submission)
    knows(script, final_count=7)
    with refused(OutcomeUnknown):
        await submitter.submit(submission)
    knows(script, final_count=8)
    with refused(NonceConflict):
        await submitter.submit(submission)


async def test_a_replacement_that_offers_too_little(
    submitter: Submitter, submission: Submission, script: ScriptedNode
) -> None:
    """Is told so, as another one can offer more."""
    script.says(SENDS, error(-32000, "replacement transaction underpriced"))
    with refused(FeeTooLow):
        await submitter.submit(submission, replaces=True)


async def test_a_node_of_another_chain_gets_nothing(
    submitter: Submitter, submission: Submission, script: ScriptedNode
) -> None:
    """Not even a signed transaction that it could only refuse."""
    script.says("eth_chainId", result("0x1"))
    with refused(ChainUnavailable):
        await submitter.submit(submission)
    assert not script.called(SENDS)


async def test_forgotten_bytes_are_sent_again(
    submitter: Submitter, submission: Submission, script: ScriptedNode
) -> None:
    """Those that were sent here, the same ones; others cannot be."""
    script.says(SENDS, result(submission.txid))
    await submitter.again(submission.txid)
    assert not script.called(SENDS)
    await submitter.submit(submission)
    script.says(SENDS, error(-32000, "nonce too low"))
    await submitter.again(submission.txid)
    assert {params[0] for params in script.called(SENDS)} == {f"0x{submission.raw.hex()}"}


async def test_what_was_replaced_is_not_brought_back(
    submitter: Submitter, submission: Submission, script: ScriptedNode, target: EthereumCodecTarget
) -> None:
    """Whoever follows a cancelled payment does not send it again when the network has forgotten both."""
    fees = {"max_fee_per_gas": "40000000000", "max_priority_fee_per_gas": "2000000000"}
    unsigned = target.codec.build_cancellation(target.account(0).account, target.chain, {**target.metadata, **fees})
    newer = Submission.parse(target.codec.combine(unsigned, signatures_of(target, unsigned)))
    script.says(SENDS, result(submission.txid), result(newer.txid))
    await submitter.submit(submission)
    await submitter.submit(newer, replaces=True)
    script.calls.clear()
    await submitter.again(submission.txid)
    assert not script.called(SENDS)
    await submitter.again(newer.txid)
    assert script.called(SENDS) == [[f"0x{newer.raw.hex()}"]]
