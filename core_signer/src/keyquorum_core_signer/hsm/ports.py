"""The key-encryption key (KEK) of one party: what it can do, and how it fails.

A share is sealed under a data-encryption key (DEK) of its own; the KEK only ever wraps and unwraps DEKs. KEKs come in
*generations*: new DEKs are wrapped under the current one, older ones unwrap what is not yet re-wrapped.
"""

from abc import ABC, abstractmethod

DEK_BYTES = 32
"""A DEK is an AES-256 key."""

WRAPPED_DEK_BYTES = 40
"""AES key wrap (RFC 3394) adds one 8-byte integrity block."""


class KekError(Exception):
    """Base of what a KEK refuses or cannot do. No text of it ever holds key material, a PIN or a passphrase."""


class WrongKek(KekError):
    """Proves that a blob names a KEK, or a generation of it, that this party does not have."""


class TamperedBlob(KekError):
    """Proves that a wrapped DEK is not what this KEK made, while the KEK itself works."""


class HsmUnavailable(KekError):
    """Says that the KEK cannot be used now: no device, no login, or a device that fails on known-good input.

    It proves nothing about the blob that was asked for.
    """


class KekSetupError(KekError):
    """Proves that the operator has to act: wrong passphrase or PIN, no or several matching tokens or keys."""


class KeyEncryptionKey(ABC):
    """One party's KEK, open. All calls run one after the other on one thread of its own.

    Open it after all worker processes are spawned, and never fork afterwards: a forked PKCS#11 login is undefined.
    """

    @property
    @abstractmethod
    def kind(self) -> str:
        """``soft`` or ``pkcs11``."""

    @property
    @abstractmethod
    def kek_id(self) -> str:
        """The current generation, as stored beside what it wraps: ``kind:label:generation``."""

    @abstractmethod
    async def wrap(self, dek: bytes) -> bytes:
        """Wrap a 32-byte DEK under the current generation (``kek_id``); 40 bytes.

        Raises ValueError for another length, HsmUnavailable.
        """

    @abstractmethod
    async def unwrap(self, kek_id: str, wrapped: bytes) -> bytes:
        """The 32-byte DEK that ``wrapped`` holds; raises WrongKek, TamperedBlob, HsmUnavailable."""

    @abstractmethod
    async def close(self) -> None:
        """Log out and forget the key. Calls after this raise HsmUnavailable; closing twice does nothing."""
