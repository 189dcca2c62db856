"""Identifiers, page tokens, API keys, problems, signatures, preferences: small rules with sharp edges."""

import json
import types
from contextlib import suppress

import pytest
from coincurve import PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from keyquorum_gateway.identifiers import is_identifier, new_identifier
from keyquorum_gateway.problems import CATALOGUE, FieldError, OperationFailed, Problem, failure_of
from keyquorum_gateway.routes.requests import wait_budget_s
from keyquorum_gateway.services import SERVICES
from keyquorum_gateway.signatures import verifies
from keyquorum_gateway.state import api_keys
from keyquorum_gateway.state.paging import InvalidPageToken, decode_token, encode_token
from keyquorum_plugin_api.errors import InsufficientFunds
from keyquorum_plugin_api.signer import SigningError
from support.vectors import load


def test_identifiers_sort_by_the_time_they_were_made():
    """UUIDv7 inside."""
    made = [new_identifier("wal") for _ in range(1000)]
    assert made == sorted(made)
    assert len(set(made)) == 1000
    assert all(is_identifier(each, "wal") and not is_identifier(each, "acc") for each in made)


@given(st.text(max_size=80))
def test_only_our_own_page_tokens_are_taken(text):
    """A token means one identifier; any other text is refused, never guessed at."""
    with suppress(InvalidPageToken):
        assert encode_token(decode_token(text)) == text
    if text and text.isascii():
        assert decode_token(encode_token(text)) == text


def test_api_keys_have_256_bits_and_one_form():
    """43 characters of base64url behind the prefix."""
    keys = {api_keys.new_api_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(api_keys.has_key_form(key) and len(key) == 46 for key in keys)
    for text in ("", "kq_", "kq_" + "A" * 42, "xx_" + "A" * 43):
        assert not api_keys.has_key_form(text)
    key = keys.pop()
    assert api_keys.digest(b"a" * 32, key) != api_keys.digest(b"b" * 32, key)


def test_a_problem_is_a_complete_document():
    """RFC 9457 with our members; extensions beside them."""
    problem = Problem("insufficient-funds", errors=[FieldError("/amount", "x", "y")], operation_id="op_1")
    document = json.loads(problem.body("/v1/transactions", "t" * 32))
    assert document == {
        "type": "urn:keyquorum:problem:insufficient-funds",
        "title": CATALOGUE["insufficient-funds"].title,
        "status": 422,
        "detail": CATALOGUE["insufficient-funds"].title,
        "instance": "/v1/transactions",
        "code": "insufficient-funds",
        "retriable": False,
        "trace_id": "t" * 32,
        "operation_id": "op_1",
        "errors": [{"pointer": "/amount", "code": "x", "detail": "y"}],
    }
    assert Problem("busy").headers["Retry-After"] == "2"
    assert Problem("busy", headers={"Retry-After": "9"}).headers["Retry-After"] == "9"


def test_what_nobody_raised_on_purpose_says_nothing_about_itself():
    """An operation's failure carries typed errors whole, and of others only the code."""
    assert failure_of(InsufficientFunds("5 missing"), "building").detail == "5 missing"
    assert failure_of(SigningError("quorum-unavailable", "2 away"), "x").retriable
    assert failure_of(OperationFailed("protocol-abort", "x", culprits=["party-1"]), "s").culprits == ("party-1",)
    hidden = failure_of(RuntimeError("password"), "s")
    assert (hidden.code, "password" in hidden.detail) == ("internal", False)


def test_signatures_are_checked_by_openssl():
    """Ed25519 over the message, ECDSA over the digest, and nothing for schemes that OpenSSL does not know."""
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw()
    assert verifies("eddsa_ed25519", public, b"m", key.sign(b"m"))
    assert not verifies("eddsa_ed25519", public, b"n", key.sign(b"m"))
    assert not verifies("eddsa_ed25519", b"short", b"m", key.sign(b"m"))
    secp = PrivateKey()
    recoverable = secp.sign_recoverable(b"\x05" * 32, hasher=None)
    compressed = secp.public_key.format()
    assert verifies("ecdsa_secp256k1", compressed, b"\x05" * 32, recoverable)
    assert verifies("ecdsa_secp256k1", compressed, b"\x05" * 32, recoverable[:64])
    assert not verifies("ecdsa_secp256k1", compressed, b"\x06" * 32, recoverable)
    assert not verifies("ecdsa_secp256k1", b"\x02" + bytes(32), b"\x05" * 32, recoverable)


def test_bip340_signatures_are_checked_under_the_taproot_output_key():
    """With BIP341's published key: what its output key signed, and nothing that the internal key signed."""
    vector = load("bip341_taproot")
    public_key = b"\x02" + bytes.fromhex(vector["internal_key"])
    output, internal = (PrivateKey(bytes.fromhex(vector[name])) for name in ("output_secret", "internal_secret"))
    digest = b"\x05" * 32
    signature = output.sign_schnorr(digest)
    assert verifies("schnorr_bip340", public_key, digest, signature)
    assert verifies("schnorr_bip340", b"\x03" + public_key[1:], digest, signature)
    assert not verifies("schnorr_bip340", public_key, digest, internal.sign_schnorr(digest))
    assert not verifies("schnorr_bip340", public_key, b"\x06" * 32, signature)
    assert not verifies("schnorr_bip340", public_key, digest, signature[:63])
    assert not verifies("schnorr_bip340", public_key[1:], digest, signature)
    assert not verifies("schnorr_bip340", b"\x02" + b"\xff" * 32, digest, signature)


@pytest.mark.parametrize(
    ("prefer", "expected"),
    [
        (None, 10),
        ("wait=3", 3),
        ("respond-async, wait=3", 0),
        ("wait=0", 0),
        ("wait=9999", 30),
        ("handling=lenient; wait=2", 2),
        ("wait=x", 10),
    ],
)
def test_the_callers_patience_is_bounded(prefer, expected):
    """RFC 7240: wait=N up to the configured maximum, respond-async for none at all."""
    server = types.SimpleNamespace(wait_s=10, wait_s_max=30)
    config = types.SimpleNamespace(config=types.SimpleNamespace(server=server))
    headers = {} if prefer is None else {"Prefer": prefer}
    request = types.SimpleNamespace(app={SERVICES: config}, headers=headers)
    assert wait_budget_s(request) == expected
