"""What the answer to a submission means for whoever would pay again."""

from typing import Any

import pytest

from keyquorum_btc.nodes import Nodes
from keyquorum_btc.submission import Submission, Submitter
from keyquorum_plugin_api.codec import SignedTransaction
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
from keyquorum_plugin_api.testing import LocalSigner
from support.bitcoin_codec_target import COINS, BitcoinCodecTarget
from support.bitcoin_scripted import TIP, HangUp, Says, ScriptedBitcoin

TARGET = BitcoinCodecTarget()
RIVAL = "ef" * 32
FINAL = 3


@pytest.fixture
async def signed() -> SignedTransaction:
    """A transfer, signed."""
    unsigned = TARGET.codec.build_cancellation(TARGET.account(0).account, TARGET.chain, TARGET.metadata)
    signatures = await LocalSigner(TARGET.codec, [TARGET.account(0)]).sign(unsigned)
    return TARGET.codec.combine(unsigned, signatures)


@pytest.fixture
def submission(signed: SignedTransaction) -> Submission:
    return Submission.parse(signed.raw, signed.txid)


@pytest.fixture
def submitter(nodes: Nodes) -> Submitter:
    return Submitter(nodes, final_confirmations=FINAL)


def refusal(message: str, code: int = -26) -> Says:
    return Says(f'sendrawtransaction RPC error: {{"code":{code},"message":"{message}"}}', 400)


def spent(script: ScriptedBitcoin, height: int | None) -> None:
    """A rival spends one of the coins, in a block at ``height`` or in the mempool."""
    status = {"confirmed": False}
    if height is not None:
        status = {"confirmed": True, "block_height": height, "block_hash": "ab" * 32}
    coin = COINS[0]
    script.paths[f"/tx/{coin.txid}/outspend/{coin.vout}"] = {"spent": True, "txid": RIVAL, "status": status}


def test_bytes_are_checked_before_they_leave(signed: SignedTransaction, submission: Submission) -> None:
    """They parse, in their one serialization, are signed, and have the id that they claim."""
    assert [str(outpoint) for outpoint in submission.outpoints] == [coin.outpoint for coin in COINS]
    unsigned = TARGET.codec.build_cancellation(TARGET.account(0).account, TARGET.chain, TARGET.metadata)
    for raw, txid in (
        (b"", signed.txid),
        (b"\x00" * 200_000, signed.txid),
        (signed.raw[:-1], signed.txid),
        (signed.raw + b"\x00", signed.txid),
        (signed.raw, signed.txid[::-1]),
        (unsigned.payload, signed.txid),
        (b"\x02\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00", signed.txid),
    ):
        with pytest.raises(InvalidPayload):
            Submission.parse(raw, txid)
    bare = signed.raw[:4] + signed.raw[6 : -4 - 2 * 66] + signed.raw[-4:]
    with pytest.raises(SignatureInvalid):
        Submission.parse(bare, signed.txid)


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        ("min relay fee not met, 10 < 111", FeeTooLow),
        ("mempool min fee not met", FeeTooLow),
        ("insufficient fee, rejecting replacement", FeeTooLow),
        ("max-fee-exceeded", FeeTooHigh),
        ("mandatory-script-verify-flag-failed (Invalid Schnorr signature)", SignatureInvalid),
        ("bad-txns-inputs-missingorspent", NonceConflict),
        ("txn-mempool-conflict", NonceConflict),
        ("too-long-mempool-chain, too many unconfirmed ancestors", ChainUnavailable),
        ("dust", TransactionRejected),
        ("who knows", TransactionRejected),
    ],
)
async def test_refusals_mean_that_nothing_was_broadcast(
    submitter: Submitter, submission: Submission, script: ScriptedBitcoin, reason: str, error: type[ChainError]
) -> None:
    """Unless it may have been sent before: then it may be under way, whatever this node says now."""
    script.paths["/tx"] = refusal(reason)
    with pytest.raises(error):
        await submitter.submit(submission, sent_before=False)
    with pytest.raises(OutcomeUnknown, match=submission.txid):
        await submitter.submit(submission, sent_before=True)


@pytest.mark.parametrize(
    "reason",
    [
        "txn-already-in-mempool",
        "txn-already-known",
        "Transaction outputs already in utxo set",
        "Transaction already in block chain",
    ],
)
async def test_what_the_node_knows_is_a_success(
    submitter: Submitter, submission: Submission, script: ScriptedBitcoin, reason: str
) -> None:
    """Whether it was sent by us or not."""
    script.paths["/tx"] = refusal(reason, -27)
    for sent_before in (False, True):
        await submitter.submit(submission, sent_before=sent_before)


async def test_conflicts_are_final_once_they_are_deep(
    submitter: Submitter, submission: Submission, script: ScriptedBitcoin
) -> None:
    """A rival in the mempool, or in a young block, may lose yet against what was sent before."""
    script.paths["/tx"] = refusal("bad-txns-inputs-missingorspent", -25)
    script.paths[f"/block/{TIP}"] = {"id": TIP, "height": 10, "previousblockhash": RIVAL, "tx_count": 1}
    for height, error in ((None, OutcomeUnknown), (10, OutcomeUnknown), (9, OutcomeUnknown), (8, NonceConflict)):
        spent(script, height)
        with pytest.raises(error):
            await submitter.submit(submission, sent_before=True)
        with pytest.raises(NonceConflict):
            await submitter.submit(submission, sent_before=False)


@pytest.mark.parametrize("answer", [HangUp(""), Says("oops", 502), Says("ab" * 32), Says("x" * 9000)])
async def test_lost_answers_leave_the_outcome_unknown(
    submitter: Submitter, submission: Submission, script: ScriptedBitcoin, answer: Any
) -> None:
    """The same bytes are tried again, and never others; no error invites another payment."""
    script.paths["/tx"] = answer
    with pytest.raises(OutcomeUnknown, match=submission.txid):
        await submitter.submit(submission, sent_before=False)
    assert script.requests.count("/tx") == 2


async def test_refusals_after_a_lost_answer(
    submitter: Submitter, submission: Submission, script: ScriptedBitcoin
) -> None:
    """The first try may have gone out to the network before the node changed its mind."""
    script.paths["/tx"] = [HangUp(""), refusal("min relay fee not met")]
    with pytest.raises(OutcomeUnknown):
        await submitter.submit(submission, sent_before=False)


async def test_answers_before_anything_was_sent(
    submitter: Submitter, submission: Submission, script: ScriptedBitcoin
) -> None:
    """A proxy that lets nobody through, or a node of another network: paying again is safe."""
    script.paths["/tx"] = Says("slow down", 429)
    with pytest.raises(ChainUnavailable):
        await submitter.submit(submission, sent_before=False)
    with pytest.raises(OutcomeUnknown):
        await submitter.submit(submission, sent_before=True)


async def test_nodes_of_other_networks_get_nothing(
    submitter: Submitter, submission: Submission, script: ScriptedBitcoin
) -> None:
    """Not even the bytes."""
    script.paths["/block-height/0"] = "ab" * 32
    with pytest.raises(ChainUnavailable):
        await submitter.submit(submission, sent_before=False)
    assert "/tx" not in script.requests
