"""Intents as the gateway writes them are intents as the parties read them."""

import pickle
import secrets

import pytest
from google.protobuf import json_format

from keyquorum_core_signer.intents import intent as theirs
from keyquorum_gateway import intents
from keyquorum_gateway.identity import INTENT_TAG, InitiatorKey, verify
from keyquorum_gateway.roster import Roster
from keyquorum_plugin_api.codec import Decoded, Effect, EffectKind, SigningRequest
from keyquorum_protos.signer.v1 import intent_pb2

ASSET = "toy:main/slip44:1"
SEED = bytes(range(32))
KEY = InitiatorKey.from_seed(SEED)


class FixedRoster(Roster):
    """What an intent takes of a roster."""

    def __init__(self):
        self.cell_id = "cell-x"
        self.roster_hash = b"\x07" * 32


COMPOSER = intents.IntentComposer(FixedRoster())
KEY_ID, WALLET_ID = "key_" + "1" * 32, "wal_" + "2" * 32


def key_order(**changes):
    """An order for a key."""
    limits = [intents.AssetLimit("toy:z/slip44:1", 1, 2, 3), intents.AssetLimit(ASSET, 10**60, 2**255, 86400)]
    order = {
        "key_id": KEY_ID,
        "wallet_id": WALLET_ID,
        "user_id": "alice@example.com",
        "scheme": "eddsa_ed25519",
        "threshold": 2,
        "node_ids": ("party-1", "party-2", "party-3"),
        "policy": intents.policy_from_limits(KEY.public, limits, allow_raw=True),
    }
    return intents.KeyOrder(**{**order, **changes})


def payload_order():
    """An order for a payload with every kind of effect that a transfer has."""
    effects = (
        Effect(EffectKind.TRANSFER, ASSET, 2**200, "toy1a", "toy1b", "memo"),
        Effect(EffectKind.CHANGE, ASSET, 1, "toy1a", "toy1a"),
        Effect(EffectKind.FEE, ASSET, 0, "toy1a"),
    )
    requests = (
        SigningRequest("eddsa_ed25519", b"m1", "toy1a", (3, 2**31 - 1)),
        SigningRequest("eddsa_ed25519", b"m2", "toy1a"),
    )
    codec = intents.CodecRef("toy", "1.0", b"\x09" * 32)
    return intents.PayloadOrder(KEY_ID, "eddsa_ed25519", "toy:main", codec, b"payload", Decoded(requests, effects))


def compose(order):
    """The bytes of an order."""
    write = COMPOSER.create_key if isinstance(order, intents.KeyOrder) else COMPOSER.sign
    return write(order, tenant_id="default", initiator_key=KEY.public, valid_until_ms=1_900_000_000_000)


ORDERS = {
    "key": key_order(),
    "payload": payload_order(),
    "message": intents.PayloadOrder(
        KEY_ID,
        "eddsa_ed25519",
        "toy:main",
        intents.CodecRef("toy", "1.0", b"\x09" * 32),
        b"p",
        Decoded((SigningRequest("eddsa_ed25519", b"p", "toy1a"),), (Effect(EffectKind.MESSAGE, detail="hi"),)),
    ),
    "raw": intents.RawOrder(KEY_ID, "ecdsa_secp256k1", bytes(32), (1,)),
}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_the_parties_parser_takes_it(order):
    """Canonical, complete, and with the same hash and name on both sides."""
    data = compose(order)
    parsed = theirs.parse_intent(data)
    assert theirs.encode_intent(parsed) == data
    assert (parsed.cell_id, parsed.tenant_id, parsed.roster_hash) == ("cell-x", "default", b"\x07" * 32)
    assert intents.intent_hash(data) == theirs.intent_hash(data)
    assert intents.ceremony_id(data) == theirs.operation_id(data)
    assert intents.valid_until_ms(data) == parsed.valid_until_ms == 1_900_000_000_000


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_the_parties_verifier_takes_the_gateways_signature(order):
    """OpenSSL signs, libsodium verifies, over the same tagged bytes."""
    data = compose(order)
    proof = intents.authorize(data, KEY)
    assert intents.is_authorized(data, proof)
    wire = intent_pb2.Authorization(public_key=proof.public_key, signature=proof.signature)
    theirs.verify_authorization(theirs.parse_intent(data), data, wire)


def test_no_two_intents_are_the_same():
    """A nonce of 32 random bytes each."""
    nonces = {theirs.parse_intent(compose(ORDERS["raw"])).nonce for _ in range(100)}
    assert len(nonces) == 100


def test_the_policy_has_one_spelling():
    """Limits are sorted by asset, whatever the order in which they were asked for."""
    parsed = theirs.parse_intent(compose(key_order())).command.policy
    assert [limit.asset for limit in parsed.limits] == [ASSET, "toy:z/slip44:1"]
    assert parsed.allow_raw


def test_an_authorization_is_the_named_initiators_over_these_bytes():
    """Another key, another intent, another tag: not authorized."""
    data, other = compose(ORDERS["raw"]), compose(ORDERS["raw"])
    proof = intents.authorize(data, KEY)
    stranger = InitiatorKey.from_seed(secrets.token_bytes(32))
    assert not intents.is_authorized(other, proof)
    assert not intents.is_authorized(data, intents.authorize(data, stranger))
    assert not intents.is_authorized(data, intents.Authorization(KEY.public, stranger.sign_intent(data)))
    assert not intents.is_authorized(data, intents.Authorization(KEY.public, b"short"))


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_what_is_shown_is_all_that_is_signed(order):
    """Every field that the bytes hold appears among the readable fields."""
    data = compose(order)
    shown = intents.readable(data)
    message = intent_pb2.Intent.FromString(data)

    def names(value, prefix=""):
        for name, each in value.items():
            if isinstance(each, dict):
                yield from names(each, f"{prefix}{name}.")
            elif isinstance(each, list) and each and isinstance(each[0], dict):
                for item in each:
                    yield from names(item, f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}"

    stored = json_format.MessageToDict(message, preserving_proto_field_name=True)
    assert set(names(stored)) <= set(names(shown))
    assert shown["initiator_key"] == KEY.public.hex()


def test_the_initiator_key_shows_and_pickles_nothing():
    """Not in a repr, not in a pickle."""
    assert SEED.hex() not in repr(KEY)
    assert KEY.public.hex() in repr(KEY)
    with pytest.raises(TypeError):
        pickle.dumps(KEY)
    with pytest.raises(ValueError, match="32 bytes"):
        InitiatorKey.from_seed(b"short")
    assert verify(KEY.public, INTENT_TAG, b"x", KEY.sign_intent(b"x"))
    assert not verify(b"\xff" * 32, INTENT_TAG, b"x", KEY.sign_intent(b"x"))
