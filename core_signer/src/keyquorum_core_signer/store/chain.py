"""The hash chains of events and of audit rows, and the pseudonyms in the latter.

Each record's hash covers all its fields and the hash before it, so whoever has kept one hash can tell any change to what
came before. The chains begin with a hash of the store's own identity: rows of another store do not fit.
"""

import hmac

from keyquorum_core_signer.store.limits import PSEUDONYMS_CACHED_MAX
from keyquorum_core_signer.store.ports import AuditRecord, EventRecord
from keyquorum_core_signer.wire.codec import hash_typed, plain


def genesis(log: str, party: str, store_id: bytes) -> bytes:
    """What the first record of ``log`` (``events`` or ``audit``) has as its predecessor."""
    return hash_typed("keyquorum/store-genesis/v1", log, party, store_id)


def event_hash(event: EventRecord) -> bytes:
    """The hash that belongs into ``event.hash``, 32 bytes."""
    return hash_typed(
        "keyquorum/store-event/v1",
        event.seq,
        event.stream,
        event.version,
        event.event_id,
        event.kind,
        event.at_ms,
        event.payload,
        event.previous,
    )


def audit_hash(row: AuditRecord) -> bytes:
    """The hash that belongs into ``row.hash``, 32 bytes."""
    return hash_typed(
        "keyquorum/store-audit/v1",
        row.seq,
        row.at_ms,
        row.action,
        row.operation,
        row.key,
        row.initiator,
        row.tenant,
        row.detail,
        row.event_hash,
        row.previous,
    )


class Pseudonyms:
    """Turns identifiers into what an audit row shows: equal ones look equal, and only the key's owner can match them."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._known: dict[tuple[str, str | bytes], bytes] = {}

    def of(self, kind: str, identifier: str | bytes) -> bytes:
        """32 bytes for an identifier of a kind (``operation``, ``key``, ``initiator``, ``tenant``); empty for none."""
        if not identifier:
            return b""
        known = self._known.get((kind, identifier))
        if known is None:
            if len(self._known) >= PSEUDONYMS_CACHED_MAX:
                self._known.clear()
            known = self._known[(kind, identifier)] = hmac.digest(self._key, plain.encode((kind, identifier)), "sha256")
        return known

    def __repr__(self) -> str:
        return "Pseudonyms()"
