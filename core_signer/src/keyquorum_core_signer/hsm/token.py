"""The one token that a PKCS#11 URI names, logged in, and the key objects on it.

Everything here happens on one thread: python-pkcs11 crashes when sessions are used from several.
"""

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.exceptions import (
    MultipleTokensReturned,
    NoSuchToken,
    PinExpired,
    PinIncorrect,
    PinInvalid,
    PinLenRange,
    PinLocked,
    PKCS11Error,
    UserPinNotInitialized,
)

from keyquorum_core_signer.hsm.ports import DEK_BYTES, HsmUnavailable, KekSetupError
from keyquorum_core_signer.hsm.uri import KeyUri

GENERATION_BYTES = 4
_WRAP = Mechanism.AES_KEY_WRAP
_PIN_ERRORS = (PinExpired, PinIncorrect, PinInvalid, PinLenRange, PinLocked, UserPinNotInitialized)
_DEK_TEMPLATE = {
    Attribute.TOKEN: False,
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: False,  # we have to read it: shares are opened in a worker process, not in the HSM
    Attribute.EXTRACTABLE: True,
}
_PROCESS: Final = threading.Lock()
"""Held while a token is open. C_Initialize and C_Finalize act on the whole process, so a process has one user of them."""

Pin = Callable[[], str]
"""Gives the user PIN when a login needs it; it is not kept."""


@dataclass(slots=True)
class LoadedGeneration:
    """One key object, and a blob that is known to be good."""

    number: int
    key: Any
    probe_dek: bytes = field(repr=False)
    probe_wrapped: bytes = field(repr=False)


class Token:
    """A logged-in session with the one token that a URI names. To be used on one thread only."""

    def __init__(self, module: Path, uri: KeyUri, pin: Pin, *, writable: bool = False) -> None:
        self.uri = uri
        if not _PROCESS.acquire(blocking=False):
            raise KekSetupError("a process opens one PKCS#11 key-encryption key at a time")
        self._open = True
        try:
            self._session = _login(module, uri, pin, writable=writable)
        except BaseException:
            self._open = False
            _PROCESS.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Log out; a device that is gone has logged us out already. Closing twice does nothing."""
        if not self._open:
            return
        self._open = False
        try:
            self._session.close()
        except PKCS11Error:
            return
        finally:
            _PROCESS.release()

    def generations(self) -> list[int]:
        """Numbers of all generations on the token, ascending; raises KekSetupError if one is there twice."""
        numbers = sorted(_number(key) for key in self._find())
        if len(set(numbers)) != len(numbers):
            raise KekSetupError(f"object {self.uri.object!r}: two keys of one generation on the token")
        return numbers

    def create(self, generation: int) -> None:
        """Make the key of a generation inside the HSM."""
        self._session.generate_key(
            KeyType.AES,
            8 * DEK_BYTES,
            id=generation.to_bytes(GENERATION_BYTES, "big"),
            label=self.uri.object,
            store=True,
            capabilities=MechanismFlag.WRAP | MechanismFlag.UNWRAP,
            template={
                Attribute.PRIVATE: True,
                Attribute.SENSITIVE: True,
                Attribute.EXTRACTABLE: False,
                Attribute.MODIFIABLE: False,
            },
        )

    def load(self, number: int) -> LoadedGeneration | None:
        """The key of a generation, checked and tried out; None if the token has none. Raises KekSetupError."""
        keys = list(self._find({Attribute.ID: number.to_bytes(GENERATION_BYTES, "big")}))
        if not keys:
            return None
        if len(keys) > 1:
            raise KekSetupError(f"object {self.uri.object!r}: two keys of one generation on the token")
        _require_safe(keys[0])
        dek = secrets.token_bytes(DEK_BYTES)
        return LoadedGeneration(number, keys[0], dek, self.wrap(keys[0], dek))

    def wrap(self, key: Any, dek: bytes) -> bytes:
        """AES key wrap of ``dek``, which is on the device for as long as it takes."""
        template = {
            **_DEK_TEMPLATE,
            Attribute.CLASS: ObjectClass.SECRET_KEY,
            Attribute.KEY_TYPE: KeyType.AES,
            Attribute.VALUE: dek,
        }
        handle = self._session.create_object(template)
        try:
            return bytes(key.wrap_key(handle, mechanism=_WRAP))
        finally:
            handle.destroy()

    @staticmethod
    def unwrap(key: Any, wrapped: bytes) -> bytes:
        """What ``wrapped`` holds; raises PKCS11Error for anything that goes wrong."""
        handle = key.unwrap_key(
            ObjectClass.SECRET_KEY, KeyType.AES, wrapped, mechanism=_WRAP, store=False, template=_DEK_TEMPLATE
        )
        try:
            return bytes(handle[Attribute.VALUE])
        finally:
            handle.destroy()

    def _find(self, more: dict[Attribute, Any] | None = None) -> Any:
        return self._session.get_objects(
            {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.LABEL: self.uri.object, **(more or {})}
        )


def _login(module: Path, uri: KeyUri, pin: Pin, *, writable: bool) -> Any:
    try:
        library = pkcs11.lib(str(module))
        library.reinitialize()  # a module looks for tokens only once; after a fault it has to look again
    except (PKCS11Error, OSError, RuntimeError) as error:
        raise HsmUnavailable(f"{module}: the PKCS#11 module cannot be used: {error_name(error)}") from None
    serial = uri.serial.encode() if uri.serial is not None else None
    try:
        token = library.get_token(token_label=uri.token, token_serial=serial)
        return token.open(rw=writable, user_pin=pin())
    except NoSuchToken:
        raise HsmUnavailable(f"token {uri.token!r} is not there") from None
    except MultipleTokensReturned:
        raise KekSetupError(f"token {uri.token!r} is there more than once; add ;serial= to the URI") from None
    except _PIN_ERRORS as error:
        raise KekSetupError(f"token {uri.token!r} refuses the PIN: {error_name(error)}") from None
    except PKCS11Error as error:
        raise HsmUnavailable(f"token {uri.token!r} cannot be opened: {error_name(error)}") from None


def error_name(error: BaseException) -> str:
    """The kind of a device's error; its text may quote what it was given."""
    return type(error).__name__


def _number(key: Any) -> int:
    identifier = bytes(key[Attribute.ID])
    if len(identifier) != GENERATION_BYTES:
        raise KekSetupError("a key of this label on the token was not made by us: its CKA_ID is no generation")
    return int.from_bytes(identifier, "big")


def _require_safe(key: Any) -> None:
    """Refuse a key that could leave the HSM, or that has been outside: it would be an HSM in name only."""
    required = {
        Attribute.SENSITIVE: True,
        Attribute.EXTRACTABLE: False,
        Attribute.NEVER_EXTRACTABLE: True,
        Attribute.WRAP: True,
        Attribute.UNWRAP: True,
    }
    wrong = [attribute.name for attribute, value in required.items() if bool(key[attribute]) is not value]
    if key.key_type is not KeyType.AES or key.key_length != 8 * DEK_BYTES:
        wrong.append("KEY_TYPE")
    if wrong:
        raise KekSetupError(f"the key-encryption key on the token is not safe to use: {', '.join(wrong)}")
