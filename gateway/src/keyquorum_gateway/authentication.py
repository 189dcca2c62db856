"""Recognises API keys."""

import hmac
import time
from pathlib import Path
from typing import Final

from keyquorum_gateway.bounds import API_KEY_CACHE_MAX, API_KEY_CACHE_S
from keyquorum_gateway.config import ConfigError, read_secret
from keyquorum_gateway.state.api_keys import FIND, PEPPER_BYTES_MIN, Principal, digest, has_key_form, principal_of
from keyquorum_gateway.state.database import Database


class ApiKeys:
    """Keys of the database, under the pepper. A positive answer is believed for a second, so that keys can be revoked."""

    def __init__(self, database: Database, pepper: bytes) -> None:
        self._database = database
        self._pepper = pepper
        self._known: dict[bytes, tuple[float, Principal]] = {}

    def recognise(self, key: str) -> Principal | None:
        """Who presents this key; None for a key that is not known or was revoked."""
        if not has_key_form(key):
            return None
        presented = digest(self._pepper, key)
        now = time.monotonic()
        cached = self._known.get(presented)
        if cached is not None and cached[0] > now:
            return cached[1]
        row = self._database.read_one(FIND, (presented,))
        if row is None or not hmac.compare_digest(row[3], presented):
            self._known.pop(presented, None)
            return None
        if len(self._known) >= API_KEY_CACHE_MAX:
            self._known.clear()
        principal = principal_of((row[0], row[1], row[2], row[3]))
        self._known[presented] = (now + API_KEY_CACHE_S, principal)
        return principal


_HEX_CHARS_MIN: Final = 2 * PEPPER_BYTES_MIN


def read_pepper(path: Path) -> bytes:
    """The pepper: at least 32 random bytes in hexadecimal."""
    text = read_secret(path)
    try:
        pepper = bytes.fromhex(text.decode("ascii"))
    except (ValueError, UnicodeDecodeError):
        pepper = b""
    if len(text) < _HEX_CHARS_MIN or len(pepper) < PEPPER_BYTES_MIN:
        raise ConfigError(f"{path}: a pepper is at least {PEPPER_BYTES_MIN} random bytes in hexadecimal")
    return pepper
