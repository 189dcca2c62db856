"""What a single field of a command may be. Each check returns nothing, or raises ValueError naming the field.

Commands come from our own party, which has read them strictly already; these are the store's own walls, so that no row can
hold what a projection, a chain hash or a page of results cannot carry.
"""

import re
from collections.abc import Sequence

from keyquorum_core_signer.store import limits

HASH_BYTES = 32
_ID = re.compile(rf"[\x21-\x7e]{{1,{limits.ID_CHARS_MAX}}}")


def check_id(name: str, value: str, *, optional: bool = False) -> None:
    """Printable ASCII without spaces and slashes: ids are joined by slashes into the names of events."""
    if optional and value == "":
        return
    if type(value) is not str or not _ID.fullmatch(value) or "/" in value:
        raise ValueError(f"{name}: not an identifier")


def check_user(name: str, value: str) -> None:
    """As an id; a client chose it, so that it may hold a slash."""
    if type(value) is not str or not _ID.fullmatch(value):
        raise ValueError(f"{name}: not an identifier")


def check_text(name: str, value: str, chars_max: int) -> None:
    """Any printable text up to a length."""
    if type(value) is not str or len(value) > chars_max or not value.isprintable():
        raise ValueError(f"{name}: not printable text of at most {chars_max} characters")


def check_hash(name: str, value: bytes, *, optional: bool = False) -> None:
    """32 bytes: a hash, a nonce or an Ed25519 public key."""
    if optional and value == b"":
        return
    if type(value) is not bytes or len(value) != HASH_BYTES:
        raise ValueError(f"{name}: not {HASH_BYTES} bytes")


def check_bytes(name: str, value: bytes, size_max: int) -> None:
    """Something, up to a size."""
    if type(value) is not bytes or not 0 < len(value) <= size_max:
        raise ValueError(f"{name}: not 1 to {size_max} bytes")


def check_int(name: str, value: int, bound: int, *, least: int = 0) -> None:
    """``least <= value < bound``."""
    if type(value) is not int or not least <= value < bound:
        raise ValueError(f"{name}: not an integer from {least}, below {bound}")


def check_time(name: str, value: int) -> None:
    """Milliseconds since 1970, before the year 2100: one wrong clock must not raise the high-water mark for good."""
    check_int(name, value, limits.TIME_MS_BOUND)


def check_epoch(name: str, value: int) -> None:
    """Epochs and versions count from 1."""
    check_int(name, value, limits.EPOCH_BOUND, least=1)


def check_count(name: str, values: Sequence[object], most: int, *, least: int = 0) -> None:
    """How many there are."""
    if type(values) is not tuple or not least <= len(values) <= most:
        raise ValueError(f"{name}: not a tuple of {least} to {most}")
