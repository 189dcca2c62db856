"""The online half of a chain plugin: it talks to the chain's nodes, and to the core signer through a port."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Protocol

from keyquorum_plugin_api.codec import Codec, SignedTransaction, SignerAccount, TransferIntent, UnsignedTransaction
from keyquorum_plugin_api.signer import Signer


class Clock(Protocol):
    """Time, injected."""

    def now(self) -> float:
        """Seconds since the Unix epoch."""

    def monotonic(self) -> float:
        """Seconds that never go back."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class Logger(Protocol):
    """Structured logging, injected; redaction is the host's business."""

    def info(self, event: str, **fields: Any) -> None:
        """Something happened."""

    def warning(self, event: str, **fields: Any) -> None:
        """Something is off."""


class Reservations(Protocol):
    """Durable, atomic reservations (a coin, a nonce), so that two builds never use the same thing."""

    async def reserve(self, chain: str, account: str, item: str, owner: str, ttl_s: float) -> bool:
        """Whether ``owner`` now holds ``item``; False where somebody else does."""

    async def release(self, chain: str, account: str, item: str, owner: str) -> None:
        """Give ``item`` back."""

    async def held(self, chain: str, account: str) -> Mapping[str, str]:
        """Item to owner, for what is held now."""


@dataclass(frozen=True, slots=True)
class ChainContext:
    """What the host gives an adapter. ``config`` is the chain's table of the gateway's configuration."""

    chain: str  # CAIP-2
    signer: Signer
    http: Any  # an aiohttp.ClientSession, owned by the host
    clock: Clock
    log: Logger
    reservations: Reservations
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Balance:
    """An amount of an asset that an address holds, in minor units."""

    asset: str  # CAIP-19
    amount: int
    decimals: int
    symbol: str


class TransactionState(StrEnum):
    """Where a transaction stands on its chain."""

    UNKNOWN = "unknown"  # the chain has never heard of it, or has forgotten it
    PENDING = "pending"  # seen, not yet included
    INCLUDED = "included"  # in a block that may still be dropped
    CONFIRMED = "confirmed"  # as final as the configured commitment asks for
    FAILED = "failed"  # included, but its effect was refused
    EXPIRED = "expired"  # can never be included any more


@dataclass(frozen=True, slots=True)
class TransactionStatus:
    """A transaction as the chain reports it."""

    txid: str
    state: TransactionState
    confirmations: int = 0
    block: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ChainInfo:
    """A chain that an adapter serves."""

    chain: str  # CAIP-2
    name: str
    native_asset: str  # CAIP-19
    symbol: str
    decimals: int
    aliases: tuple[str, ...] = ()
    capabilities: frozenset[str] = frozenset()  # such as {"transfer", "message", "stream_status", "replace"}


class ChainAdapter(ABC):
    """One chain, as the gateway uses it. Raises only ``ChainError`` and ``SigningError`` on purpose."""

    codec: ClassVar[type[Codec]]

    def __init__(self, context: ChainContext) -> None:
        self.context = context

    @abstractmethod
    def info(self) -> ChainInfo:
        """What this adapter serves; no I/O."""

    async def start(self) -> None:
        """Open what needs opening; called once before use."""

    async def close(self) -> None:
        """Close it; called once."""

    @abstractmethod
    async def health(self) -> Mapping[str, str]:
        """Facts about the node behind; ``ChainUnavailable`` if it cannot be reached."""

    @abstractmethod
    async def get_balances(self, address: str, assets: Sequence[str] = ()) -> tuple[Balance, ...]:
        """Balances of the native asset, or of the named ones."""

    @abstractmethod
    async def build_transfer(self, intent: TransferIntent, options: Mapping[str, str]) -> UnsignedTransaction:
        """Learn online what the codec needs, then let it build. Checks funds; reserves what must not be used twice."""

    @abstractmethod
    async def submit(self, signed: SignedTransaction) -> str:
        """Broadcast; the txid. Idempotent: bytes that the node already knows are a success."""

    @abstractmethod
    async def get_status(self, txid: str, unsigned: UnsignedTransaction | None = None) -> TransactionStatus:
        """Where a transaction stands; with ``unsigned``, an adapter can tell that it expired."""

    @abstractmethod
    def stream_status(self, txid: str, unsigned: UnsignedTransaction | None = None) -> AsyncIterator[TransactionStatus]:
        """Every change of a transaction's status until it is confirmed, failed or expired."""

    async def discard(self, unsigned: UnsignedTransaction) -> None:
        """Release what :meth:`build_transfer` reserved, for a transaction that will never be signed."""

    async def sign(self, unsigned: UnsignedTransaction) -> SignedTransaction:
        """Have the core signer sign, then combine. Adapters with several ceremonies per transaction override it."""
        return self.codec().combine(unsigned, await self.context.signer.sign(unsigned))

    def account(self, address: str, public_key: bytes, path: tuple[int, ...] = ()) -> SignerAccount:
        """An account as codecs want it."""
        return SignerAccount(address=address, public_key=public_key, path=path)


AdapterFactory = Callable[[ChainContext], Awaitable[ChainAdapter]]
