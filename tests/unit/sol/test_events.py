"""Events from a node that is late, wrong or hostile: nothing is lost, nothing told twice, nothing believed that cannot be."""

import base64
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web
from solders.pubkey import Pubkey
from spl.token import instructions as spl
from spl.token.constants import TOKEN_PROGRAM_ID

from keyquorum_devnet.solana import CHAIN_ID, NATIVE_ASSET
from keyquorum_plugin_api.chain import ChainEvent
from keyquorum_plugin_api.errors import ChainUnavailable, Expired
from keyquorum_plugin_api.testing import RecordingLogger
from keyquorum_sol.config import SolanaConfig, parse_config
from keyquorum_sol.events import PAGE, PAGES_MAX, PLACES_MAX, EventReader, EventStream
from keyquorum_sol.node import SolanaNode
from support.scripted_rpc import ScriptedNode, result
from support.solana_history import MINT, OTHER, OWNER, PLACE, included, listed, token_balance, txid

SENDER = Pubkey(bytes([3]) * 32)
TOKEN_ASSET = f"{CHAIN_ID}/token:{MINT}"


@pytest.fixture
def config(script: ScriptedNode) -> SolanaConfig:
    return parse_config({"rpc_url": script.url, "response_bytes_max": 1024 * 1024})


class History:
    """What the scripted node says of addresses and transactions."""

    def __init__(self, script: ScriptedNode) -> None:
        self.script = script
        self.entries: dict[str, list[dict[str, Any]]] = {}
        self.transactions: dict[str, Any] = {}
        self.at(100)
        script.says("getFirstAvailableBlock", result(5))
        script.says("getTokenAccountsByOwner", result({"context": {"slot": 100}, "value": []}))
        script.says("getSignaturesForAddress", self._answer(lambda params: self.entries.get(params[0], [])))
        script.says("getTransaction", self._answer(lambda params: self.transactions.get(params[0])))

    def at(self, slot: int) -> None:
        """The newest finalized slot."""
        self.script.says("getSlot", result(slot))

    def happened(self, number: int, slot: int, amount: int, address: Pubkey = OWNER) -> None:
        """A deposit."""
        self.entries.setdefault(str(address), []).insert(0, listed((number, slot))[0])
        self.transactions[txid(number)] = included(number, slot, [SENDER, address], [10**9, 0], [0, amount])

    def _answer(self, says: Callable[[list[Any]], Any]) -> Any:
        async def reply(_request: web.Request, call: dict[str, Any]) -> web.Response:
            return web.json_response({"jsonrpc": "2.0", "id": call["id"], "result": says(call["params"])})

        return reply


@pytest.fixture
def history(script: ScriptedNode) -> History:
    return History(script)


def opened(node: SolanaNode, cursor: str = "", *owners: Pubkey, log: RecordingLogger | None = None) -> EventStream:
    return EventReader(node, log or RecordingLogger(), []).open(CHAIN_ID, list(owners or [OWNER]), cursor)


async def started(node: SolanaNode) -> EventStream:
    """A stream that listens from slot 100 on."""
    stream = opened(node)
    assert await stream.poll() == []
    return stream


def told(events: list[ChainEvent]) -> list[tuple[str, int]]:
    return [(event.asset, event.amount) for event in events]


async def test_what_is_finalized_is_told_once(node: SolanaNode, history: History) -> None:
    """Neither what was before, nor what is not final yet, nor anything again."""
    history.happened(1, 100, 11)
    stream = await started(node)
    history.happened(2, 101, 12)
    history.happened(3, 102, 13)
    assert await stream.poll() == []
    history.at(101)
    (event,) = await stream.poll()
    assert event == ChainEvent(f"101.{txid(2)}.0", txid(2), str(OWNER), NATIVE_ASSET, 12, "101")
    history.at(102)
    assert told(await stream.poll()) == [(NATIVE_ASSET, 13)]
    history.at(103)
    assert await stream.poll() == []


async def test_failure_in_the_middle_loses_nothing(node: SolanaNode, history: History, script: ScriptedNode) -> None:
    """The next poll reads the same again, for every address."""
    stream = opened(node, "", OWNER, OTHER)
    assert await stream.poll() == []
    history.happened(2, 101, 12)
    history.happened(3, 101, 13, OTHER)
    whole = history.transactions.pop(txid(3))
    history.at(101)
    with pytest.raises(ChainUnavailable, match="lists"):
        await stream.poll()
    history.transactions[txid(3)] = whole
    assert {event.txid for event in await stream.poll()} == {txid(2), txid(3)}


@pytest.mark.parametrize(
    "change",
    [
        {"slot": 99},
        {"slot": "101"},
        {"meta": None},
        {"transaction": {"signatures": [txid(7)], "message": {"accountKeys": [str(OTHER), str(OWNER)]}}},
        {"transaction": {"signatures": [], "message": {"accountKeys": [str(OTHER)]}}},
        {"transaction": {"signatures": [txid(2)], "message": {"accountKeys": [str(OTHER)]}}},
        {"transaction": {"signatures": [txid(2)], "message": {"accountKeys": [str(OTHER)] * 300}}},
    ],
)
async def test_other_transactions_than_those_asked_for_are_refused(
    node: SolanaNode, history: History, change: dict[str, Any]
) -> None:
    """Another id, slot or shape is no answer."""
    stream = await started(node)
    history.happened(2, 101, 12)
    history.transactions[txid(2)] |= change
    history.at(101)
    with pytest.raises(ChainUnavailable):
        await stream.poll()


async def test_tokens_count_in_the_associated_account_only(node: SolanaNode, history: History) -> None:
    """Where balances show them; what a node says of other places, owners and amounts changes nothing."""
    stream = await started(node)
    history.entries[str(OWNER)] = listed((2, 101))
    before = [token_balance(1, "5"), token_balance(2, "100"), token_balance(3, "1", owner=OTHER)]
    after = [token_balance(1, "9"), token_balance(2, "900"), token_balance(1, "50", owner=OTHER)]
    history.transactions[txid(2)] = included(
        2, 101, [OTHER, PLACE, Pubkey(bytes([4]) * 32), OWNER], [9, 0, 0, 7], [5, 0, 0, 7], (before, after)
    )
    history.at(101)
    assert told(await stream.poll()) == [(TOKEN_ASSET, 4)]


async def test_accounts_from_lookup_tables_count(node: SolanaNode, history: History) -> None:
    """They come behind the message's own."""
    stream = await started(node)
    history.entries[str(OWNER)] = listed((2, 101))
    history.transactions[txid(2)] = included(
        2,
        101,
        [OTHER],
        [9, 0, 1],
        [5, 0, 4],
        ([], [token_balance(1, "9", owner=None)]),
        ([str(PLACE)], [str(OWNER)]),
    )
    history.at(101)
    assert told(await stream.poll()) == [(NATIVE_ASSET, 3), (TOKEN_ASSET, 9)]


@pytest.mark.parametrize(
    "balance",
    [
        token_balance(1, "-5"),
        token_balance(1, "5.0"),
        token_balance(1, "9" * 30),
        token_balance(-1, "5"),
        token_balance(1, "5") | {"mint": "x" * 40},
        token_balance(1, "5") | {"mint": 7},
        token_balance(1, "5") | {"uiTokenAmount": {"amount": 5}},
    ],
)
async def test_odd_balances_are_no_answer(node: SolanaNode, history: History, balance: dict[str, Any]) -> None:
    """An amount is a decimal number, a mint an address."""
    stream = await started(node)
    history.entries[str(OWNER)] = listed((2, 101))
    history.transactions[txid(2)] = included(2, 101, [OTHER, PLACE], [9, 0], [9, 0], ([], [balance]))
    history.at(101)
    with pytest.raises(ChainUnavailable):
        await stream.poll()


async def test_endless_history_ends(node: SolanaNode, history: History, script: ScriptedNode) -> None:
    """A node that always has another page is asked so often and no more."""
    stream = await started(node)
    history.entries[str(OWNER)] = listed(*((number, 101) for number in range(1, PAGE + 1)))
    history.transactions = {txid(number): included(number, 101, [OTHER], [1], [1]) for number in range(1, PAGE + 1)}
    history.at(101)
    with pytest.raises(Expired, match="more happened"):
        await stream.poll()
    assert len(script.called("getSignaturesForAddress")) == PAGES_MAX


async def test_more_than_a_page_is_no_answer(node: SolanaNode, history: History) -> None:
    """As many as were asked for."""
    stream = await started(node)
    history.entries[str(OWNER)] = listed(*((number, 101) for number in range(PAGE + 1)))
    history.at(101)
    with pytest.raises(ChainUnavailable):
        await stream.poll()


async def test_token_accounts_of_others_are_not_watched(
    node: SolanaNode, history: History, script: ScriptedNode
) -> None:
    """Anybody can make accounts for an owner: those that are not associated are left out, and there is an end of others."""
    holding = {"lamports": 1, "executable": False, "space": 165, "owner": str(OTHER)}

    def entry(place: Pubkey, mint: Pubkey) -> dict[str, Any]:
        return {
            "pubkey": str(place),
            "account": {**holding, "data": [base64.b64encode(bytes(mint)).decode(), "base64"]},
        }

    entries = [entry(Pubkey(bytes([1]) * 32), MINT), entry(PLACE, MINT)]
    script.says("getTokenAccountsByOwner", result({"context": {"slot": 100}, "value": entries}))
    stream = opened(node)
    await stream.poll()
    history.at(101)
    await stream.poll()
    assert {params[0] for params in script.called("getSignaturesForAddress")} == {str(OWNER), str(PLACE)}


async def test_flood_of_token_accounts_is_logged_and_survived(
    node: SolanaNode, history: History, script: ScriptedNode
) -> None:
    """Where the node cannot list them, the owner's own history is still read."""
    script.says("getTokenAccountsByOwner", result("x" * 2_000_000))
    log = RecordingLogger()
    stream = opened(node, log=log)
    await stream.poll()
    assert {event for _, event, _ in log.records} == {"solana.token_accounts_unknown"}
    history.happened(2, 101, 12)
    history.at(101)
    assert told(await stream.poll()) == [(NATIVE_ASSET, 12)]


async def test_tokens_that_turn_up_are_bounded(node: SolanaNode, history: History, script: ScriptedNode) -> None:
    """Somebody who sends dust of hundreds of tokens makes nobody poll hundreds of accounts."""
    stream = await started(node)
    mints = [Pubkey(bytes([number]) * 32) for number in range(20, 20 + PLACES_MAX)]
    for number, mint in enumerate(mints, 1):
        place = spl.get_associated_token_address(OWNER, mint, TOKEN_PROGRAM_ID)
        history.entries.setdefault(str(OWNER), []).insert(0, listed((number, 101))[0])
        history.transactions[txid(number)] = included(
            number, 101, [OTHER, place], [1, 1], [1, 1], ([], [token_balance(1, "1", mint)])
        )
    history.at(101)
    assert len(await stream.poll()) == PLACES_MAX
    history.at(102)
    script.calls.clear()
    await stream.poll()
    assert len({params[0] for params in script.called("getSignaturesForAddress")}) <= PLACES_MAX + 1


async def test_node_that_lags_behind_the_cursor_says_nothing(node: SolanaNode, history: History) -> None:
    """Until it has come as far."""
    history.happened(2, 120, 12)
    history.happened(3, 121, 13)
    stream = opened(node, f"120.{txid(2)}.0")
    assert await stream.poll() == []
    history.at(121)
    assert told(await stream.poll()) == [(NATIVE_ASSET, 13)]
    history.at(90)
    assert await stream.poll() == []
