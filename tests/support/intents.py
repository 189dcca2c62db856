"""A cell on paper: a roster with real identities, a certified key, and intents that every party would admit."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256

from keyquorum_core_signer.intents.certificate import (
    KeyCertificate,
    assemble_certificate,
    build_certificate,
    encode_certificate,
)
from keyquorum_core_signer.intents.effects import CodecRef, Decoded, Effect, EffectKind, MessageToSign, OwnAccount
from keyquorum_core_signer.intents.intent import CreateKey, Intent, Sign, encode_intent, intent_hash
from keyquorum_core_signer.intents.policy import AssetLimit, Policy
from keyquorum_core_signer.intents.roster import Coordinator, Gateway, Node, Roster, Tenant
from keyquorum_core_signer.wire.certificates import identity_certificate, transport_credentials
from keyquorum_core_signer.wire.identity import INTENT_TAG, KEY_CERTIFICATE_TAG, IdentityKey
from keyquorum_protos.signer.v1 import intent_pb2
from keyquorum_protos.wallet.v1 import certificate_pb2

NOW_MS = 1_800_000_000_000
CHAIN = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"
ASSET = f"{CHAIN}/slip44:501"
CODEC = CodecRef("solana", "1.2.3", sha256(b"codec").digest())
INITIATOR = IdentityKey.from_seed(b"\x11" * 32)
ROOT = IdentityKey.from_seed(b"\x22" * 32)
OWN = OwnAccount("own-address", b"\x33" * 32, (7,))
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Cell:
    """A roster, and the secrets behind it."""

    roster: Roster
    identities: dict[str, IdentityKey]


@cache
def cell(parties: int = 3, cell_id: str = "cell-test") -> Cell:
    """A cell of that many parties, one coordinator, one gateway and one tenant; made once."""
    identities = {f"party-{index}": IdentityKey.from_seed(bytes([index]) * 32) for index in range(1, parties + 1)}
    nodes = tuple(
        Node(
            node_id=node_id,
            index=index,
            identity_key=identity.public,
            identity_certificate=identity_certificate(identity, node_id, EPOCH),
            transport_certificate=transport_credentials([node_id], EPOCH).certificate,
            address=f"127.0.0.1:{7100 + index}",
        )
        for index, (node_id, identity) in enumerate(identities.items(), start=1)
    )
    roster = Roster(
        cell_id=cell_id,
        nodes=nodes,
        coordinators=(Coordinator("coordinator-1", transport_credentials(["coordinator-1"], EPOCH).certificate),),
        gateways=(Gateway("gateway-1", transport_credentials(["gateway-1"], EPOCH).certificate),),
        tenants=(Tenant("default", (ROOT.public,)),),
    )
    return Cell(roster, identities)


POLICY = Policy((INITIATOR.public,), (AssetLimit(ASSET, 1_000, 4_000, 3_600),))


def create_key(roster: Roster, **changes: object) -> Intent:
    """A key for all parties of the roster, two of whom will sign."""
    command = CreateKey(
        key_id="key_1",
        wallet_id="wal_1",
        user_id="user-1",
        scheme="eddsa_ed25519",
        threshold=2,
        node_ids=tuple(node.node_id for node in roster.nodes),
        policy=POLICY,
    )
    return _intent(roster, replace(command, **changes), ROOT)


def transfer(amount: int = 100, fee: int = 5) -> tuple[Effect, ...]:
    """A payment to a stranger, and its fee."""
    return (
        Effect(EffectKind.TRANSFER, ASSET, amount, OWN.address, "stranger"),
        Effect(EffectKind.FEE, ASSET, fee, OWN.address),
    )


def sign(roster: Roster, **changes: object) -> Intent:
    """A payment within the policy."""
    command = Sign(
        key_id="key_1",
        scheme="eddsa_ed25519",
        messages=(MessageToSign(b"message", OWN.path),),
        chain=CHAIN,
        codec=CODEC,
        unsigned_payload=b"payload",
        effects=transfer(),
    )
    return _intent(roster, replace(command, **changes), INITIATOR)


def sign_raw(roster: Roster) -> Intent:
    """A message that no codec explains."""
    return _intent(roster, Sign("key_1", "eddsa_ed25519", (MessageToSign(b"raw"),)), INITIATOR)


def _intent(roster: Roster, command: CreateKey | Sign, initiator: IdentityKey) -> Intent:
    return Intent(
        cell_id=roster.cell_id,
        tenant_id="default",
        initiator_key=initiator.public,
        nonce=b"\x44" * 32,
        valid_until_ms=NOW_MS + 60_000,
        roster_hash=roster.roster_hash,
        command=command,
    )


def authorize(data: bytes, key: IdentityKey = INITIATOR) -> intent_pb2.Authorization:
    """An initiator's proof."""
    return intent_pb2.Authorization(public_key=key.public, signature=key.sign(INTENT_TAG, data))


def decode(command: Sign) -> Decoded:
    """What an honest codec finds in the payload of an honest intent."""
    return Decoded(
        codec=command.codec,
        chain=command.chain,
        scheme=command.scheme,
        messages=command.messages,
        signers=(OWN.address,) * len(command.messages),
        effects=command.effects,
        accounts=(OWN,),
    )


def certificate(roster: Roster, **changes: object) -> KeyCertificate:
    """What the parties would certify after :func:`create_key`."""
    intent = create_key(roster)
    made = build_certificate(
        intent,
        intent_hash(encode_intent(intent)),
        roster,
        public_key=b"\x55" * 32,
        chain_code=b"\x66" * 32,
        public_shares=[bytes([node.index]) * 32 for node in roster.nodes],
        transcript_hash=b"\x77" * 32,
    )
    return replace(made, **changes)


def signed_certificate(of: Cell, made: KeyCertificate) -> certificate_pb2.SignedKeyCertificate:
    """A certificate with the signatures of all its nodes."""
    data = encode_certificate(made)
    signatures = {node_id: of.identities[node_id].sign(KEY_CERTIFICATE_TAG, data) for node_id in made.node_ids}
    return assemble_certificate(data, signatures)
