"""Commands cannot be malformed, and do not show what they carry."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from keyquorum_core_signer.store import commands as c
from keyquorum_core_signer.store import limits
from support.share_store import NOW_MS, activation, admission, prepared, sealed_share

BAN = c.BanPeer("op_1", "party-2", "key_1", "bad proof", bytes(32), NOW_MS)
DELETE = c.DeleteShares("op_1", "key_1", 1, NOW_MS)
DENIAL = c.RecordDenial("op_1", "policy-denied", "asset", "default", "key_1", bytes(32), NOW_MS)
UPDATE = c.UpdateShare("key_1", 1, 2, "soft:test:2", NOW_MS, sealed_share(version=2))
LONG = "x" * (limits.ID_CHARS_MAX + 1)

WRONG: list[tuple[c.Command[Any], str, list[object]]] = [
    (admission(), "op_id", ["", "a/b", "a b", "ä", "a\n", LONG, b"op_1", None]),
    (admission(), "intent_hash", [b"", bytes(31), bytes(33), "x" * 32, bytearray(32)]),
    (admission(), "initiator", [b"", bytes(33)]),
    (admission(), "nonce", [b"", bytes(16)]),
    (admission(), "kind", ["sign", None]),
    (admission(), "now_ms", [-1, limits.TIME_MS_BOUND, 1.5, "1", True]),
    (admission(), "valid_until_ms", [-1, limits.VALID_UNTIL_MS_BOUND]),
    (admission(), "spends", [[], (c.Spend("a", 1, 1, 1),) * 2, tuple(c.Spend(str(n), 1, 1, 1) for n in range(65))]),
    (prepared("op_1"), "epoch", [0, -1, limits.EPOCH_BOUND]),
    (prepared("op_1"), "version", [0, 2]),
    (prepared("op_1"), "statement", [b"", bytes(limits.STATEMENT_BYTES_MAX + 1)]),
    (prepared("op_1"), "sealed", [b"", bytes(limits.SEALED_BYTES_MAX + 1)]),
    (prepared("op_1"), "user_id", ["", "a b", LONG]),
    (activation(), "signatures", [(), (c.NodeSignature("party-1", b"x"),) * 65]),
    (UPDATE, "version", [0]),
    (DELETE, "through_epoch", [0]),
    (BAN, "evidence_hash", [b"", bytes(31)]),
    (BAN, "reason", ["a\nb", "x" * (limits.DETAIL_CHARS_MAX + 1)]),
    (DENIAL, "code", ["x" * 65, "a\x00"]),
    (DENIAL, "initiator", [bytes(31)]),
    (c.PruneOperations(0, 0), "before_ms", [-1, limits.TIME_MS_BOUND]),
    (c.MarkEmitted("op_1", NOW_MS), "op_id", [""]),
    (c.ReleaseReservation("op_1", NOW_MS), "op_id", [""]),
]


@pytest.mark.parametrize(
    ("command", "field", "value"),
    [(command, field, value) for command, field, values in WRONG for value in values],
)
def test_malformed_commands_cannot_be_made(command: Any, field: str, value: object) -> None:
    """Sizes, alphabets and ranges are checked where a command is made, naming the field."""
    with pytest.raises(ValueError, match=field):
        replace(command, **{field: value})


@pytest.mark.parametrize(
    "make",
    [
        lambda: c.Spend("", -1, 1, 1),
        lambda: c.Spend("a", 2**256, 1, 1),
        lambda: c.Spend("a", 1, -1, 1),
        lambda: c.Spend("a", 1, 1, 0),
        lambda: c.Spend("a", 1, 1, limits.WINDOW_S_MAX + 1),
        lambda: c.Spend("a\n", 1, 1, 1),
        lambda: c.NodeSignature("", b"x"),
        lambda: c.NodeSignature("party-1", b""),
        lambda: c.NodeSignature("party-1", bytes(limits.SIGNATURE_BYTES_MAX + 1)),
    ],
)
def test_malformed_parts_cannot_be_made(make: Callable[[], object]) -> None:
    """The parts of a command are held to the same."""
    with pytest.raises(ValueError):
        make()


def test_denials_may_not_know_their_subject() -> None:
    """Something that was refused before it could be read has no ids to report."""
    assert c.RecordDenial("", "intent-invalid", "", "", "", b"", NOW_MS).detail == ""


def test_envelopes_are_not_shown() -> None:
    """A command in a log line or a traceback does not print the sealed share."""
    for command in (prepared("op_1"), UPDATE):
        assert "sealed" not in repr(command)
