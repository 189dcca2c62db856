"""Cursor pagination over identifiers that sort by time: stable under inserts, and a page costs the same at any depth."""

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from keyquorum_gateway.state.database import Database, Row

T = TypeVar("T")


class InvalidPageToken(ValueError):
    """The token is not one that this gateway gave out."""


@dataclass(frozen=True, slots=True)
class PageRequest:
    """At most ``limit`` items older than ``before``."""

    limit: int
    before: str = ""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Items, newest first, and the token of the next page, empty on the last."""

    items: tuple[T, ...]
    next_page_token: str


def encode_token(identifier: str) -> str:
    """An opaque token for "what is older than this"."""
    return base64.urlsafe_b64encode(identifier.encode()).decode().rstrip("=")


def decode_token(token: str) -> str:
    """The identifier in a token; :class:`InvalidPageToken` for anything else."""
    try:
        text = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        raise InvalidPageToken("not a page token of this gateway") from None
    if not text or encode_token(text) != token:
        raise InvalidPageToken("not a page token of this gateway")
    return text


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """A table that is listed: its columns, the identifier first, and how a row becomes a record."""

    table: str
    columns: str
    record: Callable[[Row], T]

    def page(self, database: Database, page: PageRequest, **equals: str | None) -> Page[T]:
        """One page of the rows whose columns equal what is given; None restricts nothing."""
        conditions = {column: value for column, value in equals.items() if value is not None}
        where = [f"{column} = ?" for column in conditions]
        values: list[Any] = list(conditions.values())
        if page.before:
            where.append("id < ?")
            values.append(page.before)
        rows = database.read(
            f"SELECT {self.columns} FROM {self.table} WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT ?",  # noqa: S608
            (*values, page.limit + 1),
        )
        more = len(rows) > page.limit
        rows = rows[: page.limit]
        return Page(tuple(self.record(row) for row in rows), encode_token(rows[-1][0]) if more else "")
