"""Until when a transaction may be included is judged by what no node can contradict any more."""

import base64

import pytest
from solders.hash import Hash
from solders.pubkey import Pubkey

from keyquorum_plugin_api.chain import TransactionState
from keyquorum_plugin_api.errors import ChainUnavailable, Expired, OutcomeUnknown
from keyquorum_sol.lifetimes import UntilHeight, UntilNonceAdvances, lifetime_of, stored_nonce
from keyquorum_sol.node import SolanaNode
from keyquorum_sol.status import StatusReader
from keyquorum_sol.submission import Submission, Submitter
from support.scripted_rpc import Reply, ScriptedNode, preflight, result
from support.solana_effects import TARGET, built

ACCOUNT, AUTHORITY = Pubkey(bytes([7]) * 32), Pubkey(bytes([6]) * 32)
VALUE, NEXT = Hash(b"v" * 32), Hash(b"n" * 32)
SYSTEM = "1" * 32
LIFETIME = UntilNonceAdvances(ACCOUNT, VALUE, 100)


def data(value: Hash = VALUE, version: int = 1, state: int = 1) -> bytes:
    numbers = version.to_bytes(4, "little") + state.to_bytes(4, "little")
    return numbers + bytes(AUTHORITY) + bytes(value) + (5000).to_bytes(8, "little")


def account(content: bytes | None, slot: int = 200, owner: str = SYSTEM, space: int | None = None) -> Reply:
    if content is None:
        return result({"context": {"slot": slot}, "value": [None]})
    found = {
        "lamports": 1_447_680,
        "executable": False,
        "space": len(content) if space is None else space,
        "owner": owner,
        "data": [base64.b64encode(content[:80]).decode(), "base64"],
    }
    return result({"context": {"slot": slot}, "value": [found]})


def statuses(entry: object, slot: int = 200) -> Reply:
    return result({"context": {"slot": slot}, "value": [entry]})


async def test_nonce_is_read_from_the_account(node: SolanaNode, script: ScriptedNode) -> None:
    """With its slot."""
    script.says("getMultipleAccounts", account(data()))
    slot, stored = await stored_nonce(node, ACCOUNT)
    assert stored is not None
    assert (slot, stored.authority, stored.value) == (200, AUTHORITY, VALUE)


@pytest.mark.parametrize(
    "reply",
    [
        account(None),
        account(b""),
        account(data(version=0)),
        account(data(version=2)),
        account(data(state=0)),
        account(data(), owner=str(AUTHORITY)),
        account(data() + b"\x00", space=81),
        account(data()[:-1]),
    ],
)
async def test_what_is_no_nonce_account_stores_nothing(node: SolanaNode, script: ScriptedNode, reply: Reply) -> None:
    """Old ones that the runtime takes no more, and accounts that only look alike."""
    script.says("getMultipleAccounts", reply)
    assert (await stored_nonce(node, ACCOUNT))[1] is None


async def test_huge_account_is_not_taken_in(node: SolanaNode, script: ScriptedNode) -> None:
    """Eighty bytes are asked for, and a node that gives more is wrong."""
    script.says("getMultipleAccounts", account(data(), space=10_000_000))
    assert (await stored_nonce(node, ACCOUNT))[1] is None
    value = {"lamports": 1, "executable": False, "space": 100, "owner": SYSTEM}
    long = base64.b64encode(bytes(100)).decode()
    script.says("getMultipleAccounts", result({"context": {"slot": 1}, "value": [{**value, "data": [long, "base64"]}]}))
    with pytest.raises(ChainUnavailable, match="another part"):
        await stored_nonce(node, ACCOUNT)


@pytest.mark.parametrize(
    ("reply", "over"),
    [
        (account(data()), False),
        (account(data(NEXT)), True),
        (account(None), True),
        (account(data(NEXT), slot=100), True),
        (account(data(NEXT), slot=99), False),
        (account(None, slot=99), False),
    ],
)
async def test_nonce_is_over_once_it_has_moved_on(
    node: SolanaNode, script: ScriptedNode, reply: Reply, *, over: bool
) -> None:
    """In a finalized bank that is not older than the one in which the value was read: an earlier one has an earlier value."""
    script.says("getMultipleAccounts", reply)
    end = await LIFETIME.ended(node)
    assert (end is not None) is over
    ((_, config),) = script.called("getMultipleAccounts")
    assert config["commitment"] == "finalized"


async def test_included_payment_never_expires(node: SolanaNode, script: ScriptedNode) -> None:
    """The nonce moved on because the transaction used it, which a second look shows; a lagging second look shows nothing."""
    script.says("getMultipleAccounts", account(data(NEXT)))
    reader = StatusReader(node, "confirmed")
    found = {"slot": 199, "confirmations": 3, "err": None, "confirmationStatus": "confirmed"}
    script.says("getSignatureStatuses", statuses(None), statuses(found))
    assert (await reader.read("5" * 80, LIFETIME, submitted=True)).state is TransactionState.CONFIRMED
    script.says("getSignatureStatuses", statuses(None), statuses(None, slot=199))
    assert (await reader.read("5" * 80, LIFETIME, submitted=True)).state is TransactionState.PENDING
    script.says("getSignatureStatuses", statuses(None))
    assert (await reader.read("5" * 80, LIFETIME, submitted=True)).state is TransactionState.EXPIRED


@pytest.mark.parametrize(
    ("stored", "sent_before", "kind"),
    [(VALUE, False, ChainUnavailable), (VALUE, True, OutcomeUnknown), (NEXT, False, Expired), (NEXT, True, Expired)],
)
async def test_refused_nonce_means_that_it_is_over_or_not_yet_there(
    node: SolanaNode, script: ScriptedNode, stored: Hash, kind: type[Exception], *, sent_before: bool
) -> None:
    """A nonce that was set in this very block cannot be used before the next."""
    unsigned = built()["lamports with a durable nonce"]
    signed = TARGET.codec.combine(unsigned, [TARGET.account(0).sign(unsigned.requests[0])])
    script.says("sendTransaction", preflight("BlockhashNotFound"))
    script.says("getSignatureStatuses", statuses(None))
    script.says("getMultipleAccounts", account(data(stored)))
    submission = Submission.parse(signed.raw, signed.txid)
    assert submission.nonce_account == ACCOUNT
    with pytest.raises(kind):
        await Submitter(node).submit(submission, LIFETIME, sent_before=sent_before)


def test_lifetimes_of_what_was_built() -> None:
    """A height, a nonce, or no end."""
    unsigned = built()
    assert lifetime_of(unsigned["lamports"]) == UntilHeight(1150)
    found = lifetime_of(unsigned["tokens with everything"])
    assert isinstance(found, UntilNonceAdvances)
    assert (found.account, str(found.value), found.slot) == (ACCOUNT, TARGET.metadata["blockhash"], 77)
    account_ = TARGET.account(0).account
    assert lifetime_of(TARGET.codec.build_message(account_, TARGET.chain, "hello")) is None
