"""Every form of transaction: what it is said to do, against a snapshot; its bytes, against the encoders of ``spl.token`` and
solders; and back again."""

import json

import pytest
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import Instruction
from solders.message import MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.system_program import (
    ID,
    AdvanceNonceAccountParams,
    advance_nonce_account,
    create_nonce_account_with_seed,
)
from spl.token.constants import TOKEN_2022_PROGRAM_ID, TOKEN_PROGRAM_ID

from keyquorum_plugin_api.codec import Decoded, EffectKind
from keyquorum_plugin_api.effects import require_transfer
from keyquorum_plugin_api.errors import ChainError, InvalidAddress, InvalidPayload, UnsupportedAsset
from keyquorum_plugin_api.testing.codec_conformance import transfer_intent
from support.solana_effects import FILE, METADATA, MINT, NONCE, PLACE, TARGET, built, cases, durable, snapshot, token
from support.solana_hostile import MEMO
from support.solana_hostile_tokens import TokenTransfer

US, FRIEND, PAYER = (Pubkey.from_string(TARGET.account(index).account.address) for index in range(3))
BUDGET = [set_compute_unit_limit(600), set_compute_unit_price(1_000)]
OWNED = [TARGET.account(index).account for index in (0, 2)]


def written(payer: Pubkey, instructions: list[Instruction]) -> bytes:
    """A v0 message by solders."""
    blockhash = Hash.from_string(METADATA["blockhash"])
    return bytes(to_bytes_versioned(MessageV0.try_compile(payer, instructions, [], blockhash)))


def test_effects_are_those_of_the_snapshot() -> None:
    """A change of what people approve of is never an accident."""
    assert snapshot() == json.loads(FILE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", cases())
def test_forms_read_back(name: str) -> None:
    """From the payload alone, and they are the transfer that was asked for."""
    intent, _ = cases()[name]
    unsigned = built()[name]
    assert TARGET.codec.decode(unsigned.payload, TARGET.chain, OWNED) == Decoded(unsigned.requests, unsigned.effects)
    fees = [effect.amount for effect in unsigned.effects if effect.kind is EffectKind.FEE]
    assert require_transfer(intent, unsigned.effects) == sum(fees)


@pytest.mark.parametrize("program", [TOKEN_PROGRAM_ID, TOKEN_2022_PROGRAM_ID])
def test_tokens_are_encoded_as_their_program_wants(program: Pubkey) -> None:
    """By an encoder that is not ours."""
    intent, _ = cases()["tokens"]
    made = TokenTransfer(US, FRIEND, program, MINT)
    unsigned = TARGET.codec.build(intent, METADATA | token(program))
    assert unsigned.payload == written(US, [*BUDGET, made.create(), made.move()])


def test_everything_at_once_is_encoded_in_order() -> None:
    """The nonce first, the memo just before the transfer, the account at the payer's cost."""
    made = TokenTransfer(US, FRIEND, TOKEN_2022_PROGRAM_ID, MINT)
    advance = advance_nonce_account(AdvanceNonceAccountParams(nonce_pubkey=NONCE, authorized_pubkey=US))
    memo = Instruction(MEMO, TARGET.memo.encode(), [])
    expected = written(PAYER, [advance, *BUDGET, made.create(PAYER), memo, made.move(decimals=0)])
    assert built()["tokens with everything"].payload == expected


def test_nonce_accounts_are_made_as_solders_makes_them() -> None:
    """With the source as base, payer and authority."""
    place = Pubkey.create_with_seed(US, "spare", ID)
    assert str(place) == PLACE
    made = create_nonce_account_with_seed(US, place, US, "spare", US, 1_447_680)
    assert built()["a new nonce account"].payload == written(US, [*BUDGET, *made])


@pytest.mark.parametrize("name", ["tokens with everything", "a new nonce account by a durable nonce"])
def test_every_bit_is_read(name: str) -> None:
    """A flipped bit is refused, or it is another transaction that is written in exactly these bytes."""
    payload = built()[name].payload
    for bit in range(8 * len(payload)):
        mutated = bytearray(payload)
        mutated[bit // 8] ^= 1 << bit % 8
        try:
            found = TARGET.codec.decode(bytes(mutated), TARGET.chain, OWNED)
        except ChainError:
            continue
        assert {request.message for request in found.requests} == {bytes(mutated)}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("tokens", {"token_program": None}),
        ("tokens", {"token_decimals": None}),
        ("tokens", {"token_decimals": "256"}),
        ("tokens", {"token_decimals": "-1"}),
        ("tokens", {"token_program": "mine"}),
        ("tokens", {"nonce_seed": "spare"}),
        ("lamports", {"token_program": str(TOKEN_PROGRAM_ID), "token_decimals": "6"}),
        ("lamports", {"nonce_slot": "1"}),
        ("lamports", {"nonce_account": str(NONCE)}),
        ("lamports with a durable nonce", {"last_valid_block_height": "1"}),
        ("lamports with a durable nonce", {"nonce_slot": None}),
        ("lamports with a durable nonce", {"nonce_account": "1"}),
        ("a new nonce account", {"nonce_seed": ""}),
        ("a new nonce account", {"nonce_seed": "a" * 33}),
        ("a new nonce account", {"nonce_seed": "x\x00"}),
    ],
)
def test_metadata_is_that_of_its_form(name: str, change: dict[str, str | None]) -> None:
    """Neither less nor more, each value as it must be."""
    intent, metadata = cases()[name]
    changed = {key: value for key, value in {**metadata, **change}.items() if value is not None}
    with pytest.raises(InvalidPayload):
        TARGET.codec.build(intent, changed)


def test_tokens_belong_to_a_token_program() -> None:
    """A node cannot name another program that would then be called."""
    intent, _ = cases()["tokens"]
    with pytest.raises(UnsupportedAsset):
        TARGET.codec.build(intent, METADATA | token(FRIEND))
    for mint in ("11111111111111111111111111111111", str(TOKEN_PROGRAM_ID), "mint", "", f"{MINT} ", f"{MINT}1"):
        asset = f"{TARGET.chain}/token:{mint}"
        with pytest.raises(UnsupportedAsset):
            TARGET.codec.build(transfer_intent(TARGET, asset=asset), METADATA | token(TOKEN_PROGRAM_ID))


def test_a_nonce_account_takes_no_other_part() -> None:
    """It is neither end of the transfer, and no payer."""
    for account in (US, FRIEND, PAYER):
        metadata = durable(METADATA) | {"nonce_account": str(account)}
        with pytest.raises(InvalidAddress, match="no other part"):
            TARGET.codec.build(transfer_intent(TARGET, fee_payer=OWNED[1]), metadata)


def test_longest_transaction_fits_a_packet_and_a_longer_one_is_refused() -> None:
    """Two signatures, a nonce, tokens and the longest memo."""
    intent, metadata = cases()["tokens with everything"]
    values = {name: getattr(intent, name) for name in ("asset", "amount", "fee_payer")}
    longest = TARGET.codec.build(transfer_intent(TARGET, memo="m" * 512, **values), metadata)
    signatures = [TARGET.account(index).sign(longest.requests[0]) for index in (2, 0)]
    assert len(TARGET.codec.combine(longest, signatures).raw) <= 1232
    with pytest.raises(InvalidPayload, match="memo"):
        TARGET.codec.build(transfer_intent(TARGET, memo="m" * 513, **values), metadata)
