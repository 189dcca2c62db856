"""Transactions: what was asked for, what was built, what was signed, and where it stands on its chain."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, Final

import apsw
from pydantic import ConfigDict, TypeAdapter

from keyquorum_gateway.problems import Failure, OperationFailed
from keyquorum_gateway.state.database import Database
from keyquorum_gateway.state.paging import Listing, Page, PageRequest
from keyquorum_plugin_api.codec import UnsignedTransaction


class TransactionState(StrEnum):
    """How far a transaction is.

    building → (awaiting_initiator →) signing → signed → submitted → confirmed | failed | expired. ``signed`` is where a
    transaction with ``submit: false`` ends. A transaction that failed before it was signed, for a retriable reason,
    goes back to ``signing`` when the same request is sent again. A reorganisation leads from ``confirmed`` or ``failed``
    back to ``submitted``, as long as the transaction is ``reversible``.
    """

    BUILDING = "building"
    AWAITING_INITIATOR = "awaiting_initiator"
    SIGNING = "signing"
    SIGNED = "signed"
    SUBMITTED = "submitted"
    CONFIRMED = "confirmed"
    FAILED = "failed"
    EXPIRED = "expired"


class Purpose(StrEnum):
    """What a transaction is for."""

    TRANSFER = "transfer"
    REPLACEMENT = "replacement"  # the transfer of the transaction that it replaces, for a higher fee
    CANCELLATION = "cancellation"  # nothing, in the place of the transaction that it replaces


@dataclass(frozen=True, slots=True)
class Transfer:
    """What the client asked for; ``destination`` in its canonical spelling, ``payload`` if it was built elsewhere."""

    chain: str
    asset: str
    amount: int
    destination: str
    memo: str = ""
    submit: bool = True
    options: Mapping[str, str] = field(default_factory=dict)
    fee_account_id: str = ""
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class Transaction:
    """One transaction. ``raw`` is stored before it is broadcast, so that only these bytes ever are."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    id: str
    tenant_id: str
    account_id: str
    operation_id: str
    external_id: str | None
    state: TransactionState
    transfer: Transfer
    created_ms: int
    updated_ms: int
    unsigned: UnsignedTransaction | None = None
    fee: int = 0
    fee_asset: str = ""
    raw: bytes = b""
    txid: str = ""
    confirmations: int = 0
    block: str = ""
    detail: str = ""
    error: Failure | None = None
    purpose: Purpose = Purpose.TRANSFER
    replaces: str = ""  # the transaction in whose place this one is
    shown: tuple[UnsignedTransaction, ...] = ()  # payloads of earlier tries that parties may have signed
    reversible: bool = False  # confirmed or failed, and yet a reorganisation may undo it

    @property
    def followed(self) -> bool:
        """Whether its chain may still have news of it."""
        waits = self.state is TransactionState.SIGNED and self.transfer.submit
        return waits or self.reversible or self.state is TransactionState.SUBMITTED


class ExternalIdTaken(OperationFailed):
    """The tenant has used the external_id for another transaction, which the detail names."""

    def __init__(self, transaction_id: str) -> None:
        super().__init__("external-id-taken", f"transaction {transaction_id} has this external_id")


_ADAPTER: TypeAdapter[Transaction] = TypeAdapter(Transaction)


class Transactions:
    """Queries over stored transactions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, transaction_id: str, tenant_id: str | None = None) -> Transaction | None:
        """A transaction, of a tenant where one is named."""
        row = self._database.read_one("SELECT document, tenant_id FROM transactions WHERE id = ?", (transaction_id,))
        if row is None or tenant_id not in (None, row[1]):
            return None
        return _ADAPTER.validate_json(row[0])

    def by_external_id(self, tenant_id: str, external_id: str) -> Transaction | None:
        """The transaction for which a tenant used an external_id."""
        row = self._database.read_one(
            "SELECT document FROM transactions WHERE tenant_id = ? AND external_id = ?", (tenant_id, external_id)
        )
        return _ADAPTER.validate_json(row[0]) if row else None

    def page(self, tenant_id: str, page: PageRequest, account_id: str | None = None) -> Page[Transaction]:
        """Transactions of a tenant, newest first."""
        return _TRANSACTIONS.page(self._database, page, tenant_id=tenant_id, account_id=account_id)

    def in_flight(self) -> tuple[Transaction, ...]:
        """Every transaction whose end on its chain is not known, oldest first."""
        rows = self._database.read("SELECT document FROM transactions WHERE followed = 1 ORDER BY id")
        return tuple(t for t in (_ADAPTER.validate_json(row[0]) for row in rows) if t.followed)

    def rivals(self, transaction: Transaction) -> tuple[UnsignedTransaction, ...]:
        """Every payload that was built in one place: of what a transaction replaces, directly or not, and of all others that
        were to replace any of those, whatever became of them."""
        if not transaction.replaces:
            return ()
        root = self.get(transaction.replaces, transaction.tenant_id)
        while root is not None and root.replaces:
            root = self.get(root.replaces, transaction.tenant_id)
        family, reached = [root] if root else [], 0
        while reached < len(family):
            rows = self._database.read("SELECT document FROM transactions WHERE replaces = ?", (family[reached].id,))
            family += [_ADAPTER.validate_json(row[0]) for row in rows]
            reached += 1
        others = [member for member in family if member.id != transaction.id]
        return tuple(
            unsigned
            for member in others
            for unsigned in (*member.shown, *([member.unsigned] if member.unsigned else []))
        )

    def replacement(self, transaction_id: str) -> Transaction | None:
        """The newest transaction in the place of another that was signed or still may be."""
        rows = self._database.read(
            "SELECT document FROM transactions WHERE replaces = ? ORDER BY id DESC", (transaction_id,)
        )
        found = (_ADAPTER.validate_json(row[0]) for row in rows)
        return next((t for t in found if t.raw or t.state is not TransactionState.FAILED), None)


def save_transaction(connection: apsw.Connection, transaction: Transaction) -> None:
    """Insert or update; :class:`ExternalIdTaken` where the tenant's external_id belongs to another one."""
    if transaction.external_id is not None:
        taken = connection.execute(
            "SELECT id FROM transactions WHERE tenant_id = ? AND external_id = ? AND id <> ?",
            (transaction.tenant_id, transaction.external_id, transaction.id),
        ).fetchone()
        if taken:
            raise ExternalIdTaken(taken[0])
    connection.execute(
        "INSERT INTO transactions (id, tenant_id, account_id, operation_id, external_id, state, document, created_ms,"
        " updated_ms, replaces, followed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
        " operation_id = excluded.operation_id, state = excluded.state, document = excluded.document,"
        " updated_ms = excluded.updated_ms, followed = excluded.followed",
        (
            transaction.id,
            transaction.tenant_id,
            transaction.account_id,
            transaction.operation_id,
            transaction.external_id,
            transaction.state,
            _ADAPTER.dump_json(transaction).decode(),
            transaction.created_ms,
            transaction.updated_ms,
            transaction.replaces or None,
            transaction.followed,
        ),
    )


_TRANSACTIONS: Final = Listing("transactions", "id, document", lambda row: _ADAPTER.validate_json(row[1]))
