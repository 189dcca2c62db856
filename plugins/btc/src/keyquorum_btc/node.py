"""What the adapter asks of a node, whatever its dialect: the port that the Esplora and the bitcoind client implement."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Outpoint:
    """An output of a transaction, spent or not."""

    txid: str  # as people write it: byte-reversed hex
    vout: int

    def __str__(self) -> str:
        """``txid:vout``."""
        return f"{self.txid}:{self.vout}"


@dataclass(frozen=True, slots=True)
class Account:
    """Whose coins are listed: an address, and the scriptPubKey that it stands for."""

    address: str
    script: bytes


@dataclass(frozen=True, slots=True)
class BlockRef:
    """A block by height and hash."""

    height: int
    hash: str


@dataclass(frozen=True, slots=True)
class BlockHeader:
    """A block, and whether the chain that has the most work contains it."""

    height: int
    hash: str
    previous: str  # hash; empty for the genesis block
    in_best_chain: bool


@dataclass(frozen=True, slots=True)
class Output:
    """An output: whom it pays and how much."""

    script: bytes
    amount: int  # satoshi


@dataclass(frozen=True, slots=True)
class Input:
    """An input; ``spent`` is the output that it spends, where the node tells."""

    outpoint: Outpoint
    spent: Output | None = None


@dataclass(frozen=True, slots=True)
class ChainTransaction:
    """A transaction that the node knows."""

    txid: str
    inputs: tuple[Input, ...]  # empty for a coinbase
    outputs: tuple[Output, ...]
    vsize: int  # virtual bytes, BIP141, rounded up
    fee: int | None  # satoshi; None where the node does not tell
    block: BlockRef | None  # None while it waits in the mempool

    @property
    def is_coinbase(self) -> bool:
        """Whether a miner made it."""
        return not self.inputs


@dataclass(frozen=True, slots=True)
class Unspent:
    """A coin as a node lists it."""

    outpoint: Outpoint
    amount: int  # satoshi
    height: int | None  # None while its transaction waits in the mempool
    coinbase: bool = False  # a miner's reward, which must wait for 100 blocks
    own_change: bool = False  # its transaction waits, and spends coins of the same script only


@dataclass(frozen=True, slots=True)
class Spender:
    """The transaction that spends an output."""

    txid: str
    block: BlockRef | None


@dataclass(frozen=True, slots=True)
class RelayFloor:
    """What a node asks for at least, in satoshi per 1,000 virtual bytes."""

    relay: int  # of any transaction now
    increment: int  # more, of one that replaces others (BIP125 rule 4)


DEFAULT_FLOOR = RelayFloor(relay=1_000, increment=1_000)  # of Bitcoin Core for a decade; lower since 29.1


class BitcoinNode(ABC):
    """One node. Every method raises :class:`~.transport.NoAnswer` where no sensible answer came."""

    @abstractmethod
    async def genesis_hash(self) -> str:
        """The hash of block 0, which names the network."""

    @abstractmethod
    async def tip(self) -> BlockRef:
        """The last block of the best chain."""

    @abstractmethod
    async def block_hash(self, height: int) -> str | None:
        """The best chain's block at a height, None above its tip."""

    @abstractmethod
    async def header(self, block_hash: str) -> BlockHeader | None:
        """A block, those of dropped branches included where the node has kept them."""

    @abstractmethod
    async def block_transactions(self, block: BlockHeader) -> tuple[ChainTransaction, ...]:
        """All transactions of a block in their order, with what their inputs spend."""

    @abstractmethod
    async def unspent(self, account: Account) -> tuple[Unspent, ...]:
        """The outputs that pay an address and that neither a block nor the mempool spends."""

    @abstractmethod
    async def balance(self, account: Account) -> int:
        """Satoshi that an account holds according to blocks alone: nothing that waits is counted or deducted."""

    @abstractmethod
    async def transaction(self, txid: str) -> ChainTransaction | None:
        """A transaction of the best chain or the mempool."""

    @abstractmethod
    async def spender(self, outpoint: Outpoint) -> Spender | None:
        """What spends an output: a transaction of the best chain or the mempool. None where nothing known does."""

    @abstractmethod
    async def mempool_spenders(self, txid: str, outputs: int) -> Sequence[str]:
        """The unconfirmed transactions that spend outputs of a transaction, which has ``outputs`` of them."""

    @abstractmethod
    async def fee_rate(self, target_blocks: int) -> int | None:
        """Satoshi per 1,000 virtual bytes that should be enough to be included within so many blocks, if the node knows."""

    @abstractmethod
    async def relay_floor(self) -> RelayFloor:
        """What the node asks for at least."""

    @abstractmethod
    async def broadcast(self, raw: bytes) -> str:
        """Hand a signed transaction to the node; the id it gives. :class:`~.transport.Refused` where it does not want it."""

    @abstractmethod
    async def version(self) -> str:
        """The node's software, for people."""
