"""A key-encryption key that stays in an HSM, reached through PKCS#11.

Each generation is one AES-256 key object: its label is the URI's object, its CKA_ID the generation, four bytes big-endian.
The HSM only wraps and unwraps with it (CKM_AES_KEY_WRAP, RFC 3394); a DEK is a session object for that long.

A device says GeneralError both for a tampered blob and for a fault of its own: which of the two
is decided by unwrapping a blob that this process made itself and knows to be good.
"""

from pathlib import Path

from pkcs11.exceptions import PKCS11Error

from keyquorum_core_signer.hsm.ports import (
    DEK_BYTES,
    WRAPPED_DEK_BYTES,
    HsmUnavailable,
    KekError,
    KekSetupError,
    KeyEncryptionKey,
    TamperedBlob,
    WrongKek,
)
from keyquorum_core_signer.hsm.thread import KekThread
from keyquorum_core_signer.hsm.token import LoadedGeneration, Pin, Token, error_name
from keyquorum_core_signer.hsm.uri import KeyUri, parse_key_uri

GENERATIONS_MAX = 1024


async def create_pkcs11_kek(module: Path, uri: str, pin: Pin) -> str:
    """Make the next generation (the first one on an empty token) inside the HSM; returns its KEK id.

    Raises KekSetupError, HsmUnavailable. A KEK that is open keeps wrapping under the generation it was opened with.
    """
    where = parse_key_uri(uri)

    def create() -> str:
        with Token(module, where, pin, writable=True) as token:
            try:
                number = max(token.generations(), default=0) + 1
                if number > GENERATIONS_MAX:
                    raise KekSetupError(f"no more than {GENERATIONS_MAX} generations")
                token.create(number)
                created = token.load(number)
            except PKCS11Error as error:
                raise HsmUnavailable(f"the token did not make a key: {error_name(error)}") from None
        if created is None:
            raise HsmUnavailable("the token made a key and does not find it")
        return _kek_id(where, number)

    thread = KekThread()
    try:
        return await thread.run(create)
    finally:
        await thread.close(lambda: None)


def _kek_id(uri: KeyUri, number: int) -> str:
    return f"pkcs11:{uri.object}:{number}"


class Pkcs11Kek(KeyEncryptionKey):
    """Open with :meth:`open`.

    After a device fault the session is given up and the next call logs in again. A refused PIN is final: asking again would
    lock the token.
    """

    def __init__(self, module: Path, uri: KeyUri, pin: Pin) -> None:
        self._module = module
        self._uri = uri
        self._pin = pin
        self._thread = KekThread()
        self._token: Token | None = None
        self._refused: KekSetupError | None = None
        self._generations: dict[int, LoadedGeneration] = {}
        self._current = 0

    @classmethod
    async def open(cls, module: Path, uri: str, pin: Pin) -> "Pkcs11Kek":
        """Log in and try out the newest generation; ``pin`` is asked at each login.

        Raises KekSetupError: a malformed URI, several tokens or keys, no key, an unsafe key, a refused PIN; HsmUnavailable.
        """
        kek = cls(module, parse_key_uri(uri), pin)
        try:
            await kek._thread.run(kek._select)
        except BaseException:
            await kek.close()
            raise
        return kek

    @property
    def kind(self) -> str:
        return "pkcs11"

    @property
    def kek_id(self) -> str:
        return _kek_id(self._uri, self._current)

    async def wrap(self, dek: bytes) -> bytes:
        if len(dek) != DEK_BYTES:
            raise ValueError(f"a DEK has {DEK_BYTES} bytes")
        return await self._thread.run(self._wrap, dek)

    async def unwrap(self, kek_id: str, wrapped: bytes) -> bytes:
        return await self._thread.run(self._unwrap, kek_id, wrapped)

    async def close(self) -> None:
        await self._thread.close(self._log_out)

    def _select(self) -> None:
        token = self._connected()
        try:
            numbers = token.generations()
            if not numbers:
                raise KekSetupError(f"object {self._uri.object!r}: no key on the token; create one first")
            self._current = numbers[-1]
            self._load(self._current)
        except PKCS11Error as error:
            raise self._fault(error) from None

    def _connected(self) -> Token:
        if self._refused is not None:
            raise self._refused
        if self._token is None:
            try:
                self._token = Token(self._module, self._uri, self._pin)
            except KekSetupError as error:
                self._refused = error
                raise
        return self._token

    def _load(self, number: int) -> LoadedGeneration:
        token = self._connected()
        if number not in self._generations:
            found = token.load(number)
            if found is None:
                raise WrongKek(f"{_kek_id(self._uri, number)!r} is not on the token")
            self._generations[number] = found
        return self._generations[number]

    def _wrap(self, dek: bytes) -> bytes:
        try:
            generation = self._load(self._current)
            wrapped = self._connected().wrap(generation.key, dek)
            if len(wrapped) != WRAPPED_DEK_BYTES or Token.unwrap(generation.key, wrapped) != dek:
                raise HsmUnavailable("the device does not unwrap what it wrapped")
        except PKCS11Error as error:
            raise self._fault(error) from None
        return wrapped

    def _unwrap(self, kek_id: str, wrapped: bytes) -> bytes:
        number = self._generation_of(kek_id)
        if len(wrapped) != WRAPPED_DEK_BYTES:
            raise TamperedBlob("a wrapped DEK has another length")
        try:
            generation = self._load(number)
        except PKCS11Error as error:
            raise self._fault(error) from None
        try:
            return _checked_dek(Token.unwrap(generation.key, wrapped))
        except (PKCS11Error, KekError) as error:
            raise self._tampered_or_fault(generation, error) from None

    def _generation_of(self, kek_id: str) -> int:
        prefix, _, number = kek_id.rpartition(":")
        if f"{prefix}:" != _kek_id(self._uri, 0)[:-1] or not (number.isascii() and number.isdigit()):
            raise WrongKek(f"{kek_id!r} is not a key-encryption key of this party")
        if kek_id != _kek_id(self._uri, int(number)) or not 0 < int(number) <= GENERATIONS_MAX:
            raise WrongKek(f"{kek_id!r} is not a key-encryption key of this party")
        return int(number)

    def _tampered_or_fault(self, generation: LoadedGeneration, error: BaseException) -> KekError:
        """What a failed unwrap proves: about the blob if the known-good one still unwraps, else nothing."""
        try:
            healthy = Token.unwrap(generation.key, generation.probe_wrapped) == generation.probe_dek
        except PKCS11Error as fault:
            return self._fault(fault)
        if healthy:
            return TamperedBlob("a wrapped DEK is not what this key-encryption key made")
        return self._fault(error)

    def _fault(self, error: BaseException) -> HsmUnavailable:
        """Give the session up, so that the next call starts from a fresh login."""
        self._log_out()
        return HsmUnavailable(f"the device failed: {error_name(error)}")

    def _log_out(self) -> None:
        self._generations.clear()
        token, self._token = self._token, None
        if token is not None:
            token.close()

    def __repr__(self) -> str:
        return f"Pkcs11Kek({self.kek_id!r})"


def _checked_dek(dek: bytes) -> bytes:
    if len(dek) != DEK_BYTES:
        raise TamperedBlob("a wrapped DEK has another length")
    return dek
