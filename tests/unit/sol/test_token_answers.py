"""The adapter in front of a node that says odd things about tokens: the right error, in time, with nothing reserved."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from solders.pubkey import Pubkey
from spl.token.constants import TOKEN_2022_PROGRAM_ID, TOKEN_PROGRAM_ID

from keyquorum_devnet.solana import GENESIS_HASH
from keyquorum_plugin_api.errors import (
    ChainError,
    ChainUnavailable,
    FeeTooHigh,
    InsufficientFunds,
    InvalidAddress,
    TransactionRejected,
    UnsupportedAsset,
)
from keyquorum_plugin_api.testing import LocalSigner, MemoryReservations, SystemClock, local_context
from keyquorum_plugin_api.testing.codec_conformance import transfer_intent
from keyquorum_sol.adapter import SolanaAdapter
from support.scripted_rpc import ScriptedNode, preflight, result
from support.solana import SOL
from support.solana_effects import MINT, TARGET

US, FRIEND = (Pubkey.from_string(TARGET.account(index).account.address) for index in (0, 1))
SYSTEM = Pubkey.default()
ASSET = f"{TARGET.chain}/token:{MINT}"
MINT_DATA = bytes(44) + bytes([6, 1]) + bytes(36)


def entry(owner: Pubkey, data: bytes = b"", lamports: int = 10 * SOL, **changes: Any) -> dict[str, Any]:
    return {
        "lamports": lamports,
        "executable": False,
        "space": len(data),
        "owner": str(owner),
        "data": data,
        **changes,
    }


def holding(owner: Pubkey, amount: int = 100, state: int = 1, mint: Pubkey = MINT) -> bytes:
    return bytes(mint) + bytes(owner) + amount.to_bytes(8, "little") + bytes(36) + bytes([state]) + bytes(56)


class Accounts:
    """What the node says of mint, source's and destination's tokens; wallets are plain."""

    def __init__(self) -> None:
        self.mint: Any = entry(TOKEN_PROGRAM_ID, MINT_DATA)
        self.source: Any = entry(TOKEN_PROGRAM_ID, holding(US))
        self.destination: Any = entry(TOKEN_PROGRAM_ID, holding(FRIEND))
        self.friend: Any = entry(SYSTEM)

    async def answer(self, _request: web.Request, call: dict[str, Any]) -> web.Response:
        addresses, config = call["params"]
        if str(MINT) in addresses:
            found = [self.mint, self.source, self.destination]
            found += [None] * (len(addresses) - 3) if self._program() == TOKEN_PROGRAM_ID else []
            if self._program() != TOKEN_PROGRAM_ID:
                found = [self.mint, None, None, self.source, self.destination]
        else:
            found = [self.friend if address == str(FRIEND) else entry(SYSTEM) for address in addresses]
        value = [self._encoded(account, config["dataSlice"]["length"]) for account in found]
        answer = {"jsonrpc": "2.0", "id": call["id"], "result": {"context": {"slot": 9}, "value": value}}
        return web.json_response(answer)

    def _program(self) -> Pubkey:
        return (
            TOKEN_2022_PROGRAM_ID
            if self.mint and self.mint["owner"] == str(TOKEN_2022_PROGRAM_ID)
            else TOKEN_PROGRAM_ID
        )

    def _encoded(self, account: Any, length: int) -> Any:
        if account is None or not isinstance(account["data"], bytes):
            return account
        return {**account, "data": [base64.b64encode(account["data"][:length]).decode(), "base64"]}


@pytest.fixture
def accounts() -> Accounts:
    return Accounts()


@pytest.fixture
def reservations() -> MemoryReservations:
    return MemoryReservations(SystemClock())


@pytest.fixture
async def adapter(
    http: aiohttp.ClientSession, script: ScriptedNode, accounts: Accounts, reservations: MemoryReservations
) -> AsyncIterator[SolanaAdapter]:
    script.says(
        "getLatestBlockhash",
        result({"context": {"slot": 9}, "value": {"blockhash": GENESIS_HASH, "lastValidBlockHeight": 150}}),
    )
    script.says("getMultipleAccounts", accounts.answer)
    script.says(
        "simulateTransaction", result({"context": {"slot": 9}, "value": {"err": None, "unitsConsumed": 30_000}})
    )
    script.says("getRecentPrioritizationFees", result([]))
    script.says("getMinimumBalanceForRentExemption", result(890_880))
    signer = LocalSigner(TARGET.codec, [TARGET.account(0)])
    config = {"rpc_url": script.url, "response_bytes_max": 65_536}
    adapter = SolanaAdapter(local_context(TARGET.chain, signer, http, config, reservations=reservations))
    yield adapter
    await adapter.close()


INTENT = transfer_intent(TARGET, asset=ASSET, amount=60, memo="")


async def test_control(adapter: SolanaAdapter) -> None:
    """What an honest node says is built."""
    unsigned = await adapter.build_transfer(INTENT, {})
    assert (unsigned.effects[0].asset, unsigned.effects[0].amount) == (ASSET, 60)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"mint": None}, UnsupportedAsset),
        ({"mint": entry(SYSTEM)}, UnsupportedAsset),
        ({"mint": entry(FRIEND, MINT_DATA)}, UnsupportedAsset),
        ({"mint": entry(TOKEN_PROGRAM_ID, MINT_DATA[:-1])}, UnsupportedAsset),
        ({"mint": entry(TOKEN_PROGRAM_ID, holding(US))}, UnsupportedAsset),
        ({"mint": entry(TOKEN_PROGRAM_ID, bytes(10_000))}, UnsupportedAsset),
        ({"mint": entry(TOKEN_2022_PROGRAM_ID, MINT_DATA, space=10**7)}, ChainUnavailable),
        ({"mint": entry(TOKEN_PROGRAM_ID) | {"data": ["not base64!", "base64"]}}, ChainUnavailable),
        ({"mint": entry(TOKEN_PROGRAM_ID) | {"data": ["x" * 100_000, "base64"]}}, ChainUnavailable),
        ({"mint": entry(TOKEN_PROGRAM_ID, MINT_DATA, space=-1)}, ChainUnavailable),
        ({"mint": entry(TOKEN_PROGRAM_ID, MINT_DATA) | {"owner": "TokenkegQ"}}, ChainUnavailable),
        ({"source": None}, InsufficientFunds),
        ({"source": entry(SYSTEM, holding(US))}, InsufficientFunds),
        ({"source": entry(TOKEN_2022_PROGRAM_ID, holding(US))}, InsufficientFunds),
        ({"source": entry(TOKEN_PROGRAM_ID, holding(US, amount=59))}, InsufficientFunds),
        ({"source": entry(TOKEN_PROGRAM_ID, holding(FRIEND))}, InsufficientFunds),
        ({"source": entry(TOKEN_PROGRAM_ID, holding(US, state=2))}, TransactionRejected),
        ({"source": entry(TOKEN_PROGRAM_ID, holding(US, mint=US))}, ChainUnavailable),
        ({"source": entry(TOKEN_PROGRAM_ID, b"x")}, ChainUnavailable),
        ({"destination": entry(TOKEN_PROGRAM_ID, holding(US))}, InvalidAddress),
        ({"destination": entry(TOKEN_PROGRAM_ID, holding(FRIEND, state=2))}, TransactionRejected),
        ({"destination": entry(TOKEN_PROGRAM_ID, holding(FRIEND, state=0))}, ChainUnavailable),
        ({"friend": entry(TOKEN_PROGRAM_ID, holding(FRIEND))}, InvalidAddress),
        ({"friend": entry(TOKEN_2022_PROGRAM_ID, MINT_DATA)}, InvalidAddress),
        ({"friend": entry(SYSTEM, executable=True)}, InvalidAddress),
    ],
)
async def test_odd_accounts_are_refused(
    adapter: SolanaAdapter,
    accounts: Accounts,
    reservations: MemoryReservations,
    changes: dict[str, Any],
    kind: type[ChainError],
) -> None:
    """Each with the error that says what is wrong."""
    for name, account in changes.items():
        setattr(accounts, name, account)
    with pytest.raises(kind):
        await adapter.build_transfer(INTENT, {})
    assert not await reservations.held(TARGET.chain, str(US))


async def test_multisignature_owner_may_receive(adapter: SolanaAdapter, accounts: Accounts) -> None:
    """It is the one account of a token program that tokens can belong to."""
    accounts.friend = entry(TOKEN_PROGRAM_ID, bytes(355))
    await adapter.build_transfer(INTENT, {})


async def test_rent_above_what_is_signed_is_refused(
    adapter: SolanaAdapter, accounts: Accounts, script: ScriptedNode
) -> None:
    """The payload states a bound, and a cluster on which it does not hold is not paid on."""
    accounts.destination = None
    script.says("getMinimumBalanceForRentExemption", result(2_039_281))
    with pytest.raises(FeeTooHigh, match="2039281"):
        await adapter.build_transfer(INTENT, {})


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        ({"InstructionError": [2, {"Custom": 1}]}, InsufficientFunds, "rent"),
        ({"InstructionError": [3, {"Custom": 1}]}, InsufficientFunds, "of the token"),
        ({"InstructionError": [3, {"Custom": 17}]}, TransactionRejected, "frozen"),
        ({"InstructionError": [3, {"Custom": 18}]}, TransactionRejected, "18"),
        ({"InstructionError": [2, "IllegalOwner"]}, TransactionRejected, "IllegalOwner"),
        ({"InstructionError": [9, {"Custom": 1}]}, TransactionRejected, "Custom"),
        ({"InstructionError": ["3", {"Custom": 1}]}, TransactionRejected, "Custom"),
        ({"InstructionError": [3, {"Custom": [1]}]}, TransactionRejected, "Custom"),
    ],
)
async def test_what_the_token_programs_refuse(
    adapter: SolanaAdapter, script: ScriptedNode, error: Any, kind: type[ChainError], text: str
) -> None:
    """When it is built, and when it is submitted."""
    signed = TARGET.codec.combine(
        unsigned := await adapter.build_transfer(INTENT, {}), [TARGET.account(0).sign(unsigned.requests[0])]
    )
    script.says("simulateTransaction", result({"context": {"slot": 9}, "value": {"err": error}}))
    with pytest.raises(kind, match=text):
        await adapter.build_transfer(INTENT, {})
    script.says("sendTransaction", preflight(error))
    script.says("getSignatureStatuses", result({"context": {"slot": 9}, "value": [None]}))
    with pytest.raises(kind, match=text):
        await adapter.submit(signed)
