"""TOML tables read strictly: each key once, of the expected type, and none left over."""

import binascii
import tomllib

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from keyquorum_core_signer.intents.errors import RosterError

_FILE_BYTES_MAX = 1024 * 1024


class Table:
    """One table. Every reading takes its key out; :meth:`finish` refuses what nobody read. Raises RosterError."""

    def __init__(self, name: str, value: object) -> None:
        if not isinstance(value, dict):
            raise RosterError(f"{name}: not a table")
        self.name = name
        self._left: dict[str, object] = dict(value)

    def text(self, key: str) -> str:
        """A string."""
        value = self._take(key)
        if not isinstance(value, str):
            raise RosterError(f"{self.name}.{key}: not a string")
        return value

    def integer(self, key: str) -> int:
        """An integer."""
        value = self._take(key)
        if not isinstance(value, int) or isinstance(value, bool):
            raise RosterError(f"{self.name}.{key}: not an integer")
        return value

    def key_bytes(self, key: str) -> bytes:
        """Bytes in lower-case hexadecimal."""
        return _unhex(self.text(key), f"{self.name}.{key}")

    def keys_bytes(self, key: str) -> tuple[bytes, ...]:
        """A list of the like."""
        return tuple(_unhex(entry, f"{self.name}.{key}") for entry in self._list(key))

    def certificate(self, key: str) -> str:
        """One PEM certificate, in its one spelling."""
        return normalize_certificate(self.text(key), f"{self.name}.{key}")

    def tables(self, key: str) -> "list[Table]":
        """A list of tables; absent means empty."""
        return [Table(f"{key}[{i}]", entry) for i, entry in enumerate(self._list(key) if key in self._left else [])]

    def finish(self) -> None:
        """Refuse keys that nobody read."""
        if self._left:
            raise RosterError(f"{self.name}: unknown key {min(self._left)!r}")

    def _list(self, key: str) -> list[object]:
        value = self._take(key)
        if not isinstance(value, list):
            raise RosterError(f"{self.name}.{key}: not a list")
        return value

    def _take(self, key: str) -> object:
        if key not in self._left:
            raise RosterError(f"{self.name}.{key}: missing")
        return self._left.pop(key)


def _unhex(text: object, what: str) -> bytes:
    if not isinstance(text, str) or text != text.lower():
        raise RosterError(f"{what}: not lower-case hexadecimal")
    try:
        return binascii.unhexlify(text)
    except ValueError:
        raise RosterError(f"{what}: not lower-case hexadecimal") from None


def normalize_certificate(pem: str, what: str) -> str:
    """Exactly one PEM certificate, in its one spelling; raises RosterError naming ``what``."""
    try:
        (certificate,) = x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        raise RosterError(f"{what}: not exactly one PEM certificate") from None
    return certificate.public_bytes(Encoding.PEM).decode()


def parse_toml(data: bytes, name: str) -> Table:
    """The top-level table of a file's bytes; raises RosterError."""
    if len(data) > _FILE_BYTES_MAX:
        raise RosterError(f"larger than {_FILE_BYTES_MAX} bytes")
    try:
        return Table(name, tomllib.loads(data.decode()))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise RosterError(f"not TOML: {error}") from None
