"""A client that initiates for itself: it signs an intent only if the intent does what the client asked for, and no more.

The intent comes from the gateway, which this client does not trust. The bytes are parsed here, compared with what was
asked for, and a payload that moves coins is read again from the chain's own message, not from the gateway's words.
"""

import base64
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from google.protobuf.message import DecodeError
from solders.message import MessageV0, from_bytes_versioned
from solders.system_program import ID as SYSTEM_PROGRAM

from keyquorum_protos.signer.v1 import effect_pb2, intent_pb2

INTENT_TAG: Final = b"keyquorum/intent/v1"
_TRANSFER: Final = (2).to_bytes(4, "little")  # the system program's instruction
_COMPUTE_BUDGET: Final = "ComputeBudget111111111111111111111111111111"


class IntentRefused(Exception):
    """The intent is not what the client asked for; nothing was signed."""


@dataclass(frozen=True, slots=True)
class WantedKey:
    """A key that the client asked for."""

    user_id: str
    scheme: str
    threshold: int
    node_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WantedTransfer:
    """A transfer that the client asked for; amounts in lamports."""

    chain: str
    asset: str
    source: str
    destination: str
    amount: int
    fee_max: int


class Initiator:
    """The client's key. Its public half is a root key of the tenant and the only initiator of the client's wallets."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public: Final = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def authorize(self, awaiting: Any, wanted: WantedKey | WantedTransfer) -> dict[str, str]:
        """The body of an authorization for an operation's ``awaiting``; :class:`IntentRefused` unless it is ``wanted``."""
        data = base64.b64decode(awaiting["intent"], validate=True)
        intent = _parse(data)
        if intent.initiator_key != self.public:
            raise IntentRefused("another initiator is named")
        if isinstance(wanted, WantedKey):
            self._check_key(intent, wanted)
        else:
            _check_transfer(intent, wanted)
        signature = self._key.sign(INTENT_TAG + b"\x00" + data)
        return {"public_key": self.public.hex(), "signature": signature.hex()}

    def _check_key(self, intent: intent_pb2.Intent, wanted: WantedKey) -> None:
        command = intent.create_key
        if intent.WhichOneof("command") != "create_key":
            raise IntentRefused("not an order for a key")
        asked = (wanted.user_id, wanted.scheme, wanted.threshold, wanted.node_ids)
        if (command.user_id, command.scheme, command.threshold, tuple(command.node_ids)) != asked:
            raise IntentRefused("another key than the one that was asked for")
        if list(command.policy.initiator_keys) != [self.public] or command.policy.allow_raw:
            raise IntentRefused("somebody else could initiate, or raw bytes be signed")


def _parse(data: bytes) -> intent_pb2.Intent:
    try:
        intent = intent_pb2.Intent.FromString(data)
    except DecodeError:
        raise IntentRefused("not an intent") from None
    intent.DiscardUnknownFields()  # which would otherwise be written out again as they came
    if intent.SerializeToString(deterministic=True) != data:
        raise IntentRefused("the intent holds more than its fields")
    return intent


def _check_transfer(intent: intent_pb2.Intent, wanted: WantedTransfer) -> None:
    command = intent.sign
    if intent.WhichOneof("command") != "sign" or command.chain != wanted.chain or len(command.messages) != 1:
        raise IntentRefused("not one signature on the chain that was asked for")
    if command.messages[0].message != command.unsigned_payload or command.messages[0].path:
        raise IntentRefused("the signed bytes are not the payload")
    transfers = [effect for effect in command.effects if effect.kind == effect_pb2.EFFECT_KIND_TRANSFER]
    fees = [effect for effect in command.effects if effect.kind == effect_pb2.EFFECT_KIND_FEE]
    if len(transfers) != 1 or len(transfers) + len(fees) != len(command.effects):
        raise IntentRefused("it does something else than one transfer")
    move = transfers[0]
    found = (move.asset, move.source, move.destination, int(move.amount))
    if found != (wanted.asset, wanted.source, wanted.destination, wanted.amount):
        raise IntentRefused("another transfer than the one that was asked for")
    if any(fee.asset != wanted.asset for fee in fees) or sum(int(fee.amount) for fee in fees) > wanted.fee_max:
        raise IntentRefused("the fee is too high")
    _check_payload(command.unsigned_payload, wanted)


def _check_payload(payload: bytes, wanted: WantedTransfer) -> None:
    """Read the chain's own message: the words around it are the gateway's."""
    message = from_bytes_versioned(payload)
    if not isinstance(message, MessageV0) or message.address_table_lookups:
        raise IntentRefused("not a message of the expected form")
    if message.header.num_required_signatures != 1 or str(message.account_keys[0]) != wanted.source:
        raise IntentRefused("somebody else signs or pays")
    moves = []
    for instruction in message.instructions:
        program = message.account_keys[instruction.program_id_index]
        if program == SYSTEM_PROGRAM:
            moves.append(instruction)
        elif str(program) != _COMPUTE_BUDGET:
            raise IntentRefused(f"the message calls {program}")
    if len(moves) != 1 or bytes(moves[0].data) != _TRANSFER + wanted.amount.to_bytes(8, "little"):
        raise IntentRefused("the message does not move what was asked for")
    accounts = [str(message.account_keys[index]) for index in bytes(moves[0].accounts)]
    if accounts != [wanted.source, wanted.destination]:
        raise IntentRefused("the message moves coins elsewhere")
