"""The codec host's own parts: frames, answers, and the order in which it gives things up."""

import json
import os
import subprocess
import sys

import pytest

from keyquorum_plugin_api.codec import Codec, Decoded, Effect, EffectKind, SigningRequest
from keyquorum_plugin_api.codec_host.answers import Answers, refusal
from keyquorum_plugin_api.codec_host.frames import (
    FRAME_BYTES_MAX,
    FrameError,
    encode_frame,
    from_base64,
    read_frame,
    to_base64,
)
from keyquorum_plugin_api.errors import InvalidPayload
from support.codec_distributions import CHAIN, InstalledCodec, install_codec


def received(data: bytes) -> object:
    """What a host makes of bytes on its standard input."""
    reading, writing = os.pipe()
    try:
        os.write(writing, data)
        os.close(writing)
        return read_frame(reading)
    finally:
        os.close(reading)


def test_a_frame_survives_the_pipe():
    """What is sent is what is read, and the end of the stream is the end."""
    value = {"id": 1, "text": "gruß", "list": [1, None, True]}
    assert received(encode_frame(value)) == value
    assert received(b"") is None


@pytest.mark.parametrize(
    "data",
    [
        b"\x00",
        b"\x00\x00\x00\x00",
        b"\x00\x00\x00\x05{}",
        b"\x00\x00\x00\x02[]",
        b"\x00\x00\x00\x02{x",
        b"\x00\x00\x00\x01\xff",
        (FRAME_BYTES_MAX + 1).to_bytes(4, "big") + b"{}",
        (50_000).to_bytes(4, "big") + b"[" * 50_000,
    ],
)
def test_a_damaged_frame_ends_the_conversation(data):
    """Truncated, empty, oversize, or not one JSON object."""
    with pytest.raises(FrameError):
        received(data)


def test_a_frame_has_a_bound():
    """An answer that the party would not read is not sent."""
    with pytest.raises(ValueError, match="too long"):
        encode_frame({"x": "a" * FRAME_BYTES_MAX})


@pytest.mark.parametrize("text", [None, 1, "a", "YQ", "YQ==\n", "Y Q==", "Yß=="])
def test_bytes_travel_as_base64_only(text):
    """Every byte string comes as padded base64 text without anything else in it."""
    assert from_base64(to_base64(b"\x00\xff")) == b"\x00\xff"
    with pytest.raises(FrameError):
        from_base64(text)


class OneCodec(Codec):
    """Says what it is told to say."""

    name, namespace, scheme = "one", "one", "eddsa_ed25519"

    def __init__(self, answer: object = None) -> None:
        self.answer = answer
        self.asked: list[object] = []

    def derive_address(self, public_key, chain):
        return public_key.hex()

    def validate_address(self, address, chain):
        return address

    def build(self, intent, metadata):
        raise NotImplementedError

    def build_message(self, account, chain, message):
        raise NotImplementedError

    def combine(self, unsigned, signatures):
        raise NotImplementedError

    def decode(self, payload, chain, accounts):
        self.asked.append((payload, chain, accounts))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


DECODE = {
    "id": 3,
    "op": "decode",
    "payload": "cGF5",
    "chain": "one:main",
    "accounts": [{"address": "a", "public_key": "AAE=", "path": [1, 2]}],
}


def test_a_decode_is_answered_in_json():
    """The codec gets typed accounts, and its typed answer becomes plain JSON."""
    request = SigningRequest("eddsa_ed25519", b"m", "a", (1, 2))
    effect = Effect(EffectKind.TRANSFER, "one:main/slip44:1", 2**255, "a", "b", "memo")
    codec = OneCodec(Decoded((request,), (effect,)))
    answer = Answers(codec, {}).answer(DECODE)
    assert answer == {
        "id": 3,
        "ok": True,
        "result": {
            "requests": [{"scheme": "eddsa_ed25519", "message": "bQ==", "signer": "a", "path": [1, 2]}],
            "effects": [
                {
                    "kind": "transfer",
                    "asset": "one:main/slip44:1",
                    "amount": str(2**255),
                    "source": "a",
                    "destination": "b",
                    "detail": "memo",
                }
            ],
        },
    }
    ((payload, chain, accounts),) = codec.asked
    assert (payload, chain) == (b"pay", "one:main")
    assert (accounts[0].address, accounts[0].public_key, accounts[0].path) == ("a", b"\x00\x01", (1, 2))


def test_other_questions_are_answered():
    """Addresses, and what the host is."""
    answers = Answers(OneCodec(), {"version": "1"})
    derive = {"id": 1, "op": "derive_address", "public_key": "AAE=", "chain": "one:main"}
    assert answers.answer(derive)["result"] == {"address": "0001"}
    validate = {"id": 2, "op": "validate_address", "address": "x", "chain": "one:main"}
    assert answers.answer(validate)["result"] == {"address": "x"}
    assert answers.answer({"id": 3, "op": "describe"})["result"] == {
        "name": "one",
        "namespace": "one",
        "scheme": "eddsa_ed25519",
        "payload_names_chain": True,
        "version": "1",
    }


def test_a_codecs_error_travels_with_its_code():
    """What a codec refuses on purpose keeps its code; its text is made printable and short."""
    error = Answers(OneCodec(InvalidPayload("bad\x1b[2J" + "x" * 1000)), {}).answer(DECODE)["error"]
    assert error["code"] == "invalid-payload"
    assert error["detail"].startswith("bad?[2Jxxx")
    assert len(error["detail"]) == 500


@pytest.mark.parametrize("answer", [None, Decoded([], ()), ZeroDivisionError("secret"), Decoded((), ("x",))])
def test_a_broken_contract_is_a_codec_fault(answer):
    """Wrong types and foreign exceptions have one code, and exceptions show their type alone."""
    error = Answers(OneCodec(answer), {}).answer(DECODE)["error"]
    assert error["code"] == "codec-fault"
    assert "secret" not in error["detail"]


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"id": "1", "op": "describe"},
        {"id": 1},
        {"id": 1, "op": "build"},
        DECODE | {"payload": None},
        DECODE | {"chain": 1},
        DECODE | {"accounts": None},
        DECODE | {"accounts": [1]},
        DECODE | {"accounts": [{"address": "a", "public_key": "", "path": ["1"]}]},
        DECODE | {"accounts": [{"address": "a", "public_key": ""}]},
    ],
)
def test_a_malformed_request_ends_the_conversation(request_):
    """Only a party asks, and a party that asks nonsense is not ours."""
    with pytest.raises(FrameError):
        Answers(OneCodec(Decoded((), ())), {}).answer(request_)


def test_a_refusal_is_printable():
    """Whatever is refused, and why, is plain text."""
    assert refusal("code", "a\nb\u202e") == {"id": 0, "ok": False, "error": {"code": "code", "detail": "a?b?"}}


def run(codec: InstalledCodec, requests: bytes, **changes: str) -> tuple[int, list[dict]]:
    """A host's exit status and all frames that it wrote."""
    options = {
        "--codec": "toy",
        "--version": codec.version,
        "--sha256": codec.sha256.hex(),
        "--path": str(codec.folder),
    }
    words = [word for option in (options | changes).items() for word in option]
    command = [sys.executable, "-I", "-m", "keyquorum_plugin_api.codec_host", *words]
    done = subprocess.run(command, input=requests, capture_output=True, check=False, timeout=30)
    assert done.stderr == b""
    frames, rest = [], done.stdout
    while rest:
        length = int.from_bytes(rest[:4], "big")
        frames.append(json.loads(rest[4 : 4 + length]))
        rest = rest[4 + length :]
    return done.returncode, frames


def test_a_host_serves_until_its_input_ends(tmp_path):
    """First what was loaded, then one answer per request, then a clean end."""
    codec = install_codec(tmp_path / "codec")
    derive = encode_frame({"id": 7, "op": "derive_address", "public_key": "AQ==", "chain": CHAIN})
    status, (ready, answer) = run(codec, derive)
    assert status == 0
    assert ready["result"]["sha256"] == codec.sha256.hex()
    assert answer == {"id": 7, "ok": True, "result": {"address": "toy101"}}


def test_a_host_refuses_before_it_imports(tmp_path):
    """With another hash pinned, the codec's first line does not run, and the reason names both hashes."""
    proof = tmp_path / "imported"
    codec = install_codec(tmp_path / "codec", head=f"open({str(proof)!r}, 'w')")
    status, (refused,) = run(codec, b"", **{"--sha256": "00" * 32})
    assert (status, refused["ok"], refused["error"]["code"]) == (3, False, "codec-refused")
    assert codec.sha256.hex() in refused["error"]["detail"]
    assert not proof.exists()


def test_a_codec_is_confined_before_its_first_line(tmp_path):
    """I/O at import time fails as it does later, and the codec is refused for it."""
    proof = tmp_path / "imported"
    codec = install_codec(tmp_path / "codec", head=f"open({str(proof)!r}, 'w')")
    status, (refused,) = run(codec, b"")
    assert (status, refused["error"]["code"]) == (3, "codec-fault")
    assert "PermissionError" in refused["error"]["detail"]
    assert not proof.exists()


def test_a_folder_cannot_replace_the_standard_library(tmp_path):
    """A module beside the codec, outside of the pinned package, does not shadow one that Python ships."""
    codec = install_codec(tmp_path / "codec", head="import colorsys\ncolorsys.rgb_to_hsv")
    (codec.folder / "colorsys.py").write_text("raise RuntimeError('shadowed')")
    status, (ready,) = run(codec, b"")
    assert (status, ready["ok"]) == (0, True)


def test_a_damaged_conversation_ends_the_host(tmp_path):
    """Garbage in is an exit status, not a traceback."""
    status, frames = run(install_codec(tmp_path / "codec"), b"garbage that is no frame")
    assert (status, len(frames)) == (4, 1)
