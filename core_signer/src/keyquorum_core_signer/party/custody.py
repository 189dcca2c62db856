"""Share custody at run time: which data key opens which share, and which one seals the next.

The key-encryption key unwraps one data key per session; the share itself is opened by the worker that runs it.
"""

import secrets
from typing import Final

from keyquorum_core_signer.hsm.ports import DEK_BYTES, KeyEncryptionKey
from keyquorum_core_signer.intents.certificate import KeyCertificate
from keyquorum_core_signer.intents.intent import CreateKey
from keyquorum_core_signer.party.jobs import ShareKey
from keyquorum_core_signer.party.refusal import INTERNAL, KEY_NOT_FOUND, Refusal
from keyquorum_core_signer.store.envelope import EnvelopeError, read_header
from keyquorum_core_signer.store.ports import ShareStore, StoredShare

FIRST_EPOCH: Final = 1
FIRST_VERSION: Final = 1


class Custody:
    """The party's shares, sealed, with the keys that open them one at a time."""

    def __init__(self, store: ShareStore, kek: KeyEncryptionKey) -> None:
        self._store = store
        self._kek = kek

    @property
    def kek_kind(self) -> str:
        """``soft`` or ``pkcs11``."""
        return self._kek.kind

    async def fetch(self, certificate: KeyCertificate) -> tuple[ShareKey, bytes]:
        """The active share of a certified key, sealed, and what opens it. :class:`Refusal` where there is none."""
        stored = await self._store.get_share(certificate.key_id)
        if stored is None or stored.epoch != certificate.epoch:
            raise Refusal(KEY_NOT_FOUND, "this party holds no active share of the key")
        return await self._unwrap(certificate, stored), stored.sealed

    async def new_key(self, command: CreateKey) -> ShareKey:
        """A fresh data key for the share that a ceremony is about to make."""
        data_key = secrets.token_bytes(DEK_BYTES)
        return ShareKey(
            user_id=command.user_id,
            key_id=command.key_id,
            scheme=command.scheme,
            epoch=FIRST_EPOCH,
            version=FIRST_VERSION,
            kek_id=self._kek.kek_id,
            wrapped_key=await self._kek.wrap(data_key),
            data_key=data_key,
        )

    async def _unwrap(self, certificate: KeyCertificate, stored: StoredShare) -> ShareKey:
        try:
            header = read_header(stored.sealed)
        except EnvelopeError:
            raise Refusal(INTERNAL, "the stored share is damaged") from None
        return ShareKey(
            user_id=certificate.user_id,
            key_id=certificate.key_id,
            scheme=certificate.scheme,
            epoch=stored.epoch,
            version=stored.version,
            kek_id=header.context.kek_id,
            wrapped_key=header.wrapped_dek,
            data_key=await self._kek.unwrap(header.context.kek_id, header.wrapped_dek),
        )
