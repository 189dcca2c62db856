"""Chain hashes cover every field, and pseudonyms tell nothing but equality."""

from dataclasses import fields, replace
from typing import Any

import pytest

from keyquorum_core_signer.store.chain import Pseudonyms, audit_hash, event_hash, genesis
from keyquorum_core_signer.store.ports import AuditRecord, EventRecord

EVENT = EventRecord(1, "key/a", 1, "prepare/a/1", "share-prepared", 5, b"payload", bytes(32), b"")
ROW = AuditRecord(1, 5, "share-prepared", b"o", b"k", b"i", b"t", "detail", bytes(32), bytes(32), b"")


def changed(value: Any) -> Any:
    return value + 1 if isinstance(value, int) else value + (b"x" if isinstance(value, bytes) else "x")


@pytest.mark.parametrize("name", [f.name for f in fields(EventRecord) if f.name != "hash"])
def test_event_hash_covers_every_field(name: str) -> None:
    """A change to any field but the hash itself changes the hash."""
    assert event_hash(replace(EVENT, **{name: changed(getattr(EVENT, name))})) != event_hash(EVENT)


@pytest.mark.parametrize("name", [f.name for f in fields(AuditRecord) if f.name != "hash"])
def test_audit_hash_covers_every_field(name: str) -> None:
    """The same for audit rows."""
    assert audit_hash(replace(ROW, **{name: changed(getattr(ROW, name))})) != audit_hash(ROW)


def test_neighbouring_fields_cannot_be_shifted() -> None:
    """Moving a byte from one field into the next is another row."""
    assert audit_hash(replace(ROW, operation=b"ok", key=b"")) != audit_hash(replace(ROW, operation=b"o", key=b"k"))


def test_chains_of_different_stores_and_logs_start_apart() -> None:
    """Rows of another party's store, or of the other log, do not fit."""
    starts = {genesis(log, party, store) for log in ("events", "audit") for party in "ab" for store in (b"1", b"2")}
    assert len(starts) == 8


def test_pseudonyms_are_equal_for_equal_subjects_only() -> None:
    """Kind, identifier and key all matter; nothing stays nothing."""
    mine, theirs = Pseudonyms(bytes(32)), Pseudonyms(bytes([1]) * 32)
    assert mine.of("key", "key_1") == mine.of("key", "key_1") == Pseudonyms(bytes(32)).of("key", "key_1")
    values = {mine.of("key", "key_1"), mine.of("key", "key_2"), mine.of("tenant", "key_1"), theirs.of("key", "key_1")}
    assert len(values) == 4
    assert all(len(value) == 32 for value in values)
    assert mine.of("key", "") == mine.of("initiator", b"") == b""


def test_pseudonyms_do_not_show_their_key() -> None:
    """The key stands in no representation."""
    assert repr(Pseudonyms(b"k" * 32)) == "Pseudonyms()"


def test_pseudonyms_stay_right_when_many_pass_through() -> None:
    """Memory is bounded, and a value asked for again is the same."""
    pseudonyms = Pseudonyms(bytes(32))
    first = pseudonyms.of("operation", "op_first")
    for number in range(10_000):
        pseudonyms.of("operation", f"op_{number}")
    assert len(pseudonyms._known) <= 4096
    assert pseudonyms.of("operation", "op_first") == first
