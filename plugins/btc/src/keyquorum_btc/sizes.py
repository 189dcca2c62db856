"""Weights (BIP141) of what this plugin makes, and the fees that follow from them.

Fee rates are whole satoshi per 1,000 virtual bytes, as nodes relay by: 1 sat/vB is 1,000. Nothing here is a float.
"""

from collections.abc import Iterable

WITNESS_SCALE = 4
RATE_UNIT_VBYTES = 1_000

# Version 4, locktime 4, one-byte counts of inputs and outputs; segwit marker and flag weigh one each.
OVERHEAD_WEIGHT = WITNESS_SCALE * (4 + 4 + 1 + 1) + 2
# Outpoint 36, empty scriptSig 1, sequence 4; witness: count, length, a signature of 64 bytes.
INPUT_WEIGHT = WITNESS_SCALE * (36 + 1 + 4) + (1 + 1 + 64)

P2PKH_SCRIPT_BYTES = 25
P2SH_SCRIPT_BYTES = 23
P2WPKH_SCRIPT_BYTES = 22
P2WSH_SCRIPT_BYTES = 34
P2TR_SCRIPT_BYTES = 34

DUST_RELAY_RATE = 3_000  # Bitcoin Core's policy since 0.15, per 1,000 virtual bytes
_SPEND_LEGACY_VBYTES = 148
_SPEND_WITNESS_VBYTES = 67


def output_weight(script_bytes: int) -> int:
    """Weight of an output whose scriptPubKey has that many bytes (at most 252)."""
    return WITNESS_SCALE * (8 + 1 + script_bytes)


CHANGE_WEIGHT = output_weight(P2TR_SCRIPT_BYTES)


def transaction_weight(inputs: int, script_bytes: Iterable[int]) -> int:
    """Weight of a signed transaction with ``inputs`` P2TR key-path inputs and outputs with scripts of these lengths."""
    return OVERHEAD_WEIGHT + inputs * INPUT_WEIGHT + sum(output_weight(length) for length in script_bytes)


def vsize(weight: int) -> int:
    """Virtual bytes, rounded up as nodes do."""
    return -(-weight // WITNESS_SCALE)


def fee_at(rate: int, weight: int) -> int:
    """Satoshi that ``weight`` costs at ``rate`` (satoshi per 1,000 virtual bytes), rounded up."""
    return -(-rate * weight // (WITNESS_SCALE * RATE_UNIT_VBYTES))


def transaction_fee(rate: int, weight: int) -> int:
    """Satoshi that a whole transaction owes at ``rate``: nodes charge for virtual bytes, which are whole."""
    return fee_at(rate, WITNESS_SCALE * vsize(weight))


def dust_limit(script: bytes) -> int:
    """The least amount that nodes relay to a script: 546 for P2PKH, 540 P2SH, 294 P2WPKH, 330 P2WSH and P2TR."""
    witness = script[:2] in (b"\x00\x14", b"\x00\x20", b"\x51\x20")
    spend = _SPEND_WITNESS_VBYTES if witness else _SPEND_LEGACY_VBYTES
    return (8 + 1 + len(script) + spend) * DUST_RELAY_RATE // RATE_UNIT_VBYTES


CHANGE_DUST_LIMIT = dust_limit(b"\x51\x20" + bytes(32))
"""The least change: what goes back is P2TR like what it came from."""
