"""Intents are read in their one permitted form or not at all."""

from dataclasses import replace

import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from keyquorum_core_signer.intents.effects import CodecRef, Effect, EffectKind, MessageToSign
from keyquorum_core_signer.intents.intent import (
    IntentError,
    encode_intent,
    intent_hash,
    operation_id,
    parse_intent,
    verify_authorization,
)
from keyquorum_core_signer.intents.limits import (
    ADDRESS_CHARS_MAX,
    EFFECTS_MAX,
    INTENT_BYTES_MAX,
    MESSAGE_BYTES_MAX,
    MESSAGES_MAX,
    PAYLOAD_BYTES_MAX,
)
from keyquorum_core_signer.intents.policy import AssetLimit, Policy
from keyquorum_core_signer.wire.identity import IdentityKey
from keyquorum_protos.signer.v1 import intent_pb2
from support.intents import ASSET, CODEC, INITIATOR, POLICY, ROOT, authorize, cell, create_key, sign, sign_raw

ROSTER = cell().roster
VALID = {"create": create_key(ROSTER), "sign": sign(ROSTER), "raw": sign_raw(ROSTER)}
DIGEST = MessageToSign(b"\x01" * 32)


def code_of(data: bytes) -> str:
    with pytest.raises(IntentError) as caught:
        parse_intent(data)
    return caught.value.code


@pytest.mark.parametrize("name", VALID)
def test_a_valid_intent_comes_back_as_it_was(name):
    """Parsing is the inverse of encoding."""
    data = encode_intent(VALID[name])
    assert parse_intent(data) == VALID[name]
    assert encode_intent(parse_intent(data)) == data


def test_the_operation_id_is_that_of_the_bytes():
    """The hash is SHA-256 over the tag, a zero byte and the bytes (computed with coreutils), and the id its first half."""
    assert intent_hash(b"x").hex() == "33122b543916530ce7e8bac4c87108164c40bcaeb281da806aa01e91d0767067"
    assert operation_id(b"x") == "op_33122b543916530ce7e8bac4c8710816"


CREATE_REFUSED = {
    "key id": {"key_id": "wal_1"},
    "key id with a slash": {"key_id": "key_a/b"},
    "wallet id": {"wallet_id": "wal_"},
    "user with a space": {"user_id": "a b"},
    "empty user": {"user_id": ""},
    "user with a line end": {"user_id": "user\n"},
    "threshold of one": {"threshold": 1},
    "threshold over the committee": {"threshold": 4},
    "one party": {"node_ids": ("party-1",), "threshold": 2},
    "the same party twice": {"node_ids": ("party-1", "party-1", "party-2")},
    "seventeen parties": {"node_ids": tuple(f"party-{i}" for i in range(17))},
    "node id": {"node_ids": ("party-1", "-")},
    "no initiator": {"policy": Policy(())},
    "a short initiator key": {"policy": Policy((b"\x01" * 31,))},
    "the same initiator twice": {"policy": Policy((ROOT.public, ROOT.public))},
    "an asset that is none": {"policy": replace(POLICY, limits=(AssetLimit("gold", 1, 1, 1),))},
    "the same asset twice": {
        "policy": replace(POLICY, limits=(AssetLimit(ASSET, 1, 1, 1), AssetLimit(ASSET, 2, 2, 1)))
    },
    "a window of no time": {"policy": replace(POLICY, limits=(AssetLimit(ASSET, 1, 1, 0),))},
    "a window of two years": {"policy": replace(POLICY, limits=(AssetLimit(ASSET, 1, 1, 2 * 366 * 86400),))},
    "a transaction over its window": {"policy": replace(POLICY, limits=(AssetLimit(ASSET, 2, 1, 1),))},
    "an amount of 2^256": {"policy": replace(POLICY, limits=(AssetLimit(ASSET, 2**256, 2**256, 1),))},
}


@pytest.mark.parametrize("case", CREATE_REFUSED)
def test_a_malformed_key_command_is_refused(case):
    """Each field of a create_key has one permitted form."""
    assert code_of(encode_intent(create_key(ROSTER, **CREATE_REFUSED[case]))) == "intent-invalid"


def test_an_unknown_scheme_has_its_own_code():
    """A client can tell a scheme that does not exist from a malformed intent."""
    assert code_of(encode_intent(create_key(ROSTER, scheme="ecdsa_p256"))) == "scheme-unavailable"
    assert code_of(encode_intent(sign(ROSTER, scheme=""))) == "scheme-unavailable"


def effect(**changes: object) -> dict[str, object]:
    return {"effects": (replace(Effect(EffectKind.TRANSFER, ASSET, 1, "a", "b"), **changes),)}


SIGN_REFUSED = {
    "no message": {"messages": ()},
    "an empty message": {"messages": (MessageToSign(b""),)},
    "seventeen messages": {"messages": tuple(MessageToSign(bytes([i])) for i in range(MESSAGES_MAX + 1))},
    "a long message": {"messages": (MessageToSign(bytes(MESSAGE_BYTES_MAX + 1)),)},
    "the same message twice": {"messages": (DIGEST, DIGEST)},
    "a hardened path": {"messages": (MessageToSign(b"m", (2**31,)),)},
    "a deep path": {"messages": (MessageToSign(b"m", (0,) * 9),)},
    "a short digest": {"scheme": "ecdsa_secp256k1", "messages": (MessageToSign(b"m"),)},
    "a long digest": {"scheme": "schnorr_bip340", "messages": (MessageToSign(bytes(33)),)},
    "no chain": {"chain": ""},
    "a chain that is none": {"chain": "solana"},
    "no payload": {"unsigned_payload": b""},
    "a long payload": {"unsigned_payload": bytes(PAYLOAD_BYTES_MAX + 1)},
    "no effect": {"effects": ()},
    "too many effects": {"effects": (Effect(EffectKind.MESSAGE),) * (EFFECTS_MAX + 1)},
    "a chain without a codec": {"codec": None, "unsigned_payload": b"", "effects": ()},
    "a payload without a codec": {"codec": None, "chain": "", "effects": ()},
    "effects without a codec": {"codec": None, "chain": "", "unsigned_payload": b""},
    "an empty codec": {"codec": CodecRef("", "", b"")},
    "a short codec hash": {"codec": replace(CODEC, sha256=b"\x01" * 31)},
    "a codec version with a space": {"codec": replace(CODEC, version="1 2")},
    "a key id": {"key_id": "key_" + "a" * 65},
    "an effect without an asset": effect(asset=""),
    "an effect without a source": effect(source=""),
    "a transfer to nowhere": effect(destination=""),
    "a change to nowhere": effect(kind=EffectKind.CHANGE, destination=""),
    "an address with a space": effect(destination="a b"),
    "a long address": effect(destination="a" * (ADDRESS_CHARS_MAX + 1)),
    "an amount of 2^256": effect(amount=2**256),
    "a message that moves an asset": effect(kind=EffectKind.MESSAGE, destination=""),
    "a message with a destination": effect(kind=EffectKind.MESSAGE, asset=""),
}


@pytest.mark.parametrize("case", SIGN_REFUSED)
def test_a_malformed_sign_command_is_refused(case):
    """Each field of a sign has one permitted form."""
    assert code_of(encode_intent(sign(ROSTER, **SIGN_REFUSED[case]))) == "intent-invalid"


HEADER_REFUSED = {
    "cell": {"cell_id": "a:b"},
    "tenant": {"tenant_id": ""},
    "initiator": {"initiator_key": b"\x01" * 33},
    "nonce": {"nonce": b"\x01" * 16},
    "roster hash": {"roster_hash": b""},
}


@pytest.mark.parametrize("case", HEADER_REFUSED)
def test_a_malformed_header_is_refused(case):
    """Each field that all intents share has one permitted form."""
    assert code_of(encode_intent(replace(VALID["sign"], **HEADER_REFUSED[case]))) == "intent-invalid"


def test_the_largest_intent_fits():
    """The bounds on parts add up to less than the bound on the whole."""
    messages = tuple(MessageToSign(bytes([i]) * MESSAGE_BYTES_MAX, (2**31 - 1,) * 8) for i in range(MESSAGES_MAX))
    data = encode_intent(sign(ROSTER, messages=messages, unsigned_payload=bytes(PAYLOAD_BYTES_MAX)))
    assert len(data) < INTENT_BYTES_MAX
    assert parse_intent(data).command.messages == messages


@pytest.mark.parametrize("amount", ["01", "+1", "-1", "1.0", "1e3", " 1", "1\n", "١", "0x1", str(2**256), ""])  # noqa: RUF001
def test_an_amount_has_one_spelling(amount):
    """No two strings mean the same amount."""
    message = intent_pb2.Intent.FromString(encode_intent(VALID["sign"]))
    message.sign.effects[0].amount = amount
    assert code_of(message.SerializeToString(deterministic=True)) == "intent-invalid"


def test_an_unknown_effect_is_refused():
    """The list of effects is closed."""
    for kind in (0, 8, 99):
        message = intent_pb2.Intent.FromString(encode_intent(VALID["sign"]))
        message.sign.effects[0].kind = kind
        assert code_of(message.SerializeToString(deterministic=True)) == "intent-invalid"


def test_another_version_is_refused():
    """A party does not guess what a later format means."""
    for version in (0, 2):
        message = intent_pb2.Intent.FromString(encode_intent(VALID["sign"]))
        message.version = version
        assert code_of(message.SerializeToString(deterministic=True)) == "intent-invalid"


def test_an_intent_commands_exactly_one_thing():
    """No command and two commands are both refused."""
    message = intent_pb2.Intent.FromString(encode_intent(VALID["sign"]))
    message.ClearField("sign")
    assert code_of(message.SerializeToString(deterministic=True)) == "intent-invalid"
    both = encode_intent(VALID["create"]) + encode_intent(VALID["sign"])
    assert code_of(both) == "intent-invalid"


def _messages(message: Message) -> list[Message]:
    found = [message]
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in [value] if isinstance(value, Message) else value:
                found += _messages(inner)
    return found


@pytest.mark.parametrize("name", VALID)
def test_an_unknown_field_is_refused_at_any_depth(name):
    """What a party does not understand it does not sign, wherever it is hidden."""
    depth = len(_messages(intent_pb2.Intent.FromString(encode_intent(VALID[name]))))
    for place in range(depth):
        message = intent_pb2.Intent.FromString(encode_intent(VALID[name]))
        _messages(message)[place].MergeFromString(b"\xf8\x3f\x01")  # field 1023, varint 1
        assert code_of(message.SerializeToString(deterministic=True)) == "intent-invalid"


@pytest.mark.parametrize("name", VALID)
def test_a_second_encoding_of_the_same_intent_is_refused(name):
    """A field given twice, a field out of order, a long varint and an explicit default are all other bytes."""
    data = encode_intent(VALID[name])
    for other in (
        b"\x08\x01" + data,
        data[2:] + data[:2],
        b"\x08\x81\x00" + data[2:],
        data + b"\x4a\x00",
        data[:-1],
        b"",
    ):
        assert code_of(other) == "intent-invalid"


@given(junk=st.binary(max_size=200))
def test_junk_is_refused_as_an_intent(junk):
    """Bytes from anywhere end in the one error, never in another."""
    with pytest.raises(IntentError):
        parse_intent(junk)


@given(data=st.data())
@settings(max_examples=300)
def test_any_changed_byte_is_refused(data):
    """Whatever is changed in a signed intent, either it no longer parses or the signature no longer fits."""
    name = data.draw(st.sampled_from(sorted(VALID)))
    signed = encode_intent(VALID[name])
    proof = authorize(signed, ROOT if name == "create" else INITIATOR)
    place = data.draw(st.integers(0, len(signed) - 1))
    changed = bytearray(signed)
    changed[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(IntentError):
        verify_authorization(parse_intent(bytes(changed)), bytes(changed), proof)


def _mutations(message: Message) -> list[tuple[Message, str]]:
    return [(part, field.name) for part in _messages(message) for field in part.DESCRIPTOR.fields]


@given(data=st.data())
@settings(max_examples=300)
def test_any_changed_field_is_refused(data):
    """A single changed field of a valid signed intent, at any depth, is never accepted under the old signature."""
    name = data.draw(st.sampled_from(sorted(VALID)))
    signed = encode_intent(VALID[name])
    proof = authorize(signed, ROOT if name == "create" else INITIATOR)
    message = intent_pb2.Intent.FromString(signed)
    part, field_name = data.draw(st.sampled_from(_mutations(message)))
    _change(part, field_name, data)
    changed = message.SerializeToString(deterministic=True)
    if changed == signed:
        return
    with pytest.raises(IntentError):
        verify_authorization(parse_intent(changed), changed, proof)


def _change(part: Message, name: str, data: st.DataObject) -> None:
    field = part.DESCRIPTOR.fields_by_name[name]
    value = getattr(part, name)
    if field.message_type is not None or field.is_repeated:
        if field.is_repeated and len(value) and data.draw(st.booleans()):
            value.append(value[0]) if field.message_type is None else value.add().CopyFrom(value[0])
        else:
            part.ClearField(name)
    elif isinstance(value, bool):
        setattr(part, name, not value)
    elif isinstance(value, int):
        setattr(part, name, (value + data.draw(st.integers(1, 100))) % 2**31)
    elif isinstance(value, bytes):
        setattr(part, name, data.draw(st.binary(max_size=40)))
    else:
        setattr(part, name, data.draw(st.text(max_size=40)))


def test_an_authorization_is_by_the_named_initiator():
    """Neither another key's signature, nor another key, nor another tag, nor other bytes will do."""
    intent, data = VALID["sign"], encode_intent(VALID["sign"])
    verify_authorization(intent, data, authorize(data))
    stranger = IdentityKey.from_seed(b"\x99" * 32)
    wrong = [
        authorize(data, stranger),
        intent_pb2.Authorization(public_key=INITIATOR.public, signature=authorize(data, stranger).signature),
        intent_pb2.Authorization(public_key=INITIATOR.public, signature=INITIATOR.sign("keyquorum/envelope/v1", data)),
        intent_pb2.Authorization(
            public_key=INITIATOR.public, signature=INITIATOR.sign("keyquorum/intent/v1", data + b"x")
        ),
        intent_pb2.Authorization(public_key=INITIATOR.public),
        intent_pb2.Authorization(),
    ]
    for proof in wrong:
        with pytest.raises(IntentError, match="authorization"):
            verify_authorization(intent, data, proof)


def test_an_authorization_is_for_what_was_parsed():
    """A caller that pairs an intent with the bytes of another is stopped."""
    other = encode_intent(replace(VALID["sign"], nonce=b"\x45" * 32))
    with pytest.raises(IntentError, match="not the one that was signed"):
        verify_authorization(VALID["sign"], other, authorize(other))
