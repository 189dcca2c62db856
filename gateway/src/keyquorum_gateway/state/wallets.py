"""Wallets, their certified keys and their accounts, as rows and as typed records."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import apsw

from keyquorum_gateway.state.database import Database, Row
from keyquorum_gateway.state.paging import Listing, Page, PageRequest


class WalletState(StrEnum):
    """Whether a wallet's keys exist."""

    CREATING = "creating"
    ACTIVE = "active"
    FAILED = "failed"


class Initiation(StrEnum):
    """Whose signature the parties want under every intent of a wallet."""

    GATEWAY = "gateway"
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class Wallet:
    """A wallet of one user of a tenant. ``initiator_key`` is the Ed25519 key in its keys' policies."""

    id: str
    tenant_id: str
    user_id: str
    name: str
    state: WalletState
    initiation: Initiation
    initiator_key: bytes
    chains: tuple[str, ...]
    operation_id: str
    created_ms: int


@dataclass(frozen=True, slots=True)
class WalletKey:
    """A key whose certificate was verified when it was stored: serialized ``SignedKeyCertificate``."""

    id: str
    wallet_id: str
    scheme: str
    certificate: bytes
    created_ms: int


@dataclass(frozen=True, slots=True)
class Account:
    """An address of a wallet on one chain. Position 0 is the key itself, position i the child at path ``[i]``."""

    id: str
    tenant_id: str
    wallet_id: str
    key_id: str
    chain: str
    position: int
    address: str
    public_key: bytes
    attestation: bytes
    created_ms: int

    @property
    def path(self) -> tuple[int, ...]:
        """The derivation path below the wallet's key."""
        return (self.position,) if self.position else ()


class AccountTaken(Exception):
    """Another request made the account at this position first."""


_WALLET = "id, tenant_id, user_id, name, state, initiation, initiator_key, chains, operation_id, created_ms"
_KEY = "id, wallet_id, scheme, certificate, created_ms"
_ACCOUNT = "id, tenant_id, wallet_id, key_id, chain, position, address, public_key, attestation, created_ms"


class Wallets:
    """Queries run at once; commands are given to :meth:`Database.write` or joined with others in one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def wallet(self, wallet_id: str, tenant_id: str) -> Wallet | None:
        """A wallet of a tenant."""
        row = self._database.read_one(
            f"SELECT {_WALLET} FROM wallets WHERE id = ? AND tenant_id = ?",  # noqa: S608 - constant columns
            (wallet_id, tenant_id),
        )
        return _wallet(row) if row else None

    def page(self, tenant_id: str, page: PageRequest, user_id: str | None = None) -> Page[Wallet]:
        """Wallets of a tenant, newest first."""
        return _WALLETS.page(self._database, page, tenant_id=tenant_id, user_id=user_id)

    def keys(self, wallet_id: str) -> tuple[WalletKey, ...]:
        """The certified keys of a wallet, in the order they were made."""
        rows = self._database.read(
            f"SELECT {_KEY} FROM wallet_keys WHERE wallet_id = ? ORDER BY id",  # noqa: S608 - constant columns
            (wallet_id,),
        )
        return tuple(WalletKey(*row) for row in rows)

    def key(self, key_id: str) -> WalletKey | None:
        """A certified key."""
        row = self._database.read_one(f"SELECT {_KEY} FROM wallet_keys WHERE id = ?", (key_id,))  # noqa: S608
        return WalletKey(*row) if row else None

    def account(self, account_id: str, tenant_id: str) -> Account | None:
        """An account of a tenant."""
        row = self._database.read_one(
            f"SELECT {_ACCOUNT} FROM accounts WHERE id = ? AND tenant_id = ?",  # noqa: S608 - constant columns
            (account_id, tenant_id),
        )
        return Account(*row) if row else None

    def account_at(self, wallet_id: str, chain: str, position: int) -> Account | None:
        """The account of a wallet at a position of a chain."""
        row = self._database.read_one(
            f"SELECT {_ACCOUNT} FROM accounts WHERE wallet_id = ? AND chain = ? AND position = ?",  # noqa: S608
            (wallet_id, chain, position),
        )
        return Account(*row) if row else None

    def accounts_of(self, wallet_id: str) -> tuple[Account, ...]:
        """The accounts of a wallet, oldest first."""
        rows = self._database.read(
            f"SELECT {_ACCOUNT} FROM accounts WHERE wallet_id = ? ORDER BY id",  # noqa: S608 - constant columns
            (wallet_id,),
        )
        return tuple(Account(*row) for row in rows)

    def account_page(self, tenant_id: str, page: PageRequest, wallet_id: str | None = None) -> Page[Account]:
        """Accounts of a tenant, newest first."""
        return _ACCOUNTS.page(self._database, page, tenant_id=tenant_id, wallet_id=wallet_id)

    def next_position(self, wallet_id: str, chain: str) -> int:
        """The first position of a chain that no account has."""
        row = self._database.read_one(
            "SELECT max(position) FROM accounts WHERE wallet_id = ? AND chain = ?", (wallet_id, chain)
        )
        return row[0] + 1 if row and row[0] is not None else 0


def insert_wallet(connection: apsw.Connection, wallet: Wallet) -> None:
    """Store a new wallet; storing it again changes nothing."""
    connection.execute(
        f"INSERT INTO wallets ({_WALLET}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - constant columns
        " ON CONFLICT (id) DO NOTHING",
        (
            wallet.id,
            wallet.tenant_id,
            wallet.user_id,
            wallet.name,
            wallet.state,
            wallet.initiation,
            wallet.initiator_key,
            json.dumps(wallet.chains),
            wallet.operation_id,
            wallet.created_ms,
        ),
    )


def set_wallet_state(connection: apsw.Connection, wallet_id: str, state: WalletState) -> None:
    """Move a wallet to another state."""
    connection.execute("UPDATE wallets SET state = ? WHERE id = ?", (state, wallet_id))


def insert_key(connection: apsw.Connection, key: WalletKey) -> None:
    """Store a verified key; storing it again changes nothing."""
    connection.execute(
        f"INSERT INTO wallet_keys ({_KEY}) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",  # noqa: S608
        (key.id, key.wallet_id, key.scheme, key.certificate, key.created_ms),
    )


def insert_account(connection: apsw.Connection, account: Account) -> None:
    """Store an account; :class:`AccountTaken` where the position has one."""
    connection.execute(
        f"INSERT INTO accounts ({_ACCOUNT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - constant columns
        " ON CONFLICT (wallet_id, chain, position) DO NOTHING",
        (
            account.id,
            account.tenant_id,
            account.wallet_id,
            account.key_id,
            account.chain,
            account.position,
            account.address,
            account.public_key,
            account.attestation,
            account.created_ms,
        ),
    )
    if not connection.changes():
        raise AccountTaken(account.wallet_id)


def _wallet(row: Row) -> Wallet:
    wallet_id, tenant_id, user_id, name, state, initiation, initiator_key, chains, operation_id, created_ms = row
    names: Sequence[str] = json.loads(chains)
    return Wallet(
        wallet_id,
        tenant_id,
        user_id,
        name,
        WalletState(state),
        Initiation(initiation),
        initiator_key,
        tuple(names),
        operation_id,
        created_ms,
    )


_WALLETS: Final = Listing("wallets", _WALLET, _wallet)
_ACCOUNTS: Final = Listing("accounts", _ACCOUNT, lambda row: Account(*row))
