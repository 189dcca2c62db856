"""Commands for share stores in tests, with everything that a test does not care about filled in."""

import hashlib
import secrets
from pathlib import Path

from keyquorum_core_signer.store import commands as c
from keyquorum_core_signer.store import pair_commands, presignature_commands
from keyquorum_core_signer.store.envelope import ShareContext, seal
from keyquorum_core_signer.store.sqlite import SqliteShareStore

PARTY = "party-1"
TENANT = "default"
INITIATOR = bytes([7]) * 32
ASSET = "solana:devnet/slip44:501"
NOW_MS = 1_800_000_000_000
DEK = bytes(range(32))
KIND = "dkls23"
SETUP = bytes([9]) * 32


def op_id_of(intent_hash: bytes) -> str:
    """As a party names an operation."""
    return f"op_{intent_hash[:16].hex()}"


def admission(
    key_id: str = "key_1",
    *,
    nonce: bytes | None = None,
    intent: bytes | None = None,
    kind: c.OperationKind = c.OperationKind.SIGN,
    amount: int | None = None,
    window_cap: int = 1000,
    window_s: int = 3600,
    now_ms: int = NOW_MS,
    valid_until_ms: int | None = None,
    asset: str = ASSET,
    initiator: bytes = INITIATOR,
) -> c.AdmitOperation:
    """An admission; ``intent`` stands for the intent's bytes, and follows from the nonce unless it is given."""
    nonce = secrets.token_bytes(32) if nonce is None else nonce
    intent_hash = hashlib.sha256(nonce if intent is None else intent).digest()
    return c.AdmitOperation(
        op_id=op_id_of(intent_hash),
        intent_hash=intent_hash,
        kind=kind,
        tenant_id=TENANT,
        key_id=key_id,
        initiator=initiator,
        nonce=nonce,
        valid_until_ms=now_ms + 3_600_000 if valid_until_ms is None else valid_until_ms,
        now_ms=now_ms,
        spends=() if amount is None else (c.Spend(asset, amount, window_cap, window_s),),
    )


def sealed_share(key_id: str = "key_1", *, epoch: int = 1, version: int = 1, share: bytes = b"a share") -> bytes:
    """An envelope of ``share`` under :data:`DEK`."""
    context = ShareContext(PARTY, "usr_1", key_id, "eddsa_ed25519", epoch, version, "soft:test:1")
    return seal(DEK, bytes(40), context, share)


def prepared(op_id: str, key_id: str = "key_1", **changes: object) -> c.StorePreparedShare:
    """The share that key generation stores before it signs the certificate."""
    fields: dict[str, object] = {
        "op_id": op_id,
        "key_id": key_id,
        "epoch": 1,
        "version": 1,
        "wallet_id": "wal_1",
        "user_id": "usr_1",
        "tenant_id": TENANT,
        "scheme": "eddsa_ed25519",
        "kek_id": "soft:test:1",
        "statement": b"certificate of " + key_id.encode(),
        "now_ms": NOW_MS,
        "sealed": sealed_share(key_id),
    }
    return c.StorePreparedShare(**{**fields, **changes})  # type: ignore[arg-type]


def activation(key_id: str = "key_1", *, epoch: int = 1, statement: bytes | None = None) -> c.ActivateEpoch:
    """All parties' signatures on the statement of :func:`prepared`."""
    signatures = tuple(c.NodeSignature(f"party-{n}", bytes([n]) * 64) for n in (1, 2, 3))
    return c.ActivateEpoch(key_id, epoch, statement or b"certificate of " + key_id.encode(), signatures, NOW_MS)


def pair_setup(node_id: str = "party-2", generation: int = 1, setup_id: bytes = SETUP) -> pair_commands.StorePairSetup:
    """Our half with a peer."""
    return pair_commands.StorePairSetup(
        node_id=node_id,
        kind=KIND,
        generation=generation,
        setup_id=setup_id,
        kek_id="soft:test:1",
        now_ms=NOW_MS,
        sealed=secrets.token_bytes(64),
    )


def presignatures(
    *numbers: int, key_id: str = "key_2", epoch: int = 1, node_ids: tuple[str, ...] = ("party-1", "party-4")
) -> presignature_commands.StorePresignatures:
    """Presignatures whose ids are the given bytes."""
    return presignature_commands.StorePresignatures(
        key_id=key_id,
        epoch=epoch,
        path=(0, 7),
        node_ids=node_ids,
        protocol=KIND,
        now_ms=NOW_MS,
        entries=tuple((bytes([number]) * 32, secrets.token_bytes(64)) for number in numbers),
    )


async def make_key(store: SqliteShareStore, key_id: str = "key_1", **changes: object) -> str:
    """Admit, prepare and activate a key; returns the operation's id."""
    admit = admission(key_id, kind=c.OperationKind.CREATE_KEY)
    assert isinstance(await store.execute(admit), c.Admitted)
    assert isinstance(await store.execute(prepared(admit.op_id, key_id, **changes)), c.Prepared)
    assert isinstance(await store.execute(activation(key_id)), c.Activated)
    return admit.op_id


async def open_store(path: Path, party: str = PARTY) -> SqliteShareStore:
    """The store at ``path``."""
    return await SqliteShareStore.open(path, party)
