"""A codec worker's answers, read as a stranger's: the worker's side is in tests/integration/codec_host."""

import json
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyquorum_core_signer.codecs.answers import (
    Description,
    parse_response,
    read_address,
    read_decoded,
    read_description,
)
from keyquorum_core_signer.codecs.errors import CodecFault, CodecRejected
from keyquorum_core_signer.intents.effects import CodecRef, Effect, EffectKind, MessageToSign

REF = CodecRef("toy", "1.0", sha256(b"toy").digest())
CHAIN = "toy:main"
WALLS = {"network": "isolated", "filesystem": "open", "syscalls": "filtered", "capabilities": "kept"}
READY = {
    "name": "toy",
    "namespace": "toy",
    "scheme": "eddsa_ed25519",
    "version": "1.0",
    "sha256": REF.sha256.hex(),
    "payload_names_chain": False,
    "confinement": WALLS,
}
DESCRIPTION = Description(REF, "toy", "eddsa_ed25519", payload_names_chain=False, confinement=WALLS)
REQUEST = {"scheme": "eddsa_ed25519", "message": "bQ==", "signer": "a", "path": [1, 2]}
EFFECT = {
    "kind": "transfer",
    "asset": "toy:main/slip44:1",
    "amount": "7",
    "source": "a",
    "destination": "b",
    "detail": "",
}


def body(value: object) -> bytes:
    return json.dumps(value).encode()


def test_an_answer_is_to_its_question():
    """The result of the very request, and a refusal with its code."""
    assert parse_response(body({"id": 5, "ok": True, "result": {"a": 1}}), 5) == {"a": 1}
    refusal = {"id": 5, "ok": False, "error": {"code": "invalid-payload", "detail": "why"}}
    with pytest.raises(CodecRejected, match="why") as caught:
        parse_response(body(refusal), 5)
    assert caught.value.code == "invalid-payload"
    refusal["error"]["code"] = "codec-fault"
    with pytest.raises(CodecFault, match="why"):
        parse_response(body(refusal), 5)


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        {"id": 4, "ok": True, "result": {}},
        {"id": "5", "ok": True, "result": {}},
        {"id": 5.0, "ok": True, "result": {}},
        {"id": True, "ok": True, "result": {}},
        {"id": 5, "ok": True},
        {"id": 5, "ok": True, "result": []},
        {"id": 5, "ok": True, "result": {}, "error": {}},
        {"id": 5, "ok": 1, "result": {}},
        {"id": 5, "ok": False, "result": {}},
        {"id": 5, "ok": False, "error": "no"},
        {"id": 5, "ok": False, "error": {"code": "Code", "detail": ""}},
        {"id": 5, "ok": False, "error": {"code": "c" * 65, "detail": ""}},
        {"id": 5, "ok": False, "error": {"code": "c", "detail": "x" * 501}},
        {"id": 5, "ok": False, "error": {"code": "c", "detail": "a\nb"}},
        {"id": 5, "ok": False, "error": {"code": "c", "detail": "\u202e"}},
        {"id": 5, "ok": False, "error": {"code": "c", "detail": 1}},
        {"id": 5, "ok": False, "error": {"code": "c", "detail": "", "more": 1}},
    ],
)
def test_any_other_answer_is_a_fault(value):
    """Another id, another shape, another type, unprintable or endless text."""
    with pytest.raises(CodecFault):
        parse_response(body(value), 5)


@given(junk=st.binary(max_size=100))
def test_junk_is_a_fault(junk):
    """Bytes from anywhere end in the one error."""
    with pytest.raises(CodecFault):
        parse_response(junk, 5)


def test_a_description_is_that_of_the_pin():
    """What was loaded is what was pinned, and its walls are reported in known words."""
    assert read_description(READY, REF) == DESCRIPTION


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "other"},
        {"version": "1.1"},
        {"sha256": "00" * 32},
        {"sha256": REF.sha256.hex().upper()},
        {"namespace": "T"},
        {"namespace": 1},
        {"scheme": "rsa"},
        {"payload_names_chain": 0},
        {"confinement": {}},
        {"confinement": WALLS | {"network": "perfect"}},
        {"confinement": WALLS | {"moat": "full"}},
        {"more": 1},
    ],
)
def test_another_description_is_a_fault(changes):
    """A worker that loaded something else, or speaks in riddles, is not used."""
    with pytest.raises(CodecFault):
        read_description(READY | changes, REF)


def test_a_decoded_payload_is_typed():
    """Requests and effects become what decisions are made on."""
    decoded = read_decoded({"requests": [REQUEST], "effects": [EFFECT]}, DESCRIPTION, CHAIN, [])
    assert decoded.messages == (MessageToSign(b"m", (1, 2)),)
    assert decoded.signers == ("a",)
    assert decoded.effects == (Effect(EffectKind.TRANSFER, "toy:main/slip44:1", 7, "a", "b"),)
    assert (decoded.codec, decoded.scheme, decoded.payload_names_chain) == (REF, "eddsa_ed25519", False)


@pytest.mark.parametrize(
    "changes",
    [
        {"scheme": "schnorr_bip340"},
        {"message": ""},
        {"message": "bQ"},
        {"message": "bR=="},
        {"message": 1},
        {"signer": ""},
        {"signer": "a b"},
        {"signer": None},
        {"path": None},
        {"path": [2**31]},
        {"path": [-1]},
        {"path": [True]},
        {"path": ["1"]},
        {"path": [1.0]},
        {"path": [0] * 9},
        {"more": 1},
    ],
)
def test_a_malformed_request_is_a_fault(changes):
    """Scheme, canonical bytes, signer and path, each in its one form."""
    with pytest.raises(CodecFault):
        read_decoded({"requests": [REQUEST | changes], "effects": []}, DESCRIPTION, CHAIN, [])


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "gift"},
        {"kind": "TRANSFER"},
        {"kind": None},
        {"kind": "message"},
        {"asset": "gold"},
        {"amount": 7},
        {"amount": "07"},
        {"amount": "-7"},
        {"amount": str(2**256)},
        {"source": ""},
        {"destination": ""},
        {"detail": None},
        {"more": 1},
    ],
)
def test_a_malformed_effect_is_a_fault(changes):
    """Each field of an effect is read as strictly as an initiator's."""
    with pytest.raises(CodecFault):
        read_decoded({"requests": [], "effects": [EFFECT | changes]}, DESCRIPTION, CHAIN, [])


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"requests": [], "effects": {}},
        {"requests": [REQUEST] * 17, "effects": []},
        {"requests": [], "effects": [EFFECT] * 257},
        {"requests": [], "effects": [], "more": []},
        {"requests": ["x"], "effects": []},
    ],
)
def test_another_shape_is_a_fault(result):
    """Exactly two lists, of bounded length."""
    with pytest.raises(CodecFault):
        read_decoded(result, DESCRIPTION, CHAIN, [])


@pytest.mark.parametrize("address", ["", "a b", "a\n", "a" * 129, "ä", None, 1])
def test_a_malformed_address_is_a_fault(address):
    """An address is printable ASCII of bounded length."""
    assert read_address({"address": "abc"}) == "abc"
    with pytest.raises(CodecFault):
        read_address({"address": address})
