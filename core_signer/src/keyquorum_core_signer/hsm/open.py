"""The one place that chooses between the makers of key-encryption keys."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import structlog

from keyquorum_core_signer.hsm.pkcs11 import Pkcs11Kek
from keyquorum_core_signer.hsm.ports import KekSetupError, KeyEncryptionKey
from keyquorum_core_signer.hsm.soft import SoftKek

SecretReader: TypeAlias = Callable[[Path], bytes]
"""Reads a secret file and refuses one that others can access."""


class SoftSettings(Protocol):
    """What a soft KEK is opened with; a party's configuration section has this shape."""

    @property
    def kind(self) -> Literal["soft"]: ...
    @property
    def passphrase_file(self) -> Path: ...
    @property
    def salt_file(self) -> Path: ...


class Pkcs11Settings(Protocol):
    """What an HSM's KEK is opened with; ``token`` is a URI of RFC 7512 that names token and object."""

    @property
    def kind(self) -> Literal["pkcs11"]: ...
    @property
    def module(self) -> Path: ...
    @property
    def token(self) -> str: ...
    @property
    def pin_file(self) -> Path: ...


async def open_kek(settings: SoftSettings | Pkcs11Settings, read_secret: SecretReader) -> KeyEncryptionKey:
    """Open the KEK that ``settings`` describe, and say in the log what it is.

    Secrets are read by ``read_secret`` when they are needed and not kept. Raises KekSetupError, HsmUnavailable, and what
    ``read_secret`` raises.
    """
    log = structlog.get_logger("keyquorum.hsm")
    kek: KeyEncryptionKey
    if settings.kind == "soft":
        passphrase_file = settings.passphrase_file
        kek = await SoftKek.open(settings.salt_file, lambda: read_secret(passphrase_file))
        log.warning(
            "the key-encryption key is NOT in an HSM: whoever can read this process, or the passphrase and the salt file, "
            "can open every share of this party",
            kek_kind=kek.kind,
        )
    else:
        pin_file = settings.pin_file
        kek = await Pkcs11Kek.open(settings.module, settings.token, lambda: pin_text(read_secret(pin_file)))
        log.info("the key-encryption key is in the HSM", kek_kind=kek.kind)
    return kek


def pin_text(data: bytes) -> str:
    """A PIN as python-pkcs11 takes it; raises KekSetupError, without quoting it."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise KekSetupError("the PIN file is not UTF-8 text") from None
