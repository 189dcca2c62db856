"""BIP-322's vectors, and that no message can be a transaction, nor a transaction a message."""

import base64
import hashlib

import pytest
from embit import base58
from embit.transaction import Transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from keyquorum_btc import psbt
from keyquorum_btc.addresses import parse_destination
from keyquorum_btc.codec import BitcoinCodec
from keyquorum_btc.messages import HEADER, SIMPLE_PREFIX, SignedText, simple_signature, to_sign, to_spend
from keyquorum_btc.network import MAINNET
from keyquorum_btc.taproot import verifies
from keyquorum_plugin_api.codec import Effect, EffectKind
from keyquorum_plugin_api.errors import InvalidPayload
from support.bitcoin_by_hand import TaprootKey, local_account, tagged, taproot_key
from support.bitcoin_codec_target import hostile_messages
from support.vectors import load

VECTORS = load("bip322_messages")
US, THIEF = taproot_key(b"messages", 0), taproot_key(b"messages", 1)
HOSTILE = hostile_messages(US, THIEF)


@pytest.mark.parametrize("vector", VECTORS["hashes"], ids=lambda vector: vector["message"])
def test_published_hashes(vector):
    """Of the message and of both virtual transactions."""
    script, message = parse_destination(vector["address"], MAINNET.chain), vector["message"].encode()
    assert tagged("BIP0322-signed-message", message).hex() == vector["message_hash"]
    assert to_spend(script, message).vin[0].script_sig.data.hex() == "0020" + vector["message_hash"]
    assert to_spend(script, message).txid().hex() == vector["to_spend_tx_hash"]
    assert to_sign(script, message).txid().hex() == vector["to_sign_tx_hash"]


@pytest.mark.parametrize("vector", VECTORS["p2tr"], ids=lambda vector: vector["message"])
def test_published_signatures(vector):
    """The BIP's own P2TR signatures verify for what our codec asks to be signed, for the address that it derives, and
    our codec takes them and gives back the BIP's witness."""
    key = TaprootKey(base58.decode_check(vector["wif"])[1:33])
    account = local_account(key, vector["address"], 0).account
    unsigned = BitcoinCodec().build_message(account, MAINNET.chain, vector["message"])
    witness = base64.b64decode(vector["signature"].removeprefix(SIMPLE_PREFIX))
    signature = witness[2:]
    assert witness[:2] == bytes([1, 64])
    assert verifies(signature, unsigned.requests[0].message, key.internal)
    signed = BitcoinCodec().combine(unsigned, [signature])
    assert signed.raw == witness
    assert signed.txid == to_sign(key.script, vector["message"].encode()).txid().hex()


def test_layout_and_effect():
    """Header, key, text; one effect, one request."""
    account = local_account(US, BitcoinCodec().derive_address(US.public_key, MAINNET.chain), 5).account
    unsigned = BitcoinCodec().build_message(account, MAINNET.chain, "I own this.")
    assert unsigned.payload == b"bip322\xff" + US.internal + b"I own this."
    assert unsigned.effects == (Effect(EffectKind.MESSAGE, source=account.address, detail="I own this."),)
    (request,) = unsigned.requests
    assert (request.signer, request.path, len(request.message)) == (account.address, (5,), 32)


def test_what_is_signed_is_the_sighash_by_hand():
    """BIP341 over BIP322's to_sign, assembled from hashes alone."""
    text = b"by hand"
    challenge = b"\x00\x20" + tagged("BIP0322-signed-message", text)
    spent = bytes(4) + b"\x01" + bytes(32) + b"\xff" * 4 + bytes([len(challenge)]) + challenge + bytes(4)
    spent += b"\x01" + bytes(8) + bytes([len(US.script)]) + US.script + bytes(4)
    spent_id = hashlib.sha256(hashlib.sha256(spent).digest()).digest()

    def sha(data: bytes) -> bytes:
        return hashlib.sha256(data).digest()

    script = bytes([len(US.script)]) + US.script
    message = b"\x00\x00" + bytes(4) + bytes(4) + sha(spent_id + bytes(4)) + sha(bytes(8)) + sha(script) + sha(bytes(4))
    message += sha(bytes(8) + b"\x01\x6a") + b"\x00" + bytes(4)
    assert SignedText(US.internal, text.decode()).sighash() == tagged("TapSighash", message)


@settings(deadline=None)
@given(st.text(min_size=1, max_size=200))
def test_text_survives_or_is_refused(text):
    """Whatever can be signed reads back as it was, and is neither a PSBT nor a transaction."""
    try:
        payload = SignedText(US.internal, text).encode()
    except InvalidPayload:
        return
    assert SignedText.decode(payload) == SignedText(US.internal, text)
    with pytest.raises(InvalidPayload):
        psbt.read(payload)
    with pytest.raises(InvalidPayload):
        psbt.adopt(payload, US.internal)


def test_a_signed_message_is_no_transaction():
    """A witness alone, to bytes that spend what cannot exist."""
    with pytest.raises(Exception):  # noqa: B017 - whatever embit makes of it
        Transaction.parse(simple_signature(bytes(64)))
    spending = to_sign(US.script, b"x")
    assert spending.vin[0].txid == to_spend(US.script, b"x").txid()
    assert to_spend(US.script, b"x").vin[0].txid == bytes(32)


@pytest.mark.parametrize("name", sorted(set(HOSTILE) - {"a message of another key", "a message of the output key"}))
def test_other_encodings_are_refused(name):
    """Each for itself."""
    with pytest.raises(InvalidPayload):
        SignedText.decode(HOSTILE[name])


def test_longest_message():
    """In bytes."""
    assert len(SignedText(US.internal, "ü" * 2048).encode()) == len(HEADER) + 32 + 4096
    with pytest.raises(InvalidPayload):
        SignedText(US.internal, "ü" * 2049)
