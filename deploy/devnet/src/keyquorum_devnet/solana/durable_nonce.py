"""Durable nonces: the rule by which a transaction may name the value in a nonce account instead of a recent blockhash.

The runtime as embedded knows one blockhash only and is run with that check off, so the rule is applied here. Layout of
a nonce account (80 bytes, little endian): version u32 = 1, state u32 = 1 (initialised), authority 32, nonce 32,
lamports per signature u64.
"""

import hashlib

from solders.account import Account
from solders.hash import Hash
from solders.litesvm import LiteSVM
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM_PROGRAM

from keyquorum_devnet.solana.messages import AnyMessage, is_writable, signers_of

_ADVANCE_NONCE_ACCOUNT = (4).to_bytes(4, "little")
_INITIALISED = b"\x01\x00\x00\x00\x01\x00\x00\x00"
_AUTHORITY = slice(8, 40)
_NONCE = slice(40, 72)
_ACCOUNT_BYTES = 80


def next_nonce(blockhash: Hash) -> bytes:
    """The value that a nonce account takes when it is advanced in the block after ``blockhash``."""
    return hashlib.sha256(b"DURABLE_NONCE" + bytes(blockhash)).digest()


def nonce_account_of(message: AnyMessage) -> Pubkey | None:
    """The nonce account that a message advances in its first instruction, whatever state that account is in."""
    if not message.instructions:
        return None
    first = message.instructions[0]
    keys = message.account_keys
    if keys[first.program_id_index] != SYSTEM_PROGRAM or first.data[:4] != _ADVANCE_NONCE_ACCOUNT or not first.accounts:
        return None
    index = first.accounts[0]
    return keys[index] if index < len(keys) and is_writable(message, index) else None


def may_use(svm: LiteSVM, message: AnyMessage, tip: Hash) -> Pubkey | None:
    """The nonce account that makes ``message`` acceptable although its blockhash is not recent; None if nothing does.

    The stored nonce must be the one that the message names, its authority must sign the advancing instruction, and it
    must not have been advanced in this very block.
    """
    address = nonce_account_of(message)
    account = svm.get_account(address) if address is not None else None
    if account is None or not _initialised(account):
        return None
    nonce = bytes(account.data[_NONCE])
    authority = Pubkey.from_bytes(bytes(account.data[_AUTHORITY]))
    signers = signers_of(message, bytes(message.instructions[0].accounts))
    if nonce != bytes(message.recent_blockhash) or nonce == next_nonce(tip) or authority not in signers:
        return None
    return address


def advance(svm: LiteSVM, address: Pubkey, tip: Hash) -> None:
    """Advance a nonce account after a transaction that used it was charged for, whether or not it succeeded."""
    account = svm.get_account(address)
    if account is None or not _initialised(account):
        return  # a successful transaction may have closed it
    data = bytearray(account.data)
    data[_NONCE] = next_nonce(tip)
    svm.set_account(
        address,
        Account(account.lamports, bytes(data), account.owner, executable=False, rent_epoch=account.rent_epoch),
    )


def _initialised(account: Account) -> bool:
    data = bytes(account.data)
    return account.owner == SYSTEM_PROGRAM and len(data) == _ACCOUNT_BYTES and data[:8] == _INITIALISED
