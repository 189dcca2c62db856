"""A key-encryption key made from a passphrase: the embedded default. It is not an HSM.

Whoever reads the process's memory, or the passphrase file and the salt file together, has the key; an old generation cannot
be destroyed for certain. The store's envelopes are the same as with an HSM, so that one can be put in its place.

The salt file is JSON, public, and holds per generation: salt, scrypt parameters, and a check value, the wrapping of a
constant, that tells a wrong passphrase at start-up instead of at the first signature.
"""

import json
import os
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from keyquorum_core_signer.hsm.ports import (
    DEK_BYTES,
    WRAPPED_DEK_BYTES,
    HsmUnavailable,
    KekSetupError,
    KeyEncryptionKey,
    TamperedBlob,
    WrongKek,
)
from keyquorum_core_signer.hsm.thread import KekThread

FORMAT = "keyquorum/soft-kek/v1"
SALT_BYTES = 16
CHECKED = b"keyquorum/soft-kek/v1 check".ljust(DEK_BYTES, b"\x00")

SCRYPT_N = 2**17  # with r=8: 128 MiB and 0.4 s per guess, once per start for us (OWASP's first choice)
SCRYPT_R = 8
SCRYPT_P = 1
SCRYPT_N_MIN = 2**14  # a salt file that somebody made cheap is refused before a DEK is wrapped under it
SCRYPT_N_MAX = 2**20  # 1 GiB; more would only take the process down
GENERATIONS_MAX = 1024
SALT_FILE_BYTES_MAX = 512 * 1024
PASSPHRASE_BYTES_MIN = 8


@dataclass(frozen=True, slots=True)
class Generation:
    """How one generation's key comes from the passphrase; ``salt`` and ``check`` in hexadecimal."""

    generation: int
    salt: str
    n: int
    r: int
    p: int
    check: str

    def derive(self, passphrase: bytes) -> bytes:
        """The 32-byte AES key; raises KekSetupError for another passphrase than the one the generation was made with."""
        key = Scrypt(salt=bytes.fromhex(self.salt), length=DEK_BYTES, n=self.n, r=self.r, p=self.p).derive(passphrase)
        try:
            checked = aes_key_unwrap(key, bytes.fromhex(self.check))
        except InvalidUnwrap:
            checked = b""
        if checked != CHECKED:
            raise KekSetupError("the passphrase is not the one that the salt file was made with")
        return key


@dataclass(frozen=True, slots=True)
class SaltFile:
    """A soft KEK's public part. ``label`` is random: blobs of another party's KEK are told by it."""

    label: str
    generations: tuple[Generation, ...]  # ascending, without gaps, from 1

    def kek_id(self, generation: int) -> str:
        """What is stored beside a DEK wrapped under that generation."""
        return f"soft:{self.label}:{generation}"

    def find(self, kek_id: str) -> Generation | None:
        """The generation that ``kek_id`` names, if it is one of ours."""
        return next((g for g in self.generations if self.kek_id(g.generation) == kek_id), None)


def create_soft_kek(salt_file: Path, passphrase: bytes, *, scrypt_n: int = SCRYPT_N) -> str:
    """Make the first generation and write the salt file, which must not exist; returns the KEK id.

    Takes as long as one derivation. Raises KekSetupError.
    """
    if salt_file.exists():
        raise KekSetupError(f"{salt_file}: exists already")
    file = SaltFile(secrets.token_hex(8), (_new_generation(1, passphrase, scrypt_n),))
    _write(salt_file, file)
    return file.kek_id(1)


def rotate_soft_kek(salt_file: Path, passphrase: bytes, *, scrypt_n: int = SCRYPT_N) -> str:
    """Add a generation, which becomes the current one when the KEK is next opened; returns its KEK id.

    Raises KekSetupError, also if the passphrase is not that of the current generation.
    """
    file = read_salt_file(salt_file)
    file.generations[-1].derive(passphrase)
    if len(file.generations) >= GENERATIONS_MAX:
        raise KekSetupError(f"{salt_file}: no more than {GENERATIONS_MAX} generations")
    latest = _new_generation(len(file.generations) + 1, passphrase, scrypt_n)
    _write(salt_file, SaltFile(file.label, (*file.generations, latest)))
    return file.kek_id(latest.generation)


def _new_generation(number: int, passphrase: bytes, scrypt_n: int) -> Generation:
    if len(passphrase) < PASSPHRASE_BYTES_MIN:
        raise KekSetupError(f"a passphrase has at least {PASSPHRASE_BYTES_MIN} bytes")
    salt = secrets.token_bytes(SALT_BYTES)
    key = Scrypt(salt=salt, length=DEK_BYTES, n=scrypt_n, r=SCRYPT_R, p=SCRYPT_P).derive(passphrase)
    check = aes_key_wrap(key, CHECKED)
    return Generation(number, salt.hex(), scrypt_n, SCRYPT_R, SCRYPT_P, check.hex())


def _write(path: Path, file: SaltFile) -> None:
    """Replace the file atomically and durably: losing a salt loses every share under it."""
    document = {"format": FORMAT, "label": file.label, "generations": [asdict(g) for g in file.generations]}
    data = json.dumps(document, indent=1).encode() + b"\n"
    temporary = path.with_name(f"{path.name}.new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(descriptor)
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise KekSetupError(f"{path}: {error.strerror}") from None


def read_salt_file(path: Path) -> SaltFile:
    """Read and check a salt file; raises KekSetupError."""
    try:
        with path.open("rb") as stream:
            return _parse(stream.read(SALT_FILE_BYTES_MAX + 1))
    except OSError as error:
        raise KekSetupError(f"{path}: {error.strerror}") from None
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise KekSetupError(f"{path}: not a salt file of a soft KEK: {error}") from None


def _parse(data: bytes) -> SaltFile:
    if len(data) > SALT_FILE_BYTES_MAX:
        raise ValueError("too large")
    document = json.loads(data)
    if document.keys() != {"format", "label", "generations"} or document["format"] != FORMAT:
        raise ValueError("another format")
    generations = tuple(_checked(entry) for entry in document["generations"])
    if [g.generation for g in generations] != list(range(1, len(generations) + 1)) or not generations:
        raise ValueError("generations are not numbered from 1")
    label = document["label"]
    if not isinstance(label, str) or not label.isalnum():
        raise ValueError("a label is letters and digits")
    return SaltFile(label, generations)


def _checked(entry: dict[str, Any]) -> Generation:
    found = Generation(**entry)
    if not all(type(v) is int for v in (found.generation, found.n, found.r, found.p)):
        raise ValueError("parameters are integers")
    if not SCRYPT_N_MIN <= found.n <= SCRYPT_N_MAX or (found.r, found.p) != (SCRYPT_R, SCRYPT_P):
        raise ValueError("scrypt parameters out of bounds")
    if len(bytes.fromhex(found.salt)) != SALT_BYTES or len(bytes.fromhex(found.check)) != WRAPPED_DEK_BYTES:
        raise ValueError("salt or check value of a wrong length")
    return found


class SoftKek(KeyEncryptionKey):
    """Open with :meth:`open`. Older generations are derived when a blob first asks for them."""

    def __init__(self, file: SaltFile, passphrase: Callable[[], bytes]) -> None:
        self._file = file
        self._passphrase = passphrase
        self._thread = KekThread()
        self._keys: dict[str, bytes] = {}

    @classmethod
    async def open(cls, salt_file: Path, passphrase: Callable[[], bytes]) -> "SoftKek":
        """Derive the current generation; ``passphrase`` is asked again whenever an older one is needed.

        Raises KekSetupError: no or a malformed salt file, wrong passphrase; and what ``passphrase`` raises.
        """
        kek = cls(read_salt_file(salt_file), passphrase)
        try:
            await kek._thread.run(kek._key, kek.kek_id)
        except BaseException:
            await kek.close()
            raise
        return kek

    @property
    def kind(self) -> str:
        return "soft"

    @property
    def kek_id(self) -> str:
        return self._file.kek_id(self._file.generations[-1].generation)

    async def wrap(self, dek: bytes) -> bytes:
        if len(dek) != DEK_BYTES:
            raise ValueError(f"a DEK has {DEK_BYTES} bytes")
        return await self._thread.run(lambda: aes_key_wrap(self._key(self.kek_id), dek))

    async def unwrap(self, kek_id: str, wrapped: bytes) -> bytes:
        return await self._thread.run(self._unwrap, kek_id, wrapped)

    async def close(self) -> None:
        await self._thread.close(self._keys.clear)

    def _key(self, kek_id: str) -> bytes:
        generation = self._file.find(kek_id)
        if generation is None:
            raise WrongKek(f"{kek_id!r} is not a key-encryption key of this party")
        if kek_id not in self._keys:
            try:
                self._keys[kek_id] = generation.derive(self._passphrase())
            except MemoryError:
                raise HsmUnavailable("not enough memory to derive the key-encryption key") from None
        return self._keys[kek_id]

    def _unwrap(self, kek_id: str, wrapped: bytes) -> bytes:
        key = self._key(kek_id)
        if len(wrapped) != WRAPPED_DEK_BYTES:
            raise TamperedBlob("a wrapped DEK has another length")
        try:
            return aes_key_unwrap(key, wrapped)
        except InvalidUnwrap:
            raise TamperedBlob("a wrapped DEK is not what this key-encryption key made") from None

    def __repr__(self) -> str:
        return f"SoftKek({self.kek_id!r})"
