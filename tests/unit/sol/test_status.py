"""What is reported of a transaction is what the node says, and expiry only what no node can contradict any more."""

import pytest

from keyquorum_plugin_api.chain import TransactionState, TransactionStatus
from keyquorum_sol.lifetimes import UntilHeight
from keyquorum_sol.node import SolanaNode
from keyquorum_sol.status import StatusReader
from support.scripted_rpc import Reply, ScriptedNode, result

TXID = "5" * 80
LAST_VALID = 150


def statuses(entry: object, slot: int = 200) -> Reply:
    return result({"context": {"slot": slot}, "value": [entry]})


def entry(commitment: str | None, confirmations: int | None = 0, err: object = None) -> dict[str, object]:
    return {"slot": 9, "confirmations": confirmations, "err": err, "confirmationStatus": commitment}


async def read(
    node: SolanaNode, commitment: str = "confirmed", last_valid: int | None = LAST_VALID, *, submitted: bool = True
) -> TransactionStatus:
    lifetime = None if last_valid is None else UntilHeight(last_valid)
    return await StatusReader(node, commitment).read(TXID, lifetime, submitted=submitted)


@pytest.mark.parametrize(
    ("found", "commitment", "state"),
    [
        (entry("processed"), "confirmed", TransactionState.INCLUDED),
        (entry("confirmed", 1), "confirmed", TransactionState.CONFIRMED),
        (entry("finalized", None), "confirmed", TransactionState.CONFIRMED),
        (entry("confirmed", 1), "finalized", TransactionState.INCLUDED),
        (entry("finalized", None), "finalized", TransactionState.CONFIRMED),
        (entry("processed", 0, "AccountInUse"), "confirmed", TransactionState.INCLUDED),
        (entry("confirmed", 1, {"InstructionError": [0, {"Custom": 1}]}), "confirmed", TransactionState.FAILED),
        (entry(None, None), "finalized", TransactionState.CONFIRMED),
        (entry(None, 5), "confirmed", TransactionState.INCLUDED),
    ],
)
async def test_states(
    node: SolanaNode, script: ScriptedNode, found: object, commitment: str, state: TransactionState
) -> None:
    """A failure counts, like a success, only once it is as settled as was asked for."""
    script.says("getSignatureStatuses", statuses(found))
    status = await read(node, commitment)
    assert (status.txid, status.state, status.block) == (TXID, state, "9")
    assert bool(status.detail) == (isinstance(found, dict) and found["err"] is not None)


async def test_finalized_counts_as_rooted(node: SolanaNode, script: ScriptedNode) -> None:
    """Nodes give no figure for it."""
    script.says("getSignatureStatuses", statuses(entry("finalized", None)))
    assert (await read(node)).confirmations == 32


async def test_missing_before_the_last_valid_height(node: SolanaNode, script: ScriptedNode) -> None:
    """On its way if it was submitted here, unknown otherwise; never expired."""
    script.says("getSignatureStatuses", statuses(None))
    script.says("getEpochInfo", result({"absoluteSlot": 200, "blockHeight": LAST_VALID}))
    assert (await read(node)).state is TransactionState.PENDING
    assert (await read(node, submitted=False)).state is TransactionState.UNKNOWN
    assert (await read(node, last_valid=None)).state is TransactionState.PENDING


async def test_missing_past_the_last_valid_height_is_expired(node: SolanaNode, script: ScriptedNode) -> None:
    """For good."""
    script.says("getSignatureStatuses", statuses(None))
    script.says("getEpochInfo", result({"absoluteSlot": 200, "blockHeight": LAST_VALID + 1}))
    assert (await read(node)).state is TransactionState.EXPIRED


async def test_lagging_node_cannot_make_a_payment_expire(node: SolanaNode, script: ScriptedNode) -> None:
    """Height from one node of a pool, status from another that is behind."""
    script.says("getSignatureStatuses", statuses(None, slot=199))
    script.says("getEpochInfo", result({"absoluteSlot": 200, "blockHeight": LAST_VALID + 1}))
    assert (await read(node)).state is TransactionState.PENDING


async def test_inclusion_between_two_looks_is_seen(node: SolanaNode, script: ScriptedNode) -> None:
    """The status is read again after the height."""
    script.says("getSignatureStatuses", statuses(None), statuses(entry("confirmed", 1)))
    script.says("getEpochInfo", result({"absoluteSlot": 200, "blockHeight": LAST_VALID + 1}))
    assert (await read(node)).state is TransactionState.CONFIRMED
