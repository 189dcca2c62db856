"""The node: the consensus code, the indexes and the mempool kept in step; mining, replacing and reorganising."""

import hashlib
import shutil
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Final

from keyquorum_devnet.bitcoin import selection
from keyquorum_devnet.bitcoin.acceptance import Admission, admit
from keyquorum_devnet.bitcoin.blocks import Block, mine, read_block
from keyquorum_devnet.bitcoin.chain import Chain
from keyquorum_devnet.bitcoin.genesis import GENESIS_HASH
from keyquorum_devnet.bitcoin.kernel import BlockRefused, Change, Kernel
from keyquorum_devnet.bitcoin.mempool import Mempool
from keyquorum_devnet.bitcoin.policy import TxRefused
from keyquorum_devnet.bitcoin.transactions import Transaction

TARGET_SPACING_S: Final = 600  # between the blocks that are there at the start


class UnknownBlock(LookupError):
    """No such block."""


class AlreadyConfirmed(Exception):
    """The transaction is in a block and has unspent outputs."""


class FeeTooHigh(Exception):
    """The transaction pays more than its sender said it may."""


class Node:
    """A regtest node. Not thread-safe; every call is synchronous.

    ``folder`` takes the block files; ``now`` gives seconds since the Unix epoch; ``entropy`` makes this chain's blocks
    unlike those of any other run. ``full_rbf``: a replacement needs no signal (Core's default since 28).
    """

    def __init__(self, folder: Path, now: Callable[[], float], entropy: bytes, *, full_rbf: bool = True) -> None:
        self.full_rbf = full_rbf
        self.fee_rate: float | None = None  # sat/vB that estimates answer with; a young chain has no estimate
        self.mining = True  # whether a timer may add blocks
        self.mempool = Mempool()
        self._folder = folder
        self._now = now
        self._entropy = entropy
        self._mined = 0
        self._kernels = 0
        self._kernel = self._fresh_kernel()
        genesis = read_block(self._kernel.genesis(), 0, [])
        if genesis.hash != GENESIS_HASH:
            raise RuntimeError(f"the library runs another chain than regtest: {genesis.hash}")
        self.chain = Chain(genesis)
        self.blocks: dict[str, Block] = {genesis.hash: genesis}  # every valid block, in order of arrival
        self._invalidated: set[str] = set()

    def close(self) -> None:
        """Let go of the folder."""
        self._kernel.close()

    @property
    def now(self) -> int:
        """Seconds since the Unix epoch."""
        return int(self._now())

    def check(self, transaction: Transaction) -> Admission:
        """Whether the mempool would take a transaction; :class:`TxRefused`."""
        return admit(transaction, self.chain, self.mempool, self.now, full_rbf=self.full_rbf)

    def broadcast(self, transaction: Transaction, fee_rate_max: float | None = None) -> str:
        """Take a transaction into the mempool; its txid, also where it is there already. ``fee_rate_max`` is in sat/vB.
        :class:`TxRefused`, :class:`AlreadyConfirmed`, :class:`FeeTooHigh`."""
        txid = transaction.txid
        if any((txid, vout) in self.chain.coins for vout in range(len(transaction.outputs))):
            raise AlreadyConfirmed(txid)
        if txid in self.mempool:
            return txid
        admission = self.check(transaction)
        if fee_rate_max is not None and admission.entry.fee > fee_rate_max * transaction.vsize:
            raise FeeTooHigh(txid)
        self.mempool.remove_with_descendants(admission.evicted)
        self.mempool.add(admission.entry)
        return txid

    def mine(self, script: bytes, count: int = 1) -> list[str]:
        """Mine blocks that pay ``script``, with what waits; their hashes."""
        hashes = []
        for _ in range(count):
            entries = selection.for_block(self.mempool)
            fees = sum(entry.fee for entry in entries)
            hashes.append(self.mine_one(script, [entry.transaction for entry in entries], fees))
        return hashes

    def mine_one(
        self,
        script: bytes,
        transactions: Sequence[Transaction] = (),
        fees: int = 0,
        *,
        on: Block | None = None,
        time: int | None = None,
    ) -> str:
        """Mine one block of just these transactions, on the tip or on another block; its hash. ``fees`` (satoshis) is what
        the miner claims of what they pay. :class:`BlockRefused`."""
        previous = on or self.chain.tip
        self._mined += 1
        extra = hashlib.sha256(self._entropy + self._mined.to_bytes(8, "big")).digest()[:16]
        claimed = max(previous.median_time + 1, self.now if time is None else time)
        return self.submit_block(mine(previous, script, transactions, time=claimed, fees=fees, extra=extra))

    def mine_history(self, script: bytes, count: int) -> None:
        """Mine empty blocks that look as old as their number says."""
        start = self.now - count * TARGET_SPACING_S
        for index in range(count):
            self.mine_one(script, time=start + index * TARGET_SPACING_S)

    def submit_block(self, raw: bytes) -> str:
        """Give the consensus code a block; its hash. :class:`BlockRefused` if it, or an older block that it would have
        brought into the best chain, is invalid."""
        block = self._placed(raw)
        if block.hash in self.blocks:
            return block.hash
        verdict = self._kernel.submit(raw)
        self.blocks[block.hash] = block
        self._follow(verdict.changes)
        if verdict.refusal is not None:
            del self.blocks[block.hash]
            raise BlockRefused(verdict.refusal)
        return block.hash

    def reorganise(
        self, script: bytes, depth: int, *, drop: Collection[str] = (), include: Sequence[Transaction] = ()
    ) -> tuple[list[str], list[str]]:
        """Replace the newest ``depth`` blocks by ``depth + 1`` others; hashes of the old and the new, oldest first.

        Transactions of the old blocks wait again, but for ``drop`` (txids), which are forgotten with their descendants.
        ``include`` goes into the first new block. :class:`BlockRefused`: the chain is as it was."""
        if not 0 < depth < len(self.chain.active):
            raise UnknownBlock(f"the chain has no {depth} blocks above its first")
        old = [block.hash for block in self.chain.active[-depth:]]
        on = self.chain.active[-depth - 1]
        new: list[str] = []
        try:
            for index in range(depth + 1):
                new.append(self.mine_one(script, include if index == 0 else (), on=on))
                on = self.blocks[new[-1]]
        except BlockRefused:
            for block_hash in new:
                del self.blocks[block_hash]
            raise
        self.mempool.remove_with_descendants(drop)
        return old, new

    def invalidate(self, block_hash: str) -> None:
        """Leave a block and all after it, as if they broke a rule; :class:`UnknownBlock`.

        The library has no such call: a fresh chain state is given every other block instead."""
        if block_hash not in self.blocks or block_hash == GENESIS_HASH:
            raise UnknownBlock(block_hash)
        self._invalidated.add(block_hash)
        if self.chain.height_of(block_hash) is None:
            return
        retired = self._kernel
        self._kernel = self._fresh_kernel()
        retired.close()
        shutil.rmtree(self._kernel_folder(self._kernels - 1))
        active = [GENESIS_HASH]
        for change in self._resubmitted(self._kernel):
            if change.connected:
                active.append(change.block_hash)
            else:
                active.pop()
        self._follow(self._difference(active))

    def reconsider(self, block_hash: str) -> None:
        """Undo :meth:`invalidate` for a block, its ancestors and its descendants; :class:`UnknownBlock`."""
        if block_hash not in self.blocks:
            raise UnknownBlock(block_hash)
        self._invalidated -= {
            other
            for other in self._invalidated
            if self._descends(block_hash, other) or self._descends(other, block_hash)
        }
        self._follow(self._resubmitted(self._kernel))

    def _resubmitted(self, kernel: Kernel) -> list[Change]:
        """Every block that is not invalidated, given (again) to a kernel in order of arrival; what changed."""
        changes: list[Change] = []
        for block in list(self.blocks.values())[1:]:
            if block.hash not in self._invalidated:  # what follows one has no parent there, and is refused
                changes += kernel.submit(block.raw).changes
        return changes

    def _difference(self, active: Sequence[str]) -> list[Change]:
        """What leads from the indexed chain to ``active`` (hashes from genesis)."""
        current = [block.hash for block in self.chain.active]
        common = next(
            (height for height, (a, b) in enumerate(zip(current, active, strict=False)) if a != b),
            min(len(current), len(active)),
        )
        gone = [Change(False, current[height], height) for height in range(len(current) - 1, common - 1, -1)]
        return gone + [Change(True, active[height], height) for height in range(common, len(active))]

    def _descends(self, block_hash: str, ancestor: str) -> bool:
        """Whether a block is another one or comes after it."""
        height = self.blocks[ancestor].height
        block: Block | None = self.blocks[block_hash]
        while block is not None and block.height > height:
            block = self.blocks.get(block.previous or "")
        return block is not None and block.hash == ancestor

    def _follow(self, changes: Iterable[Change]) -> None:
        """Let indexes and mempool do what the consensus code did."""
        returned: list[Transaction] = []
        disconnected = False
        for change in changes:
            if change.connected:
                block = self.blocks[change.block_hash]
                self.chain.connect(block)
                self._confirm(block)
            else:
                disconnected = True
                returned = [*self.chain.disconnect().transactions[1:], *returned]
        if disconnected:
            self._readmit(returned)

    def _confirm(self, block: Block) -> None:
        """Take a block's transactions, and what they make impossible, out of the mempool."""
        for transaction in block.transactions[1:]:
            if transaction.txid in self.mempool:
                self.mempool.remove(transaction.txid)
            for source in transaction.inputs:
                conflict = self.mempool.spenders.get(source.outpoint)
                if conflict is not None:
                    self.mempool.remove_with_descendants([conflict.txid])

    def _readmit(self, returned: Sequence[Transaction]) -> None:
        """After a reorganisation: what left a block waits again, then what waited before, each if it still may."""
        waiting = list(self.mempool)
        self.mempool = Mempool()
        times = {entry.txid: entry.time for entry in waiting}
        for transaction in [*returned, *(entry.transaction for entry in waiting)]:
            try:
                entry = admit(transaction, self.chain, self.mempool, self.now, reorg=True).entry
            except TxRefused:
                continue
            entry.time = times.get(entry.txid, entry.time)
            self.mempool.add(entry)

    def _placed(self, raw: bytes) -> Block:
        previous = self.blocks.get(raw[4:36][::-1].hex())
        if previous is None:
            raise BlockRefused("missing-prev")
        times: list[int] = []
        ancestor: Block | None = previous
        while ancestor is not None and len(times) < 10:
            times.append(ancestor.time)
            ancestor = self.blocks.get(ancestor.previous or "")
        return read_block(raw, previous.height + 1, times[::-1])

    def _fresh_kernel(self) -> Kernel:
        self._kernels += 1
        folder = self._kernel_folder(self._kernels)
        folder.mkdir()
        return Kernel(folder)

    def _kernel_folder(self, number: int) -> Path:
        return self._folder / f"kernel-{number}"
