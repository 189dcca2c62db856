"""Slots, block heights and the window of blockhashes that a transaction may name.

A transaction is accepted while the blockhash it names is among the last 150 (``MAX_PROCESSING_AGE`` of the validator).
Height runs behind the slot number, as on a real cluster where leaders miss slots, so that a client that confuses the
two is found out.
"""

import hashlib
from collections import deque
from dataclasses import dataclass
from enum import StrEnum

from solders.hash import Hash

PROCESSING_AGE_MAX = 150  # blocks
SKIPPED_SLOTS = 71  # how far the height is behind the slot
FIRST_SLOT = 1_000
SLOTS_PER_EPOCH = 432_000


class Commitment(StrEnum):
    """How settled a view of the ledger is."""

    PROCESSED = "processed"
    CONFIRMED = "confirmed"
    FINALIZED = "finalized"


@dataclass(frozen=True, slots=True)
class Block:
    """One slot that has a block."""

    slot: int
    height: int
    blockhash: Hash

    @property
    def last_valid_block_height(self) -> int:
        """The greatest height at which a transaction that names this blockhash may be included."""
        return self.height + PROCESSING_AGE_MAX


class BlockClock:
    """The chain of blocks: advances by one at a time and remembers the last 301, which is twice the window.

    ``entropy`` seeds the blockhashes of this run.
    """

    def __init__(self, entropy: bytes, *, confirmed_after: int, finalized_after: int) -> None:
        if not 0 < confirmed_after < finalized_after < PROCESSING_AGE_MAX:
            raise ValueError("0 < confirmed_after < finalized_after < 150 slots")
        self._entropy = entropy
        self._lag = {
            Commitment.PROCESSED: 0,
            Commitment.CONFIRMED: confirmed_after,
            Commitment.FINALIZED: finalized_after,
        }
        self._blocks: deque[Block] = deque(maxlen=2 * PROCESSING_AGE_MAX + 1)
        self._by_hash: dict[Hash, Block] = {}
        for slot in range(FIRST_SLOT - 2 * PROCESSING_AGE_MAX, FIRST_SLOT + 1):
            self._append(slot)

    @property
    def tip(self) -> Block:
        """The newest block."""
        return self._blocks[-1]

    def advance(self) -> Block:
        """Add a block."""
        return self._append(self.tip.slot + 1)

    def at(self, commitment: Commitment) -> Block:
        """The newest block with that commitment."""
        return self._blocks[-1 - self._lag[commitment]]

    def accepts(self, blockhash: Hash, *, at: Block | None = None) -> bool:
        """Whether a transaction that names ``blockhash`` may be included in ``at``, by default the newest block."""
        block = self._by_hash.get(blockhash)
        at = at or self.tip
        return block is not None and block.height <= at.height <= block.last_valid_block_height

    def commitment_of(self, slot: int) -> Commitment:
        """How settled a transaction is that was included in ``slot``."""
        age = self.tip.slot - slot
        if age >= self._lag[Commitment.FINALIZED]:
            return Commitment.FINALIZED
        return Commitment.CONFIRMED if age >= self._lag[Commitment.CONFIRMED] else Commitment.PROCESSED

    def _append(self, slot: int) -> Block:
        digest = hashlib.sha256(b"keyquorum-devnet/solana/blockhash\x00" + self._entropy + slot.to_bytes(8, "big"))
        block = Block(slot, slot - SKIPPED_SLOTS, Hash(digest.digest()))
        if len(self._blocks) == self._blocks.maxlen:
            del self._by_hash[self._blocks[0].blockhash]
        self._blocks.append(block)
        self._by_hash[block.blockhash] = block
        return block
