"""The online half of a chain plugin: it talks to the chain's nodes, and to the core signer through a port."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Final, Protocol

from keyquorum_plugin_api.codec import Codec, SignedTransaction, SignerAccount, TransferIntent, UnsignedTransaction
from keyquorum_plugin_api.errors import Unsupported
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
    """Durable, atomic reservations (a coin, a nonce), so that two builds never use the same thing.

    ``owner`` is random per build, so that two builds of one process exclude each other, too. A reservation ends by
    itself after its time, which has to outlive whatever makes its item unusable.
    """

    async def reserve(self, chain: str, account: str, item: str, owner: str, ttl_s: float) -> bool:
        """Whether ``owner`` now holds ``item``; False where somebody else does. The holder extends by asking again."""

    async def release(self, chain: str, account: str, item: str, owner: str) -> None:
        """Give ``item`` back; nothing happens where ``owner`` does not hold it."""

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
    """Where a transaction stands on its chain.

    UNKNOWN → PENDING → INCLUDED → CONFIRMED or FAILED, steps may be missing; a reorganisation may lead back from
    INCLUDED, and from CONFIRMED or FAILED while the status says that it is ``reversible``. EXPIRED invites a client to pay
    again, so it is said only when no node can contradict it any more.
    """

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
    block: str = ""  # number, slot or hash, as the chain names its blocks
    detail: str = ""  # why it failed or expired
    reversible: bool = False  # CONFIRMED or FAILED as configured, and yet not so deep that no reorganisation undoes it


@dataclass(frozen=True, slots=True)
class ChainEvent:
    """An asset that reached or left a watched address, in a block of the chain.

    ``cursor`` resumes a stream behind this event. ``removed`` takes an earlier event back: its block was dropped.
    """

    cursor: str
    txid: str
    address: str
    asset: str  # CAIP-19
    amount: int  # minor units; positive where the address received, negative where it paid
    block: str
    removed: bool = False


CAPABILITIES: Final = frozenset(
    {
        "transfer",
        "memo",  # transfers carry a text
        "message",  # the chain's own format for signed texts
        "typed_data",  # structured documents
        "stream_status",
        "stream_events",
        "replace",  # a pending transfer, by one with a higher fee
        "cancel",  # a pending transfer, by one that moves nothing
        "import",  # payloads that were built elsewhere
        "fee_payer",  # another account of the key may pay the network
    }
)
"""What an adapter can say that it offers; every word is a promise that the conformance suite holds it to."""


@dataclass(frozen=True, slots=True)
class ChainInfo:
    """A chain that an adapter serves."""

    chain: str  # CAIP-2
    name: str
    native_asset: str  # CAIP-19
    symbol: str
    decimals: int
    aliases: tuple[str, ...] = ()
    capabilities: frozenset[str] = frozenset()  # of CAPABILITIES


class ChainAdapter(ABC):
    """One chain, as the gateway uses it: ``start``, then any calls at the same time, then ``close``.

    Raises only ``ChainError`` and ``SigningError`` on purpose, and answers every call within a bound: whatever it awaits
    has a time-out. It keeps nothing that a restart must not lose: what has to survive is in ``context.reservations`` or
    in the ``UnsignedTransaction`` that the host stores. The calls of one payment:

        unsigned = await adapter.build_transfer(intent, options)   # reserves
        signed = await adapter.sign(unsigned)                      # or: await adapter.discard(unsigned)
        txid = await adapter.submit(signed)
        async for status in adapter.stream_status(txid, unsigned): ...
    """

    codec: ClassVar[type[Codec]]

    def __init__(self, context: ChainContext) -> None:
        self.context = context

    @abstractmethod
    def info(self) -> ChainInfo:
        """What this adapter serves; no I/O."""

    async def start(self) -> None:
        """Open what needs opening; called once before use. An unreachable node is no reason to fail."""

    async def close(self) -> None:
        """Close it, and end every task that the adapter has started; called once."""

    @abstractmethod
    async def health(self) -> Mapping[str, str]:
        """Facts about the node behind; ``ChainUnavailable`` if it cannot be reached."""

    @abstractmethod
    async def get_balances(self, address: str, assets: Sequence[str] = ()) -> tuple[Balance, ...]:
        """Balances of the native asset, or of the named ones."""

    @abstractmethod
    async def build_transfer(self, intent: TransferIntent, options: Mapping[str, str]) -> UnsignedTransaction:
        """Learn online what the codec needs, then let it build. Checks funds; reserves what must not be used twice.

        ``options`` are the adapter's own, such as a fee; unknown ones are refused. Two calls with one intent are two
        payments, and nothing stays reserved where a call fails.
        """

    @abstractmethod
    async def submit(self, signed: SignedTransaction) -> str:
        """Broadcast; the txid. Idempotent: bytes that the node already knows are a success.

        Its errors tell whether paying again is safe: ``OutcomeUnknown`` says no, every other one that nothing was, or
        can any more be, included. Bytes are checked before they leave; other bytes are never sent in their place.
        """

    @abstractmethod
    async def get_status(self, txid: str, unsigned: UnsignedTransaction | None = None) -> TransactionStatus:
        """Where a transaction stands; with ``unsigned``, an adapter can tell that it expired.

        An id that the chain does not know is UNKNOWN; text that is no id is refused.
        """

    @abstractmethod
    def stream_status(self, txid: str, unsigned: UnsignedTransaction | None = None) -> AsyncIterator[TransactionStatus]:
        """Every change of a transaction's status until it is confirmed, failed or expired, and no longer reversible; the
        first one at once.

        An async generator: the host may leave it at any time, and must then close it.
        """

    async def build_replacement(
        self, intent: TransferIntent, replaced: UnsignedTransaction, options: Mapping[str, str]
    ) -> UnsignedTransaction:
        """The same transfer for a higher fee, in the place of ``replaced``: only one of both can ever be included.

        ``replaced`` was built by this adapter for an equal intent and was broadcast. What it holds stays reserved.
        """
        raise Unsupported(f"{self.info().name} has no replacement of transactions")

    async def build_cancellation(
        self, source: SignerAccount, replaced: UnsignedTransaction, options: Mapping[str, str]
    ) -> UnsignedTransaction:
        """A payload that moves nothing, in the place of ``replaced``: only one of both can ever be included."""
        raise Unsupported(f"{self.info().name} has no replacement of transactions")

    async def import_transfer(self, intent: TransferIntent, payload: bytes) -> UnsignedTransaction:
        """A payload that was built elsewhere, if it makes exactly this transfer now; reserves as ``build_transfer`` does."""
        raise Unsupported(f"{self.info().name} imports no payloads")

    def stream_events(self, addresses: Sequence[str], cursor: str = "") -> AsyncIterator[ChainEvent]:
        """What reaches and leaves ``addresses`` in blocks from now on, or behind ``cursor``; without end.

        An async generator: the host may leave it at any time, and must then close it. A cursor that is older than the
        node can look back is refused with ``Expired``.
        """
        raise Unsupported(f"{self.info().name} streams no events")

    async def discard(self, unsigned: UnsignedTransaction) -> None:
        """Release what :meth:`build_transfer` reserved, for a transaction that will never be signed."""

    async def sign(self, unsigned: UnsignedTransaction) -> SignedTransaction:
        """Have the core signer sign, then combine. Adapters with several ceremonies per transaction override it."""
        return self.codec().combine(unsigned, await self.context.signer.sign(unsigned))

    def account(self, address: str, public_key: bytes, path: tuple[int, ...] = ()) -> SignerAccount:
        """An account as codecs want it."""
        return SignerAccount(address=address, public_key=public_key, path=path)


AdapterFactory = Callable[[ChainContext], Awaitable[ChainAdapter]]
