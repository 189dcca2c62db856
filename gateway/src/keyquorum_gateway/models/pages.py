"""Query parameters and bodies of lists."""

from typing import Annotated, Generic, TypeVar

from pydantic import Field, StringConstraints

from keyquorum_gateway.bounds import PAGE_ITEMS, PAGE_ITEMS_MAX
from keyquorum_gateway.models.base import QueryModel, ResponseModel

T = TypeVar("T", bound=ResponseModel)

PageToken = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,128}$")]


class PageQuery(QueryModel):
    """Which part of a list."""

    limit: int = Field(default=PAGE_ITEMS, ge=1, le=PAGE_ITEMS_MAX, description="Most items on the page.")
    page_token: PageToken | None = Field(default=None, description="next_page_token of the page before.")


class WalletsQuery(PageQuery):
    """Which wallets."""

    user_id: Annotated[str, StringConstraints(min_length=1, max_length=128)] | None = Field(
        default=None, description="Only this user's wallets."
    )


class TransactionsQuery(PageQuery):
    """Which transactions."""

    account_id: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = Field(
        default=None, description="Only this account's transactions."
    )


class NoQuery(QueryModel):
    """No parameters."""


class PageOf(ResponseModel, Generic[T]):
    """A page, newest first."""

    items: tuple[T, ...]
    next_page_token: str | None = Field(description="Token of the next page; null on the last.")
