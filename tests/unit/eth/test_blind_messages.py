"""Messages and documents that are made to be taken for something else, or to break whoever reads them."""

import json

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct

from keyquorum_eth.messages import encode_text, message_digest
from keyquorum_eth.payloads import Kind, Payload
from keyquorum_plugin_api.errors import ChainError, InvalidPayload
from support.anvil import CHAIN, CHAIN_ID
from support.ethereum_hostile import bytes_of
from support.ethereum_target import EthereumCodecTarget

READABLE_HASH = b"pay 9 eth to the one who asks it"  # stands for one that was searched until it could be read


def payload_of(target: EthereumCodecTarget, kind: Kind, body: bytes) -> bytes:
    return Payload(kind, CHAIN_ID, bytes_of(target.account(0).account.address), body).encode()


def test_a_hash_that_can_be_read_is_not_signed(target: EthereumCodecTarget) -> None:
    """Contracts take a personal message of 32 bytes for a signed hash: of a Safe's transaction or a user operation."""
    account = target.account(0).account
    assert len(READABLE_HASH) == 32
    as_contracts_do = encode_defunct(primitive=READABLE_HASH)
    signed = Account.from_key(bytes([1] * 32)).sign_message(as_contracts_do)
    assert bytes(signed.message_hash) == message_digest(READABLE_HASH)
    with pytest.raises(InvalidPayload, match="32 bytes"):
        target.codec.build_message(account, CHAIN, READABLE_HASH.decode())
    with pytest.raises(InvalidPayload, match="32 bytes"):
        target.codec.decode(payload_of(target, Kind.MESSAGE, READABLE_HASH), CHAIN, [account])


@pytest.mark.parametrize("text", ["x" * 31, "x" * 33, "\N{LATIN SMALL LETTER E WITH ACUTE}" * 32])
def test_the_length_that_counts_is_that_of_the_bytes(text: str) -> None:
    """Texts of any other length are signed."""
    assert encode_text(text) == text.encode()
    with pytest.raises(InvalidPayload):
        encode_text("\N{LATIN SMALL LETTER E WITH ACUTE}" * 16)


@pytest.mark.parametrize("character", ["\u00ad", "\u200b", "\u2060", "\ufeff"])
def test_characters_without_a_shape_are_refused(character: str) -> None:
    """Two texts that look the same must not be two messages."""
    with pytest.raises(InvalidPayload, match=f"U\\+{ord(character):04X}"):
        encode_text(f"log in{character} once")


@pytest.mark.parametrize("place", ["domain", "message"])
def test_a_lone_surrogate_in_a_document_is_refused(target: EthereumCodecTarget, place: str) -> None:
    """JSON can spell what UTF-8 cannot; anything but a refusal would end the codec's process at every party."""
    account = target.account(0).account
    document = {
        "types": {
            "EIP712Domain": [{"name": "name", "type": "string"}, {"name": "chainId", "type": "uint256"}],
            "Note": [{"name": "text", "type": "string"}],
        },
        "primaryType": "Note",
        "domain": {"name": "\ud800" if place == "domain" else "x", "chainId": CHAIN_ID},
        "message": {"text": "\ud800" if place == "message" else "x"},
    }
    text = json.dumps(document)
    for attempt in (
        lambda: target.codec.build_typed_data(account, CHAIN, text),
        lambda: target.codec.decode(payload_of(target, Kind.DOCUMENT, text.encode()), CHAIN, [account]),
    ):
        with pytest.raises(ChainError):
            attempt()
