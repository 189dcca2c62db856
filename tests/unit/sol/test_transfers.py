"""The bytes of a transfer, against an encoder written from the format, and the bounds of every field."""

from dataclasses import replace
from typing import Any

import pytest
from solders.hash import Hash
from solders.message import from_bytes_versioned
from solders.pubkey import Pubkey

from keyquorum_plugin_api.errors import ChainError, FeeTooHigh, InvalidAddress, InvalidAmount, InvalidPayload
from keyquorum_sol.limits import FEE_LAMPORTS_MAX, MEMO_BYTES_MAX
from keyquorum_sol.movements import MoveLamports
from keyquorum_sol.transfers import Transfer, priority_fee
from support.solana_hostile import compiled, honest, hostile_transfers
from support.solana_target import solana_account

US, FRIEND, THIEF = (Pubkey.from_bytes(solana_account(b"transfers", index).account.public_key) for index in range(3))
COMPUTE_BUDGET = bytes(Pubkey.from_string("ComputeBudget111111111111111111111111111111"))
MEMO = bytes(Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr"))
SYSTEM = bytes(32)
HONEST = Transfer(US, MoveLamports(FRIEND, 1_000_000_000), Hash(bytes(range(32))), 600, 1_000)


def changed(**fields: Any) -> Transfer:
    """The honest transfer with other fields."""
    moved = {name: fields.pop(name) for name in ("destination", "amount") if name in fields}
    return replace(HONEST, movement=replace(HONEST.movement, **moved), **fields)


def by_hand(made: Transfer) -> bytes:
    """A v0 message as the format has it: prefix, header, keys, blockhash, instructions, no lookups.

    Keys: writable signer, writable, then read-only programs in byte order. Lengths below 128 are one byte.
    """

    def short(number: int) -> bytes:
        return bytes([number]) if number < 128 else bytes([number & 127 | 128, number >> 7])

    programs = sorted([COMPUTE_BUDGET, SYSTEM, *([MEMO] if made.memo else [])])
    keys = [bytes(made.source), bytes(made.movement.destination), *programs]
    instructions = [
        (COMPUTE_BUDGET, b"", b"\x02" + made.compute_unit_limit.to_bytes(4, "little")),
        (COMPUTE_BUDGET, b"", b"\x03" + made.compute_unit_price.to_bytes(8, "little")),
        (SYSTEM, b"\x00\x01", b"\x02\x00\x00\x00" + made.movement.amount.to_bytes(8, "little")),
    ]
    if made.memo:
        instructions.append((MEMO, b"", made.memo.encode()))
    encoded = b"".join(
        bytes([keys.index(program)]) + short(len(accounts)) + accounts + short(len(data)) + data
        for program, accounts, data in instructions
    )
    header = bytes([0x80, 1, 0, len(programs)])
    return (
        header
        + short(len(keys))
        + b"".join(keys)
        + bytes(made.blockhash)
        + short(len(instructions))
        + encoded
        + b"\x00"
    )


@pytest.mark.parametrize(
    "made",
    [
        HONEST,
        changed(memo="x"),
        changed(memo="Grüße\n" * 50),
        changed(memo="m" * MEMO_BYTES_MAX),
        changed(amount=1),
        changed(amount=2**64 - 1),
        changed(compute_unit_price=0),
        changed(compute_unit_limit=1_400_000),
        changed(source=FRIEND, destination=US),
    ],
)
def test_bytes_are_those_of_the_format(made: Transfer) -> None:
    """Two encoders agree, and the bytes read back as the same transfer."""
    assert made.encode() == by_hand(made)
    assert Transfer.decode(made.encode()) == made


def test_control_of_the_hostile_payloads() -> None:
    """Without its one difference, a hostile payload is an honest transfer; with it, it still is a message."""
    assert Transfer.decode(compiled(US, honest(US, FRIEND))) == HONEST
    unparsable = set()
    for name, payload in hostile_transfers(US, FRIEND, THIEF).items():
        try:
            from_bytes_versioned(payload)
        except ValueError:
            unparsable.add(name)
    assert unparsable == {"message of version 1", "message of version 127"}


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"amount": 0}, InvalidAmount),
        ({"amount": 2**64}, InvalidAmount),
        ({"amount": True}, InvalidAmount),
        ({"destination": US}, InvalidAddress),
        ({"destination": Pubkey.default()}, InvalidAddress),
        ({"compute_unit_limit": 0}, InvalidPayload),
        ({"compute_unit_limit": 1_400_001}, InvalidPayload),
        ({"compute_unit_price": -1}, FeeTooHigh),
        ({"compute_unit_price": 2**64}, FeeTooHigh),
        ({"memo": "m" * (MEMO_BYTES_MAX + 1)}, InvalidPayload),
        ({"memo": "\u202e"}, InvalidPayload),
    ],
)
def test_impossible_transfers_do_not_exist(fields: dict[str, Any], kind: type[ChainError]) -> None:
    """The constructor refuses them, so nothing has to check again."""
    with pytest.raises(kind):
        changed(**fields)


def test_fee_is_rounded_up_and_capped() -> None:
    """As the runtime rounds: one micro-lamport is a lamport. At the cap it is signed, above it never."""
    assert [priority_fee(units, 1) for units in (1, 1_000_000, 1_000_001)] == [1, 1, 2]
    assert changed(compute_unit_limit=1, compute_unit_price=1).fee == 5_001
    at_cap = changed(compute_unit_limit=1_000_000, compute_unit_price=FEE_LAMPORTS_MAX - 5_000)
    assert at_cap.fee == FEE_LAMPORTS_MAX
    with pytest.raises(FeeTooHigh):
        changed(compute_unit_limit=1_000_000, compute_unit_price=FEE_LAMPORTS_MAX - 4_999)
