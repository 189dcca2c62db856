"""Opaque, prefixed identifiers with a UUIDv7 inside: unique without coordination, and sorted by the time they were made."""

import re
from typing import Annotated, Final

from pydantic import StringConstraints
from uuid_utils import uuid7

WALLET: Final = "wal"
KEY: Final = "key"
ACCOUNT: Final = "acc"
TRANSACTION: Final = "txn"
OPERATION: Final = "op"
API_KEY: Final = "ak"

_IDENTIFIER: Final = re.compile(r"[a-z]{2,3}_[0-9a-f]{32}")


def new_identifier(prefix: str) -> str:
    """A new identifier, such as ``wal_0197f1…``."""
    return f"{prefix}_{uuid7().hex}"


def is_identifier(text: str, prefix: str) -> bool:
    """Whether ``text`` has the form of an identifier with this prefix."""
    return text.startswith(f"{prefix}_") and _IDENTIFIER.fullmatch(text) is not None


def _pattern(prefix: str) -> StringConstraints:
    return StringConstraints(pattern=rf"^{prefix}_[0-9a-f]{{32}}$")


WalletId = Annotated[str, _pattern(WALLET)]
KeyId = Annotated[str, _pattern(KEY)]
AccountId = Annotated[str, _pattern(ACCOUNT)]
TransactionId = Annotated[str, _pattern(TRANSACTION)]
OperationId = Annotated[str, _pattern(OPERATION)]
