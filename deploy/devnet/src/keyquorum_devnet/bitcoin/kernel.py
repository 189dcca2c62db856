"""Bitcoin Core's consensus library: it alone decides which block is valid, which chain is best, which script is satisfied.

The library writes its block files to a folder and keeps its databases in memory. Two of its habits are guarded against
here: ``process_block`` reports a block as new even where it is invalid, so only the ``block_checked`` and
``block_connected`` callbacks are believed; ``ScriptPubkey.verify`` answers 0 for a bad signature and does not raise.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pbk
import pbk.capi.bindings as library
from pbk.script import PrecomputedTransactionData

from keyquorum_devnet.bitcoin.transactions import TxOut


class BlockRefused(Exception):
    """The consensus code did not take a block; the text is its reason."""


@cache
def _disable_log() -> None:
    """Otherwise the library buffers every line for ever; it aborts the process if told a second time."""
    library.btck_logging_disable()


@dataclass(frozen=True, slots=True)
class Change:
    """A block that joined or left the best chain."""

    connected: bool
    block_hash: str
    height: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a block did to the best chain, in order; and why it, or an older one that it made worth trying, was refused."""

    changes: Sequence[Change]
    refusal: str | None


class Kernel:
    """A chain state in ``folder``, which must be empty. :meth:`close` before the folder is removed."""

    def __init__(self, folder: Path) -> None:
        _disable_log()
        self._changes: list[Change] = []
        self._refusals: list[str] = []
        callbacks = pbk.ValidationInterfaceCallbacks(
            block_checked=self._checked,
            block_connected=lambda _data, block, entry: self._changed(block, entry, connected=True),
            block_disconnected=lambda _data, block, entry: self._changed(block, entry, connected=False),
        )
        context = pbk.make_context(pbk.ChainType.REGTEST, callbacks)
        options = pbk.ChainstateManagerOptions(context, str(folder), str(folder / "blocks"))
        options.update_block_tree_db_in_memory(True)
        options.update_chainstate_db_in_memory(True)
        options.set_worker_threads_num(0)
        self._chainstate = pbk.ChainstateManager(options)
        self._changes.clear()

    def close(self) -> None:
        """Let go of the folder."""
        del self._chainstate

    def genesis(self) -> bytes:
        """The first block."""
        entry = self._chainstate.get_active_chain().block_tree_entries[0]
        return bytes(self._chainstate.blocks[entry])

    def submit(self, raw: bytes) -> Verdict:
        """Give it a block. A valid block of a lesser chain changes nothing."""
        self._changes.clear()
        self._refusals.clear()
        try:
            self._chainstate.process_block(pbk.Block(raw))
        except (pbk.KernelException, RuntimeError):
            self._refusals.append("rejected")  # behind a more telling one, if there is any
        return Verdict(tuple(self._changes), self._refusals[0] if self._refusals else None)

    def _changed(self, block: pbk.Block, entry: pbk.BlockTreeEntry, *, connected: bool) -> None:
        self._changes.append(Change(connected, str(block.block_hash), entry.height))

    def _checked(self, _data: object, _block: pbk.Block, state: pbk.BlockValidationState) -> None:
        if state.validation_mode != pbk.ValidationMode.VALID:
            self._refusals.append(state.block_validation_result.name.lower().replace("_", "-"))


def unsatisfied_input(raw: bytes, spent: Iterable[TxOut]) -> int | None:
    """The first input of a transaction that does not satisfy the script it spends, under all consensus rules; None where
    all do. ``spent`` are the outputs that its inputs spend, in order."""
    transaction = pbk.Transaction(raw)
    scripts = [(pbk.ScriptPubkey(output.script), output.value) for output in spent]
    outputs = [pbk.TransactionOutput(script, value) for script, value in scripts]
    precomputed = PrecomputedTransactionData(transaction, outputs)
    for index, (script, value) in enumerate(scripts):
        try:
            satisfied = script.verify(value, transaction, precomputed, index, pbk.ScriptVerificationFlags.ALL)
        except pbk.ScriptVerifyException:
            satisfied = False
        if not satisfied:
            return index
    return None
