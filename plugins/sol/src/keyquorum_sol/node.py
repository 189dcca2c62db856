"""What the adapter asks a node, typed. Every read raises :class:`ChainUnavailable` and nothing else."""

import asyncio
import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, InstanceOf, TypeAdapter
from solders.hash import Hash
from solders.pubkey import Pubkey

from keyquorum_plugin_api.chain import Clock
from keyquorum_plugin_api.errors import ChainUnavailable, InvalidAddress
from keyquorum_sol.addresses import parse_address
from keyquorum_sol.config import SolanaConfig
from keyquorum_sol.gathering import Gatherer
from keyquorum_sol.history import INCLUDED, SIGNATURES, Included, SignatureInfo
from keyquorum_sol.limits import COMPUTE_UNITS_MAX, U64_MAX
from keyquorum_sol.network import chain_of
from keyquorum_sol.panics import containing_panics
from keyquorum_sol.rpc import JsonRpc, NoAnswer, NodeError
from keyquorum_sol.shapes import U64, Base58, Shape

T = TypeVar("T")
CHAIN_CHECK_S = 60.0  # how long a node is believed to serve the cluster it served before
ACCOUNTS_MAX, STATUSES_MAX = 100, 256  # in one request, the node's own limits
RENT_SIZES_MAX = 256  # sizes of accounts whose rent is remembered


class Context(Shape):
    """The slot at which an answer was true."""

    slot: U64


class InContext(Shape, Generic[T]):
    """An answer and its slot."""

    context: Context
    value: T


def _require_blockhash(text: str) -> str:
    refusal = ChainUnavailable("what the node gives for a blockhash is none")
    with containing_panics(refusal):
        if Hash.from_string(text) == Hash.default():
            raise refusal
    return text


class LatestBlockhash(Shape):
    """A blockhash and the height until which a transaction may name it."""

    blockhash: Annotated[Base58, AfterValidator(_require_blockhash)]
    last_valid_block_height: U64 = Field(alias="lastValidBlockHeight")


class EpochInfo(Shape):
    """Slot and height of one view."""

    slot: U64 = Field(alias="absoluteSlot")
    block_height: U64 = Field(alias="blockHeight")


def _decode_content(data: Any) -> bytes:
    if not isinstance(data, list) or len(data) != 2 or not isinstance(data[0], str) or data[1] != "base64":
        raise ValueError("not the encoding that was asked for")
    return base64.b64decode(data[0], validate=True)


def _parse_program(text: Any) -> Pubkey:
    try:
        return parse_address(text)
    except InvalidAddress as error:
        raise ValueError(error.detail) from None


class Account(Shape):
    """An account, as far as a transfer is concerned."""

    lamports: U64
    executable: bool
    size: U64 = Field(alias="space")  # bytes of data
    program: Annotated[InstanceOf[Pubkey], BeforeValidator(_parse_program)] = Field(alias="owner")
    content: Annotated[bytes, BeforeValidator(_decode_content)] = Field(
        alias="data", repr=False
    )  # of data, what was asked for


class SignatureStatus(Shape):
    """Where an included transaction stands."""

    slot: U64
    confirmations: U64 | None
    err: Any
    commitment: Literal["processed", "confirmed", "finalized"] | None = Field(default=None, alias="confirmationStatus")


class Simulation(Shape):
    """What a transaction would do."""

    err: Any
    units_consumed: Annotated[int, Field(ge=0, le=COMPUTE_UNITS_MAX)] | None = Field(
        default=None, alias="unitsConsumed"
    )


class PrioritizationFee(Shape):
    """The least price (micro-lamports per compute unit) that was enough in a slot."""

    slot: U64
    price: U64 = Field(alias="prioritizationFee")


class Version(Shape):
    """The node's software."""

    solana_core: str = Field(alias="solana-core", max_length=64)


class _Holding(Shape):
    place: Base58 = Field(alias="pubkey")
    account: Account


_HOLDINGS = TypeAdapter(InContext[list[_Holding]])
_TEXT = TypeAdapter(Annotated[str, Field(max_length=128, strict=True)])
_GENESIS = TypeAdapter(Base58)
_U64 = TypeAdapter(Annotated[int, Field(ge=0, le=U64_MAX, strict=True)])
_BALANCE = TypeAdapter(InContext[U64])
_BLOCKHASH = TypeAdapter(InContext[LatestBlockhash])
_ACCOUNTS = TypeAdapter(InContext[list[Account | None]])
_STATUSES = TypeAdapter(InContext[list[SignatureStatus | None]])
_SIMULATION = TypeAdapter(InContext[Simulation])
_FEES = TypeAdapter(list[PrioritizationFee])
_EPOCH = TypeAdapter(EpochInfo)
_VERSION = TypeAdapter(Version)


@dataclass(frozen=True, slots=True)
class StatusView:
    """The status of some transactions, and the slot of the bank that was asked."""

    slot: int
    statuses: tuple[SignatureStatus | None, ...]


@dataclass(frozen=True, slots=True)
class AccountsView:
    """Some accounts, and the slot at which they were like that."""

    slot: int
    accounts: tuple[Account | None, ...]


class SolanaNode:
    """One cluster behind one endpoint. Before the first answer is used, and once a minute, it has to be the right one."""

    def __init__(self, rpc: JsonRpc, config: SolanaConfig, chain: str, clock: Clock) -> None:
        self._rpc = rpc
        self._config = config
        self._chain = chain
        self._clock = clock
        self._checked_at: float | None = None
        self._check_lock = asyncio.Lock()
        self._blockhash: tuple[float, LatestBlockhash] | None = None
        self._blockhash_lock = asyncio.Lock()
        self._rents: dict[int, int] = {}
        self._wallets: Gatherer[str, Account | None] = Gatherer(self._read_wallets, keys_max=ACCOUNTS_MAX)
        self._statuses: Gatherer[str, tuple[int, SignatureStatus | None]] = Gatherer(
            self._read_statuses, keys_max=STATUSES_MAX
        )
        self._epochs: Gatherer[str, EpochInfo] = Gatherer(self._read_epoch, keys_max=1)

    async def close(self) -> None:
        """End what is under way."""
        for gatherer in (self._wallets, self._statuses, self._epochs):
            await gatherer.close()

    async def require_chain(self) -> str:
        """The genesis hash, if it is that of the configured chain."""
        genesis = await self._read("getGenesisHash", [], _GENESIS)
        if chain_of(genesis) != self._chain:
            raise ChainUnavailable(f"the node serves {chain_of(genesis)} and not {self._chain}")
        self._checked_at = self._clock.monotonic()
        return genesis

    async def health(self) -> Mapping[str, str]:
        """Facts about the node; refuses one that is behind."""
        health = await self._read("getHealth", [], _TEXT)
        if health != "ok":
            raise ChainUnavailable("the node says that it is not healthy")
        version = await self._read("getVersion", [], _VERSION)
        view = await self.epoch_info()
        return {
            "genesis_hash": await self.require_chain(),
            "version": version.solana_core,
            "slot": str(view.slot),
            "block_height": str(view.block_height),
        }

    async def balance(self, address: str) -> int:
        """Lamports; 0 for an account that does not exist."""
        return (await self._checked_read("getBalance", [address, self._commitment()], _BALANCE)).value

    async def accounts(self, *addresses: str, data_bytes: int = 0, finalized: bool = False) -> AccountsView:
        """Up to 100 accounts, None for those that do not exist, with at most the first ``data_bytes`` of their data."""
        config = {
            **({"commitment": "finalized"} if finalized else self._commitment()),
            "encoding": "base64",
            "dataSlice": {"offset": 0, "length": data_bytes},
        }
        answer = await self._checked_read("getMultipleAccounts", [list(addresses), config], _ACCOUNTS)
        if len(answer.value) != len(addresses):
            raise ChainUnavailable("the node answered for other accounts")
        if any(found is not None and len(found.content) != min(found.size, data_bytes) for found in answer.value):
            raise ChainUnavailable("the node gave another part of an account than was asked for")
        return AccountsView(answer.context.slot, tuple(answer.value))

    async def wallets(self, *addresses: str) -> list[Account | None]:
        """Accounts without their data, None for those that do not exist; asked for together with those of other callers."""
        return await self._wallets.get(*addresses)

    async def _read_wallets(self, addresses: list[str]) -> Mapping[str, Account | None]:
        return dict(zip(addresses, (await self.accounts(*addresses)).accounts, strict=True))

    async def latest_blockhash(self) -> LatestBlockhash:
        """A blockhash that is at most ``blockhash_max_age_s`` old; concurrent callers share one request."""
        async with self._blockhash_lock:
            now = self._clock.monotonic()
            if self._blockhash is None or now - self._blockhash[0] > self._config.blockhash_max_age_s:
                answer = await self._checked_read("getLatestBlockhash", [self._commitment()], _BLOCKHASH)
                self._blockhash = (now, answer.value)
            return self._blockhash[1]

    async def epoch_info(self) -> EpochInfo:
        """Slot and height at the configured commitment."""
        (found,) = await self._epochs.get("now")
        return found

    async def _read_epoch(self, now: list[str]) -> Mapping[str, EpochInfo]:
        return dict.fromkeys(now, await self._checked_read("getEpochInfo", [self._commitment()], _EPOCH))

    async def rent_exemption(self, size: int) -> int:
        """Lamports that an account with ``size`` bytes must hold."""
        known = self._rents.get(size)
        if known is None:
            known = await self._checked_read("getMinimumBalanceForRentExemption", [size], _U64)
            if len(self._rents) < RENT_SIZES_MAX:
                self._rents[size] = known
        return known

    async def simulate(self, transaction: bytes) -> Simulation:
        """Execute without effect, under a blockhash of the node's own and without signatures."""
        config = {**self._commitment(), "encoding": "base64", "replaceRecentBlockhash": True, "sigVerify": False}
        text = base64.b64encode(transaction).decode()
        return (await self._checked_read("simulateTransaction", [text, config], _SIMULATION)).value

    async def recent_prices(self, *writable: str) -> list[int]:
        """What recent transactions that wrote to any of these accounts paid per compute unit, one figure per slot."""
        return [fee.price for fee in await self._checked_read("getRecentPrioritizationFees", [list(writable)], _FEES)]

    async def statuses(self, txids: Sequence[str]) -> StatusView:
        """Where up to 256 transactions stand; None for those never included."""
        params = [list(txids), {"searchTransactionHistory": True}]
        answer = await self._checked_read("getSignatureStatuses", params, _STATUSES)
        if len(answer.value) != len(txids):
            raise ChainUnavailable("the node answered for other transactions")
        return StatusView(answer.context.slot, tuple(answer.value))

    async def finalized_slot(self) -> int:
        """The newest slot that nothing can undo."""
        return await self._checked_read("getSlot", [{"commitment": "finalized"}], _U64)

    async def first_slot(self) -> int:
        """The oldest slot whose transactions the node still has."""
        return await self._checked_read("getFirstAvailableBlock", [], _U64)

    async def signatures(
        self, address: str, *, before: str | None, until: str | None, limit: int
    ) -> Sequence[SignatureInfo]:
        """Finalized transactions that name an address, newest first: those older than ``before``, down to the one after
        ``until``."""
        config: dict[str, Any] = {"commitment": "finalized", "limit": limit}
        config |= {name: txid for name, txid in (("before", before), ("until", until)) if txid is not None}
        found = await self._checked_read("getSignaturesForAddress", [address, config], SIGNATURES)
        if len(found) > limit:
            raise ChainUnavailable("the node tells more of a history than was asked for")
        return found

    async def included(self, txid: str, slot: int) -> Included:
        """A finalized transaction that the node has listed in a slot."""
        config = {"commitment": "finalized", "encoding": "json", "maxSupportedTransactionVersion": 0}
        found = await self._checked_read("getTransaction", [txid, config], INCLUDED)
        if found is None:
            raise ChainUnavailable("the node does not give a transaction that it lists")
        if (found.txid, found.slot) != (txid, slot):
            raise ChainUnavailable("the node gave another transaction than was asked for")
        return found

    async def token_accounts(self, owner: Pubkey, program: Pubkey) -> list[tuple[str, Pubkey]]:
        """Address and mint of every account in which ``owner`` holds tokens of one of the token programs."""
        config = {**self._commitment(), "encoding": "base64", "dataSlice": {"offset": 0, "length": 32}}
        params = [str(owner), {"programId": str(program)}, config]
        found = (await self._checked_read("getTokenAccountsByOwner", params, _HOLDINGS)).value
        if any(len(holding.account.content) != 32 for holding in found):
            raise ChainUnavailable("the node gave another part of an account than was asked for")
        return [(holding.place, Pubkey.from_bytes(holding.account.content)) for holding in found]

    async def status(self, txid: str) -> tuple[int, SignatureStatus | None]:
        """Where a transaction stands, and the slot of the bank that was asked; asked together with those of other callers."""
        ((slot, found),) = await self._statuses.get(txid)
        return slot, found

    async def _read_statuses(self, txids: list[str]) -> Mapping[str, tuple[int, SignatureStatus | None]]:
        view = await self.statuses(txids)
        return {txid: (view.slot, found) for txid, found in zip(txids, view.statuses, strict=True)}

    async def send(self, transaction: bytes, *, preflight: bool) -> str:
        """Hand a signed transaction to the node; the id it gives. Raises :class:`NodeError` or :class:`NoAnswer`,
        except that a node of another cluster is :class:`ChainUnavailable` before anything is sent."""
        await self._require_checked()
        config = {
            "encoding": "base64",
            "maxRetries": 0,  # repeating is the broadcaster's business, which knows when to stop
            "preflightCommitment": self._config.commitment,
            "skipPreflight": not preflight,
        }
        return await self._rpc.call("sendTransaction", [base64.b64encode(transaction).decode(), config], _TEXT)

    def _commitment(self) -> dict[str, Any]:
        return {"commitment": self._config.commitment}

    async def _require_checked(self) -> None:
        async with self._check_lock:
            if self._checked_at is None or self._clock.monotonic() - self._checked_at > CHAIN_CHECK_S:
                await self.require_chain()

    async def _checked_read(self, method: str, params: list[Any], shape: TypeAdapter[T]) -> T:
        await self._require_checked()
        return await self._read(method, params, shape)

    async def _read(self, method: str, params: list[Any], shape: TypeAdapter[T]) -> T:
        try:
            return await self._rpc.call(method, params, shape)
        except NoAnswer as error:
            raise ChainUnavailable(error.detail) from None
        except NodeError as error:
            raise ChainUnavailable(f"the node refused {method}: {error}") from None
