"""Transactions from their wire bytes (BIP 144), refused unless those bytes are the one canonical encoding."""

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

COMPACT_SIZE_MAX = 0x02000000  # what Core reads as a length at most
WITNESS_SCALE = 4  # BIP 141
COINBASE_VOUT = 0xFFFFFFFF
COINBASE_TXID = "00" * 32


class MalformedTransaction(ValueError):
    """The bytes are not a transaction."""


class Outpoint(NamedTuple):
    """An output of a transaction; the txid is hex as it is displayed."""

    txid: str
    vout: int


class TxOut(NamedTuple):
    """Satoshis and the script that locks them."""

    value: int
    script: bytes


@dataclass(frozen=True, slots=True)
class TxIn:
    """What is spent, and what unlocks it."""

    outpoint: Outpoint
    script_sig: bytes
    sequence: int
    witness: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction with its two hashes and its sizes. ``raw`` is what it was read from."""

    version: int
    inputs: tuple[TxIn, ...]
    outputs: tuple[TxOut, ...]
    locktime: int
    raw: bytes
    txid: str
    wtxid: str
    stripped_size: int  # bytes without the witness

    @property
    def weight(self) -> int:
        """Weight units (BIP 141)."""
        return self.stripped_size * (WITNESS_SCALE - 1) + len(self.raw)

    @property
    def vsize(self) -> int:
        """Virtual bytes."""
        return (self.weight + WITNESS_SCALE - 1) // WITNESS_SCALE

    @property
    def is_coinbase(self) -> bool:
        """Whether it creates coins."""
        return len(self.inputs) == 1 and self.inputs[0].outpoint == (COINBASE_TXID, COINBASE_VOUT)

    @property
    def output_value(self) -> int:
        """Satoshis."""
        return sum(output.value for output in self.outputs)


class Reader:
    """A cursor over bytes; :class:`MalformedTransaction` at their end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        part = self.data[self.at : self.at + count]
        if len(part) != count:
            raise MalformedTransaction("ends early")
        self.at += count
        return part

    def integer(self, size: int, *, signed: bool = False) -> int:
        """A little-endian integer."""
        return int.from_bytes(self.take(size), "little", signed=signed)

    def compact_size(self) -> int:
        """A length, in its shortest encoding."""
        first = self.integer(1)
        if first < 0xFD:
            return first
        size = {0xFD: 2, 0xFE: 4, 0xFF: 8}[first]
        value = self.integer(size)
        if value < (0xFD, 0x10000, 0x100000000)[size.bit_length() - 2] or value > COMPACT_SIZE_MAX:
            raise MalformedTransaction("non-canonical length")
        return value

    def block(self) -> bytes:
        """Bytes after their length."""
        return self.take(self.compact_size())


def compact_size(value: int) -> bytes:
    """The shortest encoding of a length."""
    if value < 0xFD:
        return bytes([value])
    if value < 0x10000:
        return b"\xfd" + value.to_bytes(2, "little")
    return b"\xfe" + value.to_bytes(4, "little")


def double_sha256(data: bytes) -> bytes:
    """Bitcoin's hash, in the byte order of the wire."""
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def displayed(digest: bytes) -> str:
    """A hash as it is written."""
    return digest[::-1].hex()


def wire(text: str) -> bytes:
    """A written hash as it travels."""
    return bytes.fromhex(text)[::-1]


def parse(raw: bytes) -> Transaction:
    """The transaction that ``raw`` is, all of it; :class:`MalformedTransaction`."""
    reader = Reader(raw)
    transaction = read_transaction(reader)
    if reader.at != len(raw):
        raise MalformedTransaction("bytes after the end")
    return transaction


def read_transaction(reader: Reader) -> Transaction:
    """The transaction at the cursor; :class:`MalformedTransaction`."""
    start = reader.at
    version = reader.integer(4, signed=True)
    has_witness = reader.data[reader.at : reader.at + 2] == b"\x00\x01"
    if has_witness:
        reader.take(2)
    core_start = reader.at
    spent = [
        (Outpoint(displayed(reader.take(32)), reader.integer(4)), reader.block(), reader.integer(4))
        for _ in range(reader.compact_size())
    ]
    if not spent:
        raise MalformedTransaction("no inputs")
    outputs = tuple(TxOut(reader.integer(8, signed=True), reader.block()) for _ in range(reader.compact_size()))
    core = reader.data[core_start : reader.at]
    witnesses: list[tuple[bytes, ...]] = [()] * len(spent)
    if has_witness:
        witnesses = [tuple(reader.block() for _ in range(reader.compact_size())) for _ in spent]
        if not any(witnesses):
            raise MalformedTransaction("superfluous witness record")
    locktime = reader.integer(4)
    raw = reader.data[start : reader.at]
    stripped = raw[:4] + core + raw[-4:]
    txid = displayed(double_sha256(stripped))
    return Transaction(
        version=version,
        inputs=tuple(TxIn(*head, witness) for head, witness in zip(spent, witnesses, strict=True)),
        outputs=outputs,
        locktime=locktime,
        raw=raw,
        txid=txid,
        wtxid=displayed(double_sha256(raw)) if has_witness else txid,
        stripped_size=len(stripped),
    )
