"""Opens what three parties keep, as a thief with all three disks and passphrases would: only a test may."""

import asyncio
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import apsw

from keyquorum_core_signer.groups.suites import suite_for
from keyquorum_core_signer.hsm.soft import SoftKek
from keyquorum_core_signer.protocols.keys import KeyShare, decode_share
from keyquorum_core_signer.store.envelope import open_sealed, read_header
from keyquorum_core_signer.store.sqlite import SqliteShareStore
from keyquorum_devnet.layout import PARTIES, Layout
from support.committee import reconstruct


@dataclass(frozen=True)
class OpenedKey:
    """A key in one place, which it never is otherwise: the secret key, and each party's share of it, 32 bytes big-endian."""

    key_id: str
    wallet_id: str
    secret: bytes
    shares: dict[str, bytes]


async def open_keys(layout: Layout, wallet_ids: Iterable[str], scratch: Path) -> list[OpenedKey]:
    """The keys of wallets of a stack with soft key-encryption keys, running or not; its stores are copied first."""
    found: dict[tuple[str, str], dict[str, KeyShare]] = {}
    for name in PARTIES:
        for wallet_id, share in await _open_party(layout.node(name), name, wallet_ids, scratch / name):
            found.setdefault((share.key_id, wallet_id), {})[name] = share
    keys = []
    for (key_id, wallet_id), shares in found.items():
        assert set(shares) == set(PARTIES), f"{key_id} is not held by every party"
        secret = reconstruct(list(shares.values())[:2])
        assert secret == reconstruct(list(shares.values())[1:]), "any two shares give the key"
        group = secret.group
        public = next(iter(shares.values())).public.public_key
        assert group.base_multiply(secret) == public, "the reconstructed key is the key"
        numbers = {name: _number(share.secret) for name, share in shares.items()}
        keys.append(OpenedKey(key_id, wallet_id, _number(secret), numbers))
    return keys


def _copy(folder: Path, scratch: Path) -> None:
    """A party's store and KEK files; the database by SQLite's own means, because its party may be writing."""
    scratch.mkdir(parents=True)
    for pattern in ("kek.*", "shares.db.*"):
        for file in folder.glob(pattern):
            shutil.copy(file, scratch)
    source, target = apsw.Connection(str(folder / "shares.db")), apsw.Connection(str(scratch / "shares.db"))
    with target.backup("main", source, "main") as backup:
        backup.step(-1)
    source.close()
    target.close()
    for file in scratch.iterdir():
        file.chmod(0o600)


def _read_passphrase(scratch: Path) -> bytes:
    return (scratch / "kek.passphrase").read_bytes().strip()


async def _open_party(folder: Path, name: str, wallet_ids: Iterable[str], scratch: Path) -> list[tuple[str, KeyShare]]:
    await asyncio.to_thread(_copy, folder, scratch)
    kek = await SoftKek.open(scratch / "kek.salt", lambda: _read_passphrase(scratch))
    store = await SqliteShareStore.open(scratch / "shares.db", name)
    try:
        shares = []
        for record in [key for wallet_id in wallet_ids for key in await store.list_keys(wallet_id=wallet_id)]:
            stored = await store.get_share(record.key_id)
            header = read_header(stored.sealed)
            data_key = await kek.unwrap(header.context.kek_id, header.wrapped_dek)
            plain = open_sealed(data_key, header.context, stored.sealed)
            shares.append((record.wallet_id, decode_share(suite_for(record.scheme), plain)))
        return shares
    finally:
        await store.close()
        await kek.close()


def _number(scalar) -> bytes:
    return scalar.value.to_bytes(32, "big")
