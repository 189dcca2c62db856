"""Nonce accounts: a stored value that stands in for a recent blockhash, so that a transaction can wait to be signed.

Layout (80 bytes, little endian): version u32, 1 for those that are still accepted; state u32, 1 once initialised;
authority 32; value 32; lamports per signature u64. A transaction that uses the value advances it, whether it succeeds or
fails, and no value comes twice: what names an earlier one can never be included any more.
"""

from dataclasses import dataclass

from solders.hash import Hash
from solders.pubkey import Pubkey

from keyquorum_sol.addresses import SYSTEM_PROGRAM
from keyquorum_sol.limits import NONCE_ACCOUNT_BYTES

_INITIALISED = b"\x01\x00\x00\x00\x01\x00\x00\x00"


@dataclass(frozen=True, slots=True)
class StoredNonce:
    """What a nonce account says."""

    authority: Pubkey
    value: Hash


def read_nonce(program: Pubkey, data: bytes) -> StoredNonce | None:
    """What an account that ``program`` owns stores; None where it is no nonce account that can be used."""
    if program != SYSTEM_PROGRAM or len(data) != NONCE_ACCOUNT_BYTES or data[:8] != _INITIALISED:
        return None
    return StoredNonce(Pubkey.from_bytes(data[8:40]), Hash(data[40:72]))
