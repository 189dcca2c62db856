"""Off-chain messages: their one encoding, and that none of them can be a transaction."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.message import from_bytes_versioned
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from keyquorum_plugin_api.errors import InvalidPayload
from keyquorum_sol.codec import SolanaCodec
from keyquorum_sol.messages import TEXT_BYTES_MAX, decode_message, encode_message
from keyquorum_sol.submission import Submission
from support.solana_hostile import hostile_messages
from support.solana_target import SolanaCodecTarget

TARGET = SolanaCodecTarget()
SIGNER = TARGET.account(0).account
US, THIEF = (Pubkey.from_bytes(TARGET.account(index).account.public_key) for index in (0, 2))


def test_layout() -> None:
    """Field by field, as the specification's table has it."""
    payload = encode_message(SIGNER.public_key, "hello")
    assert payload[0x00:0x10] == b"\xffsolana offchain"
    assert payload[0x10] == 0
    assert payload[0x11:0x31] == bytes(32)
    assert payload[0x31] == 0
    assert payload[0x32] == 1
    assert payload[0x33:0x53] == SIGNER.public_key
    assert payload[0x53:0x55] == (5).to_bytes(2, "little")
    assert payload[0x55:] == b"hello"


@pytest.mark.parametrize(("text", "kind"), [("plain ~", 0), ("line\nbreak", 1), ("ü", 1)])
def test_format_follows_from_the_text(text: str, kind: int) -> None:
    """Version 0 has no newline in its restricted ASCII."""
    assert encode_message(SIGNER.public_key, text)[0x31] == kind


def test_longest_message_fits_a_packet() -> None:
    """One byte more does not."""
    payload = encode_message(SIGNER.public_key, "x" * TEXT_BYTES_MAX)
    assert len(payload) == 1232
    assert decode_message(payload) == (SIGNER.public_key, "x" * TEXT_BYTES_MAX)
    with pytest.raises(InvalidPayload):
        encode_message(SIGNER.public_key, "x" * (TEXT_BYTES_MAX + 1))


@given(st.text(min_size=1, max_size=300))
def test_text_survives_or_is_refused(text: str) -> None:
    """Whatever can be signed reads back as it was, and is no message of the runtime."""
    try:
        payload = encode_message(SIGNER.public_key, text)
    except InvalidPayload:
        return
    assert decode_message(payload) == (SIGNER.public_key, text)
    with pytest.raises(ValueError, match="tag encoding"):
        from_bytes_versioned(payload)


def test_signed_message_is_no_transaction() -> None:
    """Neither the envelope nor the message with a signature in front as a transaction has it."""
    unsigned = TARGET.codec.build_message(SIGNER, TARGET.chain, "pay me")
    signature = TARGET.account(0).sign(unsigned.requests[0])
    signed = SolanaCodec().combine(unsigned, [signature])
    assert signed.raw == b"\x01" + signature + unsigned.payload
    with pytest.raises(ValueError, match="tag encoding"):
        VersionedTransaction.from_bytes(signed.raw)
    with pytest.raises(InvalidPayload):
        Submission.parse(signed.raw, signed.txid)


@pytest.mark.parametrize("name", hostile_messages(US, THIEF))
def test_other_encodings_are_refused(name: str) -> None:
    """Each for itself."""
    with pytest.raises(InvalidPayload):
        TARGET.codec.decode(hostile_messages(US, THIEF)[name], TARGET.chain, [SIGNER])


@pytest.mark.parametrize(
    "mark", ["\u200e", "\u00ad", "\u200b", "\u2060", "\ufeff", "\u202e", "\u2066", "\u2028", "\x7f", "\x9b", "\r", "\t"]
)
def test_what_cannot_be_seen_is_refused(mark: str) -> None:
    """Wherever it stands."""
    for text in (mark, f"a{mark}b"):
        with pytest.raises(InvalidPayload, match="U\\+"):
            encode_message(SIGNER.public_key, text)
