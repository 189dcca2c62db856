"""Oblivious transfer extension: SoftSpokenOT (Roy, CRYPTO 2022) for the field of two elements, which is IKNP with a
linear consistency check that has a proof.

From 128 keys of base transfers, in which the roles are the other way round, 512 random transfers come in one message.
The sender holds Delta and the key of each of its bits; the receiver holds both keys. Position j of the sender's matrix
differs from the receiver's by x_j * Delta, where x holds the receiver's choices.

Check: a random matrix R of 128 rows, hashed from the receiver's message (Fiat-Shamir), must give the same on both sides.
128 more positions, whose choices are random, mask what R shows, and are thrown away. A receiver that uses different
choices in different columns is found out unless it guesses the bits of Delta there: every guess is caught with
probability one half. Who catches it must destroy Delta.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Annotated, Final, TypeAlias

from keyquorum_core_signer.primitives.ot.bits import (
    SIDE,
    STRIDE,
    RandomMatrix,
    integer,
    join,
    split,
    to_bytes,
    transpose,
)
from keyquorum_core_signer.primitives.transcript import digest
from keyquorum_core_signer.wire.codec import Bytes32, Length

Rng: TypeAlias = Callable[[int], bytes]

BASE_TRANSFERS: Final = SIDE  # kappa: bits of Delta
TRANSFERS: Final = 512  # xi = 256 bits of the group order + 2 * 128 bits of statistical security
CHECK_ROWS: Final = SIDE
KEY_BYTES: Final = 32
ROW_BYTES: Final = SIDE // 8  # of one transfer
CHOICE_BYTES: Final = TRANSFERS // 8
_MASK_BYTES: Final = CHECK_ROWS // 8
_COLUMN_BYTES: Final = CHOICE_BYTES + _MASK_BYTES
_U_BYTES: Final = BASE_TRANSFERS * _COLUMN_BYTES
_T_BYTES: Final = CHECK_ROWS * ROW_BYTES


_TOP: Final = 1 << SIDE
_POSITIONS: Final = tuple((j.to_bytes(2, "big"), j * ROW_BYTES) for j in range(TRANSFERS))


class InconsistentExtension(ValueError):
    """Proves that the receiver did not use one vector of choices throughout, inside a session that both sides match.

    That its message arrived at all tells it bits of Delta, so Delta must not be used again.
    """


@dataclass(frozen=True, slots=True)
class ExtensionMessage:
    """From the receiver: its choices under both keys' streams, and the answer to the check."""

    nonce: Bytes32  # a session id that repeats by mistake must not repeat a stream
    u: Annotated[bytes, Length(_U_BYTES)]  # 128 columns of 640 bits
    x_hat: Annotated[bytes, Length(_MASK_BYTES)]  # R * x, masked
    t_hat: Annotated[bytes, Length(_T_BYTES)]  # R * T, masked: 128 rows of 128 bits


@dataclass(frozen=True, slots=True)
class SenderSeeds:
    """What the extension's sender holds: Delta, and the key of each of its bits."""

    delta: Annotated[bytes, Length(ROW_BYTES)] = field(repr=False)
    keys: tuple[Bytes32, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class ReceiverSeeds:
    """What the extension's receiver holds: both keys of every base transfer."""

    pairs: tuple[tuple[Bytes32, Bytes32], ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class SentRows:
    """The sender's two keys of every transfer, 16 bytes each, one after another."""

    zeros: bytes = field(repr=False)
    ones: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ReceivedRows:
    """The receiver's choices, bit j of little-endian bytes for transfer j, and the key of each."""

    choices: bytes = field(repr=False)
    rows: bytes = field(repr=False)


def bits_of(data: bytes) -> tuple[int, ...]:
    """Bits in the order of the transfers: the lowest bit of the first byte first."""
    return tuple(map(int, f"{int.from_bytes(data, 'little'):0{8 * len(data)}b}"[::-1]))


def packed(bits: Sequence[int]) -> bytes:
    """Inverse of :func:`bits_of`."""
    return bytes(sum(bits[8 * i + k] << k for k in range(8)) for i in range(len(bits) // 8))


def receive(seeds: ReceiverSeeds, place: bytes, rng: Rng) -> tuple[ReceivedRows, ExtensionMessage]:
    """Draw random choices and extend. ``place`` is the digest of session, pair and direction; it never repeats."""
    nonce = rng(32)
    x = rng(_COLUMN_BYTES)
    zeros = _streams((k_0 for k_0, _ in seeds.pairs), place, nonce)
    ones = _streams((k_1 for _, k_1 in seeds.pairs), place, nonce)
    u = to_bytes(integer(zeros) ^ integer(ones) ^ integer(x * BASE_TRANSFERS), _U_BYTES)
    rows = transpose(zeros)

    # The check: R * (T | x) plus the masking rows, so that the left-hand column gives x_hat.
    R = _random_matrix(place, nonce, u)
    joined = [row + x_j * _TOP for row, x_j in zip(split(rows, SIDE), bits_of(x), strict=True)]
    product = R.times(joined[:TRANSFERS]) ^ join(joined[TRANSFERS:], STRIDE)
    checked = split(to_bytes(product, CHECK_ROWS * STRIDE // 8), STRIDE)
    x_hat = packed([int(row >> SIDE) for row in checked])
    t_hat = to_bytes(join([row & (_TOP - 1) for row in checked], SIDE), _T_BYTES)
    received = ReceivedRows(x[:CHOICE_BYTES], rows[: TRANSFERS * ROW_BYTES])
    return received, ExtensionMessage(nonce, u, x_hat, t_hat)


def send(seeds: SenderSeeds, place: bytes, message: ExtensionMessage) -> SentRows:
    """Extend with the receiver's message; :class:`InconsistentExtension` if the check fails."""
    delta = bits_of(seeds.delta)
    chosen = _streams(seeds.keys, place, message.nonce)
    selected = b"".join(bytes((0xFF * bit,)) * _COLUMN_BYTES for bit in delta)
    q = to_bytes(integer(chosen) ^ (integer(selected) & integer(message.u)), _U_BYTES)
    rows = transpose(q)

    # The check: R * Q plus the masking rows is t_hat + x_hat * Delta.
    R = _random_matrix(place, message.nonce, message.u)
    parts = split(rows, SIDE)
    left = R.times(parts[:TRANSFERS]) ^ join(parts[TRANSFERS:], STRIDE)
    right = join(split(message.t_hat, SIDE), STRIDE) ^ join(bits_of(message.x_hat), STRIDE) * integer(seeds.delta)
    length = CHECK_ROWS * STRIDE // 8
    if not compare_digest(to_bytes(left, length), to_bytes(right, length)):
        raise InconsistentExtension("R * Q is not t_hat + x_hat * Delta")
    zeros = rows[: TRANSFERS * ROW_BYTES]
    ones = to_bytes(integer(zeros) ^ integer(seeds.delta * TRANSFERS), len(zeros))
    return SentRows(zeros, ones)


def hashed(rows: bytes, place: bytes, length: int) -> bytes:
    """``length`` bytes for every transfer: SHAKE128 over place, position and key, all of fixed length.

    The key is 128 bits that two transfers may share a difference in, so it is never used as it is.
    """
    shake = hashlib.shake_128
    return b"".join([shake(place + position + rows[at : at + ROW_BYTES]).digest(length) for position, at in _POSITIONS])


def _streams(keys: Iterable[bytes], place: bytes, nonce: bytes) -> bytes:
    """One column per key: SHAKE128 over key, place and nonce, 32 bytes each."""
    suffix = place + nonce
    return b"".join([hashlib.shake_128(key + suffix).digest(_COLUMN_BYTES) for key in keys])


def _random_matrix(place: bytes, nonce: bytes, u: bytes) -> RandomMatrix:
    return RandomMatrix(digest("keyquorum/ot-extension/v1/check", place, nonce, u), TRANSFERS)
