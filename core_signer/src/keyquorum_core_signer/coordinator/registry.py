"""The registry of keys: certificates as the parties signed them. Public data, believed by nobody on our word."""

from collections import OrderedDict
from dataclasses import dataclass

import apsw

from keyquorum_core_signer.coordinator.database import Database, Work
from keyquorum_core_signer.coordinator.limits import CERTIFICATES_CACHED_MAX
from keyquorum_core_signer.intents.certificate import KeyCertificate, parse_certificate
from keyquorum_protos.wallet.v1 import certificate_pb2


@dataclass(frozen=True, slots=True)
class RegisteredKey:
    """A certificate as it was signed and as it reads."""

    signed: certificate_pb2.SignedKeyCertificate
    certificate: KeyCertificate


class KeyRegistry:
    """Keys by id and by wallet, the recently used ones parsed and in memory."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cache: OrderedDict[str, RegisteredKey] = OrderedDict()

    def storing(self, key: RegisteredKey) -> Work:
        """The write that keeps a verified certificate; the first one of a key id stays."""
        certificate = key.certificate
        row = (certificate.key_id, certificate.wallet_id, key.signed.SerializeToString(deterministic=True))

        def insert(connection: apsw.Connection) -> None:
            connection.execute(
                "INSERT INTO key (key_id, wallet_id, certificate) VALUES (?, ?, ?) ON CONFLICT (key_id) DO NOTHING", row
            )

        return insert

    def find(self, key_id: str) -> RegisteredKey | None:
        """The key of that id, if it is known."""
        key = self._cache.get(key_id)
        if key is not None:
            self._cache.move_to_end(key_id)
            return key
        rows = self._database.read("SELECT certificate FROM key WHERE key_id = ?", (key_id,))
        if not rows:
            return None
        key = _decode(rows[0][0])
        self._cache[key_id] = key
        if len(self._cache) > CERTIFICATES_CACHED_MAX:
            self._cache.popitem(last=False)
        return key

    def page(
        self, wallet_id: str, limit: int, after: int | None
    ) -> tuple[list[certificate_pb2.SignedKeyCertificate], int | None]:
        """Up to ``limit`` certificates, oldest first, of a wallet or (empty id) of all; and where the next page begins."""
        where = "wallet_id = ? AND number > ?" if wallet_id else "? = '' AND number > ?"
        rows = self._database.read(
            f"SELECT number, certificate FROM key WHERE {where} ORDER BY number LIMIT ?",  # noqa: S608 - one of two texts above
            (wallet_id, after if after is not None else 0, limit + 1),
        )
        page = [certificate_pb2.SignedKeyCertificate.FromString(data) for _, data in rows[:limit]]
        return page, (rows[limit - 1][0] if len(rows) > limit else None)


def _decode(data: bytes) -> RegisteredKey:
    signed = certificate_pb2.SignedKeyCertificate.FromString(data)
    return RegisteredKey(signed, parse_certificate(signed.certificate))
