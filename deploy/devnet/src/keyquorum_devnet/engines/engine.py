"""What the devnet knows about a chain's engine: one :class:`Engine` per chain, in a file of its own.

The supervisor starts and watches its command, the gateway is told its settings, and customers ask it through its
:class:`ChainClient`: for coins, and afterwards what became of them. Nothing here goes through the gateway that is judged.
"""

import asyncio
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import aiohttp

from keyquorum_devnet.ports import HOST
from keyquorum_devnet.toml import Value

REQUEST_S_MAX: Final = 10.0
FUNDED_S_MAX: Final = 30.0
QUOTED_CHARS_MAX: Final = 200
_POLL_S: Final = 0.05


class ChainSays(Exception):
    """A chain's node answered with an error, or with something that is not what was expected."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A transfer that succeeded and was signed by its source's key, as found out without the gateway."""

    txid: str
    place: str  # "slot 1020", "block 113"
    fee: int  # minor units that the network took from the source
    verifier: str  # whose code accepted the signature


class ChainClient(ABC):
    """What a customer, or a test, asks a chain directly. Amounts in minor units of the native asset."""

    reorganises: ClassVar[bool] = True

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    @abstractmethod
    async def is_up(self) -> bool:
        """Whether the node answers a question about its chain."""

    @abstractmethod
    async def fund(self, address: str, amount: int) -> None:
        """Give coins; returns once they can be spent."""

    @abstractmethod
    async def balance(self, address: str) -> int:
        """What an address holds in confirmed blocks."""

    @abstractmethod
    async def judge(self, txid: str, source: str) -> Judged:
        """A confirmed transaction that only ``source`` signed and paid for; :class:`ChainSays` if it is not that."""

    @abstractmethod
    async def mine(self, blocks: int) -> None:
        """Let the chain go on by some blocks (or slots) at once."""

    async def reorganise(self, depth: int) -> None:
        """Replace the newest ``depth`` blocks by others: what was in them is not confirmed any more."""
        raise ChainSays(f"{depth} blocks cannot be replaced: this chain's engine never reorganises")

    @staticmethod
    @abstractmethod
    def stranger() -> str:
        """An address that has never been used."""

    async def until_balance(self, address: str, amount: int, *, within_s: float) -> int:
        """The balance once it is at least ``amount``; :class:`ChainSays` otherwise."""
        return await _until(lambda: self.balance(address), address, amount, within_s)

    async def call(self, method: str, *params: Any) -> Any:
        """The result of a JSON-RPC call; :class:`ChainSays` for an error."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        answer = await self._json("POST", "", request)
        if not isinstance(answer, dict) or answer.get("error") is not None:
            raise ChainSays(f"{method}: {answer.get('error') if isinstance(answer, dict) else answer}")
        return answer.get("result")

    async def _json(self, method: str, path: str, body: Any = None) -> Any:
        """A JSON answer, whatever its status; :class:`ChainSays` if there is none."""
        text = await self._text(path, method, body)
        try:
            return json.loads(text)
        except ValueError:
            raise ChainSays(f"{method} {self._url}{path}: {text[:QUOTED_CHARS_MAX]}") from None

    async def _text(self, path: str, method: str = "GET", body: Any = None) -> str:
        """An answer, whatever its status; :class:`ChainSays` if there is none."""
        timeout = aiohttp.ClientTimeout(total=REQUEST_S_MAX)
        try:
            async with self._session.request(method, f"{self._url}{path}", json=body, timeout=timeout) as answer:
                return await answer.text()
        except (aiohttp.ClientError, TimeoutError, UnicodeDecodeError) as error:
            raise ChainSays(f"{method} {self._url}{path}: {type(error).__name__}") from None

    async def _responds(self, method: str, *params: Any) -> bool:
        """Whether a JSON-RPC call gets a result."""
        try:
            return await self.call(method, *params) is not None
        except ChainSays:
            return False


class TokenClient(ABC):
    """Tokens on a chain that has them: made for whoever asks. ``asset`` is CAIP-19, amounts are in its minor units."""

    def __init__(self, chain: ChainClient) -> None:
        self._chain = chain

    @abstractmethod
    async def create(self) -> str:
        """A new token; its asset."""

    @abstractmethod
    async def give(self, asset: str, owner: str, amount: int) -> None:
        """Give some of a token that was made here; returns once it can be spent."""

    @abstractmethod
    async def balance(self, asset: str, owner: str) -> int:
        """What an owner holds."""

    async def _until(self, asset: str, owner: str, amount: int, *, within_s: float) -> int:
        return await _until(lambda: self.balance(asset, owner), owner, amount, within_s)


async def _until(ask: Callable[[], Awaitable[int]], holder: str, amount: int, within_s: float) -> int:
    """A balance once it is at least ``amount``; :class:`ChainSays` otherwise."""
    deadline = time.monotonic() + within_s
    while (found := await ask()) < amount:
        if time.monotonic() > deadline:
            raise ChainSays(f"{holder} holds {found} after {within_s:.0f} s, not {amount}")
        await asyncio.sleep(_POLL_S)
    return found


@dataclass(frozen=True, slots=True)
class Engine:
    """A chain on this machine. ``name`` is its process's name and its word on the command line."""

    name: str
    chain: str  # CAIP-2
    asset: str  # CAIP-19 of the native asset
    scheme: str
    unit: str  # the minor unit, for people: "lamports"
    coin: int  # minor units in one coin
    plugin: str  # the gateway's distribution
    codec: str  # the parties' codec, by its entry point's name
    client: type[ChainClient]
    block_s: float  # seconds between blocks (Solana: slots)
    command: Callable[[int, str, float], tuple[str, ...]]  # port, path of ``tool``, block_s -> what is run
    settings: Callable[[int], Mapping[str, Value]]  # port -> the adapter's table in gateway.toml
    fund_line: Callable[[str], str]  # URL -> a shell line that gives $ADDRESS a coin or two
    destination: str  # an address that nobody on this chain has a key of
    fee_ceiling: int  # minor units
    limit_per_transaction: int
    limit_per_window: int
    client_initiates: bool = False  # whether the client of this package reads the chain's payloads for itself
    tokens: type[TokenClient] | None = None
    tool: str = ""  # script in scripts/ that prints the path of the engine's binary, fetching it the first time

    def program(self, port: int, tool: str) -> tuple[str, ...]:
        """What the supervisor runs; ``tool`` is the path of the engine's binary, if it has one."""
        return self.command(port, tool, self.block_s)

    def url(self, port: int) -> str:
        """Where the engine serves, with a closing slash."""
        return f"http://{HOST}:{port}/"

    def table(self, port: int) -> dict[str, Any]:
        """The chain's table in ``gateway.toml``."""
        limit = {
            "asset": self.asset,
            "per_transaction": str(self.limit_per_transaction),
            "per_window": str(self.limit_per_window),
        }
        return {"fee_ceiling": str(self.fee_ceiling), "limits": [limit], "settings": dict(self.settings(port))}
