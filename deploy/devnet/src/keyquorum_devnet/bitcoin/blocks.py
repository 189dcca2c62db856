"""Blocks: building, hashing and proof of work (regtest's target lets every second hash through)."""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from keyquorum_devnet.bitcoin.transactions import (
    COINBASE_VOUT,
    Reader,
    Transaction,
    compact_size,
    displayed,
    double_sha256,
    read_transaction,
    wire,
)

BITS = 0x207FFFFF
TARGET = 0x7FFFFF << (8 * (0x20 - 3))
DIFFICULTY = (0xFFFF << (8 * (0x1D - 3))) / TARGET
WORK_PER_BLOCK = 2**256 // (TARGET + 1)
VERSION = 0x20000000  # BIP 9, no deployment signalled
HALVING_INTERVAL = 150  # blocks, on regtest
SUBSIDY = 50 * 10**8  # satoshis, before the first halving
WEIGHT_MAX = 4_000_000
RESERVED_WEIGHT = 4_000  # Core's own share for header and coinbase
HEADER_SIZE = 80

_WITNESS_RESERVED = bytes(32)
_COMMITMENT_HEADER = b"\x6a\x24\xaa\x21\xa9\xed"  # BIP 141


@dataclass(frozen=True, slots=True)
class Block:
    """A block at its place. ``time`` is seconds since the Unix epoch as its miner claims them."""

    hash: str
    height: int
    previous: str | None
    time: int
    median_time: int  # of the eleven blocks up to this one (BIP 113)
    raw: bytes
    transactions: tuple[Transaction, ...]

    @property
    def header(self) -> bytes:
        """80 bytes."""
        return self.raw[:HEADER_SIZE]

    @property
    def version(self) -> int:
        """The header's version field."""
        return int.from_bytes(self.raw[:4], "little", signed=True)

    @property
    def merkle_root(self) -> str:
        """The root over the txids."""
        return displayed(self.raw[36:68])

    @property
    def nonce(self) -> int:
        """What makes the hash small."""
        return int.from_bytes(self.raw[76:80], "little")

    @property
    def stripped_size(self) -> int:
        """Bytes without witnesses."""
        counted = HEADER_SIZE + len(compact_size(len(self.transactions)))
        return counted + sum(transaction.stripped_size for transaction in self.transactions)

    @property
    def weight(self) -> int:
        """Weight units."""
        return 3 * self.stripped_size + len(self.raw)


def subsidy(height: int) -> int:
    """Satoshis that a block may create."""
    return SUBSIDY >> (height // HALVING_INTERVAL)


def read_block(raw: bytes, height: int, previous_times: Sequence[int]) -> Block:
    """A block from its bytes. ``previous_times`` are those of its ten predecessors at most, oldest first."""
    reader = Reader(raw)
    header = reader.take(HEADER_SIZE)
    transactions = tuple(read_transaction(reader) for _ in range(reader.compact_size()))
    time = int.from_bytes(header[68:72], "little")
    times = sorted([*previous_times[-10:], time])
    return Block(
        hash=displayed(double_sha256(header)),
        height=height,
        previous=displayed(header[4:36]) if height else None,
        time=time,
        median_time=times[len(times) // 2],
        raw=raw,
        transactions=transactions,
    )


def merkle_root(hashes: Sequence[bytes]) -> bytes:
    """The root over at least one hash, all in wire order."""
    level = list(hashes)
    while len(level) > 1:
        if len(level) % 2:
            level.append(level[-1])
        level = [double_sha256(level[i] + level[i + 1]) for i in range(0, len(level), 2)]
    return level[0]


def merkle_branch(hashes: Sequence[bytes], position: int) -> list[bytes]:
    """What leads from the hash at ``position`` to the root, lowest first; all in wire order."""
    level, branch = list(hashes), []
    while len(level) > 1:
        if len(level) % 2:
            level.append(level[-1])
        branch.append(level[position ^ 1])
        level = [double_sha256(level[i] + level[i + 1]) for i in range(0, len(level), 2)]
        position //= 2
    return branch


def mine(
    previous: Block, script: bytes, transactions: Sequence[Transaction], *, time: int, fees: int, extra: bytes
) -> bytes:
    """A block after ``previous`` that pays subsidy and ``fees`` (satoshis) to ``script``. ``extra`` goes
    into the coinbase (at most 80 bytes) and keeps otherwise equal blocks apart."""
    height = previous.height + 1
    coinbase_txid, coinbase = _coinbase(height, script, subsidy(height) + fees, transactions, extra)
    root = merkle_root([coinbase_txid, *(wire(transaction.txid) for transaction in transactions)])
    head = struct.pack("<I", VERSION) + wire(previous.hash) + root + struct.pack("<II", time, BITS)
    nonce = 0
    while int.from_bytes(double_sha256(head + struct.pack("<I", nonce)), "little") > TARGET:
        nonce += 1
    body = compact_size(1 + len(transactions)) + coinbase + b"".join(transaction.raw for transaction in transactions)
    return head + struct.pack("<I", nonce) + body


def _coinbase(
    height: int, script: bytes, value: int, transactions: Iterable[Transaction], extra: bytes
) -> tuple[bytes, bytes]:
    """Txid (wire order) and bytes."""
    witness_root = merkle_root([bytes(32), *(wire(transaction.wtxid) for transaction in transactions)])
    commitment = _COMMITMENT_HEADER + double_sha256(witness_root + _WITNESS_RESERVED)
    script_sig = _pushed_height(height) + compact_size(len(extra)) + extra
    outputs = b"".join(
        value.to_bytes(8, "little") + compact_size(len(locked)) + locked
        for value, locked in ((value, script), (0, commitment))
    )
    source = bytes(32) + COINBASE_VOUT.to_bytes(4, "little")
    inputs = b"\x01" + source + compact_size(len(script_sig)) + script_sig + b"\xff" * 4
    version, locktime = struct.pack("<i", 2), bytes(4)
    core = inputs + b"\x02" + outputs
    witness = b"\x01\x20" + _WITNESS_RESERVED
    return double_sha256(version + core + locktime), version + b"\x00\x01" + core + witness + locktime


def _pushed_height(height: int) -> bytes:
    """The height as a script number (BIP 34)."""
    if height <= 16:
        return bytes([0x50 + height])
    number = height.to_bytes(height.bit_length() // 8 + 1, "little")
    return bytes([len(number)]) + number
