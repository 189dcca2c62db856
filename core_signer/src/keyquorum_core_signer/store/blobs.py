"""Envelopes by their hash: the part of a transaction that a destroyed secret leaves."""

import hashlib

from keyquorum_core_signer.store.ledger import Ledger


def keep(ledger: Ledger, sealed: bytes) -> bytes:
    """Store an envelope. Envelopes hold a fresh nonce, so two are never the same."""
    digest = hashlib.sha256(sealed).digest()
    ledger.connection.execute("INSERT INTO blobs VALUES (?, ?)", (digest, sealed))
    return digest


def destroy(ledger: Ledger, sealed_hash: bytes) -> None:
    """Have nothing of it left in the database."""
    ledger.connection.execute("DELETE FROM blobs WHERE hash = ?", (sealed_hash,))


def take(ledger: Ledger, sealed_hash: bytes) -> bytes:
    """The envelope, which is destroyed with this."""
    rows = ledger.connection.execute("DELETE FROM blobs WHERE hash = ? RETURNING data", (sealed_hash,))
    ((data,),) = rows
    return bytes(data)
