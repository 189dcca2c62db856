"""Submitting never says "nothing happened" when something may have, nor "expired" of what was included."""

import pytest
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import Message
from solders.system_program import AdvanceNonceAccountParams, advance_nonce_account
from solders.transaction import VersionedTransaction

from keyquorum_plugin_api.errors import (
    ChainError,
    ChainUnavailable,
    Expired,
    InsufficientFunds,
    InvalidAmount,
    InvalidPayload,
    OutcomeUnknown,
    SignatureInvalid,
    TransactionRejected,
)
from keyquorum_sol.lifetimes import Lifetime, UntilHeight
from keyquorum_sol.node import SolanaNode
from keyquorum_sol.submission import Submission, Submitter
from support.scripted_rpc import Reply, ScriptedNode, body, error, hang_up, preflight, result, silence
from support.solana import SOL, signed, transfer_of

LAST_VALID = 150
PAYER = Keypair.from_seed(b"p" * 32)
TRANSACTION = signed([transfer_of(PAYER, Keypair.from_seed(b"q" * 32).pubkey(), SOL)], Hash(b"b" * 32), PAYER)
RAW, TXID = bytes(TRANSACTION), str(TRANSACTION.signatures[0])

ABSENT: list[object] = [None]
PRESENT: list[object] = [{"slot": 9, "confirmations": 0, "err": None, "confirmationStatus": "processed"}]


def statuses(value: list[object], slot: int = 200) -> Reply:
    return result({"context": {"slot": slot}, "value": value})


def epoch(height: int, slot: int = 200) -> Reply:
    return result({"absoluteSlot": slot, "blockHeight": height})


@pytest.fixture
def submission() -> Submission:
    return Submission.parse(RAW, TXID)


@pytest.fixture
def submitter(node: SolanaNode, script: ScriptedNode) -> Submitter:
    script.says("getSignatureStatuses", statuses(ABSENT))
    script.says("getEpochInfo", epoch(100))
    return Submitter(node)


async def submit(
    submitter: Submitter,
    submission: Submission,
    lifetime: Lifetime | None = UntilHeight(LAST_VALID),  # noqa: B008 frozen
    *,
    sent_before: bool = False,
) -> None:
    await submitter.submit(submission, lifetime, sent_before=sent_before)


async def test_accepted(submitter: Submitter, submission: Submission, script: ScriptedNode) -> None:
    """With preflight, at our commitment, and without the node's own retries."""
    script.says("sendTransaction", result(TXID))
    await submit(submitter, submission)
    ((_, config),) = script.called("sendTransaction")
    assert config == {
        "encoding": "base64",
        "maxRetries": 0,
        "preflightCommitment": "confirmed",
        "skipPreflight": False,
    }


@pytest.mark.parametrize("timeout_s", [1.0])
@pytest.mark.parametrize("reply", [silence, hang_up, body("{}"), body("", 502)])
async def test_lost_answer_is_tried_again_with_the_same_bytes(
    submitter: Submitter, submission: Submission, script: ScriptedNode, reply: Reply, timeout_s: float
) -> None:
    """Sending bytes twice cannot spend twice."""
    script.says("sendTransaction", reply, result(TXID))
    await submit(submitter, submission)
    first, second = script.called("sendTransaction")
    assert first == second


@pytest.mark.parametrize("timeout_s", [1.0])
@pytest.mark.parametrize("reply", [silence, hang_up, body("{}"), body("", 502)])
async def test_lost_answers_leave_the_outcome_unknown(
    submitter: Submitter, submission: Submission, script: ScriptedNode, reply: Reply, timeout_s: float
) -> None:
    """And name the id to follow."""
    script.says("sendTransaction", reply)
    with pytest.raises(OutcomeUnknown, match=TXID):
        await submit(submitter, submission)
    assert len(script.called("sendTransaction")) == 2


async def test_lost_answer_of_a_known_transaction_is_success(
    submitter: Submitter, submission: Submission, script: ScriptedNode
) -> None:
    """The node is asked before anything is sent again."""
    script.says("sendTransaction", hang_up)
    script.says("getSignatureStatuses", statuses(PRESENT))
    await submit(submitter, submission)
    assert len(script.called("sendTransaction")) == 1


@pytest.mark.parametrize("reply", [body("", 429), body("", 503), error(429, "slow down"), error(-32005, "behind")])
async def test_refused_before_forwarding_is_retriable(
    submitter: Submitter, submission: Submission, script: ScriptedNode, reply: Reply
) -> None:
    """Nothing was broadcast."""
    script.says("sendTransaction", reply)
    with pytest.raises(ChainUnavailable):
        await submit(submitter, submission)
    assert len(script.called("sendTransaction")) == 1


@pytest.mark.parametrize("reply", [body("", 429), error(-32005, "behind"), preflight("AccountNotFound")])
async def test_after_a_lost_answer_no_refusal_says_that_nothing_happened(
    submitter: Submitter, submission: Submission, script: ScriptedNode, reply: Reply
) -> None:
    """Neither in this call nor after an earlier one."""
    script.says("sendTransaction", hang_up, reply)
    with pytest.raises(OutcomeUnknown):
        await submit(submitter, submission)
    script.says("sendTransaction", reply)
    with pytest.raises(OutcomeUnknown):
        await submit(submitter, submission, sent_before=True)


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        ("AccountNotFound", InsufficientFunds),
        ("InsufficientFundsForFee", InsufficientFunds),
        ({"InstructionError": [0, {"Custom": 1}]}, InsufficientFunds),
        ({"InsufficientFundsForRent": {"account_index": 1}}, InvalidAmount),
        ({"InsufficientFundsForRent": {"account_index": 0}}, InvalidAmount),
        ({"InstructionError": [7, {"Custom": 1}]}, TransactionRejected),
        ({"InstructionError": [0, {"Custom": 2}]}, TransactionRejected),
        ({"InstructionError": "nonsense"}, TransactionRejected),
        ("InvalidAccountForFee", TransactionRejected),
        ("ClusterMaintenance", ChainUnavailable),
        (["a", "b"], TransactionRejected),
        (None, TransactionRejected),
    ],
)
async def test_preflight_refusals_are_typed(
    submitter: Submitter, submission: Submission, script: ScriptedNode, cause: object, kind: type[ChainError]
) -> None:
    """Each cause is told to the client as what it can do about it."""
    script.says("sendTransaction", preflight(cause))
    with pytest.raises(kind):
        await submit(submitter, submission)


async def test_other_refusals(submitter: Submitter, submission: Submission, script: ScriptedNode) -> None:
    """A bad signature, and bytes that the node does not take."""
    script.says("sendTransaction", error(-32003, "Transaction signature verification failure"))
    with pytest.raises(SignatureInvalid):
        await submit(submitter, submission)
    script.says("sendTransaction", error(-32602, "base64 encoded transaction too large"))
    with pytest.raises(TransactionRejected, match="too large"):
        await submit(submitter, submission)


@pytest.mark.parametrize("cause", ["AlreadyProcessed", "BlockhashNotFound", "AccountNotFound"])
async def test_refusal_of_a_known_transaction_is_success(
    submitter: Submitter, submission: Submission, script: ScriptedNode, cause: str
) -> None:
    """A second submission fails its preflight although the first was included."""
    script.says("sendTransaction", preflight(cause))
    script.says("getSignatureStatuses", statuses(PRESENT))
    await submit(submitter, submission)


async def test_taken_message_without_our_id_is_unknown(
    submitter: Submitter, submission: Submission, script: ScriptedNode
) -> None:
    """It may be a lagging pool, so it must not invite another payment."""
    script.says("sendTransaction", preflight("AlreadyProcessed"))
    with pytest.raises(OutcomeUnknown):
        await submit(submitter, submission)


async def test_stale_blockhash_is_expired_once_its_height_is_past(
    submitter: Submitter, submission: Submission, script: ScriptedNode
) -> None:
    """And only then: before, the node has not seen it yet."""
    script.says("sendTransaction", preflight("BlockhashNotFound"))
    with pytest.raises(ChainUnavailable):
        await submit(submitter, submission)
    script.says("getEpochInfo", epoch(LAST_VALID))
    with pytest.raises(ChainUnavailable):
        await submit(submitter, submission)
    script.says("getEpochInfo", epoch(LAST_VALID + 1))
    with pytest.raises(Expired):
        await submit(submitter, submission)


async def test_expired_is_not_said_on_the_word_of_a_lagging_node(
    submitter: Submitter, submission: Submission, script: ScriptedNode
) -> None:
    """The status has to come from a bank that is as far as the height."""
    script.says("sendTransaction", preflight("BlockhashNotFound"))
    script.says("getEpochInfo", epoch(LAST_VALID + 1, slot=200))
    script.says("getSignatureStatuses", statuses(ABSENT, slot=199))
    with pytest.raises(OutcomeUnknown):
        await submit(submitter, submission)


async def test_inclusion_at_the_last_moment_is_success(
    submitter: Submitter, submission: Submission, script: ScriptedNode
) -> None:
    """Found between the two looks."""
    script.says("sendTransaction", preflight("BlockhashNotFound"))
    script.says("getEpochInfo", epoch(LAST_VALID + 1))
    script.says("getSignatureStatuses", statuses(ABSENT), statuses(PRESENT))
    await submit(submitter, submission)


async def test_blockhash_of_unknown_age_is_unknown_for_two_windows(
    submitter: Submitter, submission: Submission, script: ScriptedNode
) -> None:
    """A restarted gateway does not know until when the bytes were valid, but it knows when they no longer can be."""
    script.says("sendTransaction", preflight("BlockhashNotFound"))
    bound = UntilHeight.bounded(100)
    for height in (100, 400):
        script.says("getEpochInfo", epoch(height))
        with pytest.raises(OutcomeUnknown):
            await submit(submitter, submission, bound)
    script.says("getEpochInfo", epoch(401))
    with pytest.raises(Expired):
        await submit(submitter, submission, bound)


async def test_durable_nonce_never_expires(submitter: Submitter, submission: Submission, script: ScriptedNode) -> None:
    """Its transaction stays valid until the nonce is used, whatever the height."""
    assert not submission.uses_nonce
    nonce = AdvanceNonceAccountParams(nonce_pubkey=Keypair().pubkey(), authorized_pubkey=PAYER.pubkey())
    lasting = signed(
        [advance_nonce_account(nonce), transfer_of(PAYER, Keypair().pubkey(), SOL)], Hash(b"n" * 32), PAYER
    )
    submission = Submission.parse(bytes(lasting), str(lasting.signatures[0]))
    assert submission.uses_nonce
    script.says("sendTransaction", preflight("BlockhashNotFound"))
    script.says("getEpochInfo", epoch(10**9))
    with pytest.raises(OutcomeUnknown):
        await submit(submitter, submission, None)


def test_only_honest_bytes_are_parsed() -> None:
    """Whatever does not verify, has another id or trailing bytes stays here."""
    legacy = VersionedTransaction(
        Message.new_with_blockhash([transfer_of(PAYER, Keypair().pubkey(), 1)], PAYER.pubkey(), Hash(b"b" * 32)),
        [PAYER],
    )
    assert Submission.parse(bytes(legacy), str(legacy.signatures[0])).blockhash == str(Hash(b"b" * 32))
    forged = bytes([RAW[0], *bytes(Keypair().sign_message(b"other")), *RAW[65:]])
    forged_id = str(VersionedTransaction.from_bytes(forged).signatures[0])
    with pytest.raises(SignatureInvalid):
        Submission.parse(forged, forged_id)
    for wrong, txid in ((b"", TXID), (RAW + b"\x00", TXID), (RAW[:-1], TXID), (RAW, forged_id), (bytes(2000), TXID)):
        with pytest.raises(InvalidPayload):
            Submission.parse(wrong, txid)
