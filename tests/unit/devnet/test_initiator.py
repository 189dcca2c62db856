"""A client signs what it asked for and nothing else, whatever the gateway puts before it."""

import base64
import dataclasses
import secrets

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from solders.compute_budget import set_compute_unit_limit
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer

from keyquorum_devnet.initiator import INTENT_TAG, Initiator, IntentRefused, WantedKey, WantedTransfer
from keyquorum_protos.signer.v1 import effect_pb2, intent_pb2

CLIENT = Initiator(bytes(range(32)))
SOURCE, DESTINATION, STRANGER = (str(Keypair.from_seed(bytes([n]) * 32).pubkey()) for n in (1, 2, 3))
CHAIN = "solana:local"
ASSET = f"{CHAIN}/slip44:501"
KEY = WantedKey("alice", "eddsa_ed25519", 2, ("party-1", "party-2", "party-3"))
TRANSFER = WantedTransfer(CHAIN, ASSET, SOURCE, DESTINATION, 5000, 10_000)


def move(source: str, destination: str, lamports: int) -> Instruction:
    """A transfer by the system program."""
    return transfer(
        TransferParams(
            from_pubkey=Pubkey.from_string(source), to_pubkey=Pubkey.from_string(destination), lamports=lamports
        )
    )


def payload(*instructions: Instruction, payer: str = SOURCE) -> bytes:
    """A message as the chain signs it."""
    message = MessageV0.try_compile(Pubkey.from_string(payer), list(instructions), [], Hash.default())
    return bytes(to_bytes_versioned(message))


def effect(kind, amount, destination=DESTINATION, source=SOURCE, asset=ASSET):
    """An effect as an intent names it."""
    return effect_pb2.Effect(kind=kind, asset=asset, amount=str(amount), source=source, destination=destination)


def transfer_intent() -> intent_pb2.Intent:
    """An honest order for TRANSFER."""
    data = payload(set_compute_unit_limit(1000), move(SOURCE, DESTINATION, 5000))
    return intent_pb2.Intent(
        version=1,
        initiator_key=CLIENT.public,
        nonce=secrets.token_bytes(32),
        sign=intent_pb2.SignCommand(
            key_id="key_1",
            chain=CHAIN,
            unsigned_payload=data,
            messages=[intent_pb2.MessageToSign(message=data)],
            effects=[
                effect(effect_pb2.EFFECT_KIND_TRANSFER, 5000),
                effect(effect_pb2.EFFECT_KIND_FEE, 5001, destination=""),
            ],
        ),
    )


def key_intent() -> intent_pb2.Intent:
    """An honest order for KEY."""
    return intent_pb2.Intent(
        version=1,
        initiator_key=CLIENT.public,
        nonce=secrets.token_bytes(32),
        create_key=intent_pb2.CreateKeyCommand(
            key_id="key_1",
            wallet_id="wal_1",
            user_id="alice",
            scheme="eddsa_ed25519",
            threshold=2,
            node_ids=KEY.node_ids,
            policy=intent_pb2.Policy(initiator_keys=[CLIENT.public]),
        ),
    )


def authorize(intent: intent_pb2.Intent, wanted, *, extra: bytes = b""):
    """Put an intent before the client."""
    data = intent.SerializeToString(deterministic=True) + extra
    return data, CLIENT.authorize({"intent": base64.b64encode(data).decode()}, wanted)


@pytest.mark.parametrize(
    ("intent", "wanted"), [(key_intent(), KEY), (transfer_intent(), TRANSFER)], ids=["key", "transfer"]
)
def test_what_was_asked_for_is_signed(intent, wanted):
    """The signature covers the tagged bytes."""
    data, answer = authorize(intent, wanted)
    assert answer["public_key"] == CLIENT.public.hex()
    public = Ed25519PublicKey.from_public_bytes(CLIENT.public)
    public.verify(bytes.fromhex(answer["signature"]), INTENT_TAG + b"\x00" + data)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("user_id", "mallory"),
        ("scheme", "ecdsa_secp256k1"),
        ("threshold", 1),
        ("node_ids", ["party-1", "party-2"]),
        ("policy", intent_pb2.Policy(initiator_keys=[bytes(32)])),
        ("policy", intent_pb2.Policy(initiator_keys=[CLIENT.public, bytes(32)])),
        ("policy", intent_pb2.Policy(initiator_keys=[CLIENT.public], allow_raw=True)),
    ],
)
def test_another_key_is_refused(path, value):
    """Every part of the order that decides who can sign is compared."""
    intent = key_intent()
    fields = {field.name: item for field, item in intent.create_key.ListFields()} | {path: value}
    intent.create_key.CopyFrom(intent_pb2.CreateKeyCommand(**fields))
    with pytest.raises(IntentRefused):
        authorize(intent, KEY)


@pytest.mark.parametrize(
    "data",
    [
        payload(move(SOURCE, STRANGER, 5000)),
        payload(move(SOURCE, DESTINATION, 5001)),
        payload(move(SOURCE, DESTINATION, 5000), move(SOURCE, STRANGER, 1)),
        payload(move(SOURCE, DESTINATION, 5000), Instruction(Pubkey.from_string(STRANGER), b"drain", [])),
        payload(move(SOURCE, DESTINATION, 5000), payer=STRANGER),
        payload(set_compute_unit_limit(1000)),
    ],
    ids=["recipient", "amount", "second transfer", "another program", "another payer", "no transfer"],
)
def test_a_payload_that_does_something_else_is_refused(data):
    """The words around the payload may be right: the chain executes the payload."""
    intent = transfer_intent()
    intent.sign.unsigned_payload = data
    intent.sign.messages[0].message = data
    with pytest.raises(IntentRefused):
        authorize(intent, TRANSFER)


@pytest.mark.parametrize(
    "change",
    [
        lambda i: i.sign.messages[0].ClearField("message"),
        lambda i: i.sign.messages[0].path.append(7),
        lambda i: i.sign.messages.add(message=b"more"),
        lambda i: i.sign.effects.append(effect(effect_pb2.EFFECT_KIND_TRANSFER, 1, STRANGER)),
        lambda i: i.sign.effects.append(effect(effect_pb2.EFFECT_KIND_APPROVE, 1, STRANGER)),
        lambda i: i.sign.effects.append(effect(effect_pb2.EFFECT_KIND_FEE, 5000)),
        lambda i: setattr(i.sign.effects[0], "destination", STRANGER),
        lambda i: setattr(i.sign, "chain", "solana:other"),
        lambda i: setattr(i, "initiator_key", bytes(32)),
        lambda i: i.create_key.CopyFrom(key_intent().create_key),
    ],
)
def test_an_order_that_says_something_else_is_refused(change):
    """Each field that the parties act on is compared before the client signs."""
    intent = transfer_intent()
    change(intent)
    with pytest.raises(IntentRefused):
        authorize(intent, TRANSFER)


def test_bytes_that_are_not_the_one_encoding_are_refused():
    """Trailing unknown fields could mean something to somebody else."""
    with pytest.raises(IntentRefused, match="more than its fields"):
        authorize(transfer_intent(), TRANSFER, extra=b"\xf8\x3f\x01")
    nested = transfer_intent()
    nested.sign.MergeFromString(b"\xf8\x3f\x01")
    with pytest.raises(IntentRefused, match="more than its fields"):
        authorize(nested, TRANSFER)
    with pytest.raises(IntentRefused):
        CLIENT.authorize({"intent": base64.b64encode(b"\xff\xff").decode()}, KEY)


def test_an_order_of_one_kind_does_not_pass_for_the_other():
    """A client that expects a key does not sign a transfer, and the other way round."""
    with pytest.raises(IntentRefused):
        authorize(transfer_intent(), KEY)
    with pytest.raises(IntentRefused):
        authorize(key_intent(), TRANSFER)
    with pytest.raises(IntentRefused):
        authorize(transfer_intent(), dataclasses.replace(TRANSFER, fee_max=1))
