"""Reads of a node are typed, cached where that is safe, and only believed of the right cluster."""

import asyncio

import pytest

from keyquorum_devnet.solana import GENESIS_HASH
from keyquorum_plugin_api.errors import ChainUnavailable
from keyquorum_sol.node import SolanaNode
from support.scripted_rpc import ScriptedNode, error, result, silence

ACCOUNT = "4zvwRjXUKGfvwnParsHAS3HuSVzV5cA4McphgmoCtajS"
MAINNET = "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d"


def in_context(value: object, slot: int = 5) -> object:
    return result({"context": {"slot": slot, "apiVersion": "2"}, "value": value})


async def test_node_of_another_cluster_is_not_believed(node: SolanaNode, script: ScriptedNode) -> None:
    """Not even for a balance, and nothing is sent to it."""
    script.says("getGenesisHash", result(MAINNET))
    script.says("getBalance", in_context(1))
    script.says("sendTransaction", result("id"))
    with pytest.raises(ChainUnavailable, match="solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"):
        await node.balance(ACCOUNT)
    with pytest.raises(ChainUnavailable):
        await node.send(b"x", preflight=True)
    assert {method for method, _ in script.calls} == {"getGenesisHash"}


async def test_cluster_is_checked_once_a_while(node: SolanaNode, script: ScriptedNode) -> None:
    """Not before every request."""
    script.says("getBalance", in_context(1))
    for _ in range(3):
        assert await node.balance(ACCOUNT) == 1
    assert len(script.called("getGenesisHash")) == 1


@pytest.mark.parametrize(
    "value",
    [None, "1", -1, 1.0, True, 2**64, {"lamports": 1}],
)
async def test_balance_is_a_u64_or_nothing(node: SolanaNode, script: ScriptedNode, value: object) -> None:
    """A wrong type is never a zero."""
    script.says("getBalance", in_context(value))
    with pytest.raises(ChainUnavailable, match="wrong form"):
        await node.balance(ACCOUNT)


@pytest.mark.parametrize("timeout_s", [0.5])
async def test_refusal_and_silence_are_unavailability(node: SolanaNode, script: ScriptedNode, timeout_s: float) -> None:
    """A read has no other failure."""
    script.says("getBalance", error(-32016, "Minimum context slot has not been reached"), silence)
    for _ in range(2):
        with pytest.raises(ChainUnavailable):
            await node.balance(ACCOUNT)


async def test_answers_for_something_else_are_refused(node: SolanaNode, script: ScriptedNode) -> None:
    """As many accounts and statuses as were asked for."""
    script.says("getMultipleAccounts", in_context([None]))
    script.says("getSignatureStatuses", in_context([None, None]))
    with pytest.raises(ChainUnavailable):
        await node.accounts(ACCOUNT, MAINNET)
    with pytest.raises(ChainUnavailable):
        await node.statuses(["a"])


async def test_concurrent_builds_share_one_blockhash(node: SolanaNode, script: ScriptedNode) -> None:
    """For as long as it is young."""
    script.says("getLatestBlockhash", in_context({"blockhash": GENESIS_HASH, "lastValidBlockHeight": 150}))
    found = await asyncio.gather(*(node.latest_blockhash() for _ in range(20)))
    assert {blockhash.last_valid_block_height for blockhash in found} == {150}
    assert len(script.called("getLatestBlockhash")) == 1


async def test_failed_blockhash_is_not_remembered(node: SolanaNode, script: ScriptedNode) -> None:
    """The next build asks again."""
    script.says(
        "getLatestBlockhash",
        in_context({"blockhash": "0OIl", "lastValidBlockHeight": 150}),
        in_context({"blockhash": GENESIS_HASH, "lastValidBlockHeight": 151}),
    )
    with pytest.raises(ChainUnavailable):
        await node.latest_blockhash()
    assert (await node.latest_blockhash()).last_valid_block_height == 151


async def test_rent_is_asked_once_per_size(node: SolanaNode, script: ScriptedNode) -> None:
    """It does not change."""
    script.says("getMinimumBalanceForRentExemption", result(890_880))
    for size in (0, 0, 80):
        assert await node.rent_exemption(size) == 890_880
    assert script.called("getMinimumBalanceForRentExemption") == [[0], [80]]


async def test_unhealthy_node_is_unavailable(node: SolanaNode, script: ScriptedNode) -> None:
    """Whichever way it says so."""
    script.says("getHealth", result("behind"), error(-32005, "Node is behind by 42 slots"))
    for _ in range(2):
        with pytest.raises(ChainUnavailable):
            await node.health()
