"""The embedded share store: SQLite through APSW, event-sourced, one file per party.

One writer's thread (``writer``) turns commands into events, read models and audit rows (``operations``, ``custody``,
``ledger``, ``projections``); reads have a connection of their own (``reader``) and run on the event loop.
"""

import asyncio
import hmac
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import apsw

from keyquorum_core_signer.store import (
    chain,
    commands,
    custody,
    operations,
    pair_commands,
    pairing,
    presignature_commands,
    presignatures,
    schema,
)
from keyquorum_core_signer.store.commands import Command, Expired, NotAdmitted
from keyquorum_core_signer.store.emissions import Claim
from keyquorum_core_signer.store.ledger import Ledger
from keyquorum_core_signer.store.limits import CHAIN_CHECKED_AT_OPEN
from keyquorum_core_signer.store.ownership import Ownership, audit_key, prepare_file, sync_folder
from keyquorum_core_signer.store.ports import (
    AuditRecord,
    Ban,
    Claimed,
    EventRecord,
    KeyRecord,
    OperationRecord,
    Outcome,
    PairSetupRecord,
    PresignatureRecord,
    ShareStore,
    Spending,
    StoreCorrupt,
    StoredPairSetup,
    StoredShare,
    StoreHead,
    StoreUnavailable,
)
from keyquorum_core_signer.store.projections import rebuild
from keyquorum_core_signer.store.reader import Reader
from keyquorum_core_signer.store.verify import Verification, event_problems, verify_connection
from keyquorum_core_signer.store.writer import Settled, Writer

_HANDLERS: Final[dict[type[Command[Any]], Callable[[Ledger, Any], Any]]] = {
    commands.AdmitOperation: operations.admit,
    commands.MarkEmitted: operations.mark_emitted,
    commands.ReleaseReservation: operations.release,
    commands.PruneOperations: operations.prune,
    commands.RecordDenial: operations.record_denial,
    commands.StorePreparedShare: custody.prepare,
    commands.ActivateEpoch: custody.activate,
    commands.UpdateShare: custody.update,
    commands.DeleteShares: custody.delete,
    commands.BanPeer: custody.ban,
    pair_commands.StorePairSetup: pairing.store,
    pair_commands.DestroyPairSetup: pairing.destroy_setup,
    pair_commands.BeginPairChecks: pairing.begin_checks,
    pair_commands.EndPairChecks: pairing.end_checks,
    pair_commands.AbandonInterruptedChecks: pairing.abandon_checks,
    pair_commands.LiftBan: pairing.lift_ban,
    presignature_commands.StorePresignatures: presignatures.store,
    presignature_commands.BurnPresignatures: presignatures.burn,
    presignature_commands.VoidPresignatures: presignatures.void,
}


def _handle(ledger: Ledger, command: Command[Any]) -> Any:
    return _HANDLERS[type(command)](ledger, command)


class SqliteShareStore(ShareStore):
    """Open with :meth:`open`, on the event loop that will use it."""

    def __init__(self, path: Path, ledger: Ledger, reader: Reader, ownership: Ownership, genesis: bytes) -> None:
        self._path = path
        self._ledger = ledger
        self._reader = reader
        self._ownership = ownership
        self._genesis = genesis
        self._loop = asyncio.get_running_loop()
        self._writer = Writer(ledger, _handle, self._settled)
        self._closed = False

    @classmethod
    async def open(cls, path: Path, party: str, *, vfs: str | None = None) -> "SqliteShareStore":
        """Open the store of ``party`` at ``path``, making it if there is none.

        Raises StoreOwned, StoreCorrupt (damaged, another party's, broken chain, files that others can access),
        StoreUnavailable. ``vfs`` names an SQLite VFS to write through, for fault injection.
        """
        opened = await asyncio.to_thread(_open, path, party, vfs)
        store = cls(path, *opened)
        store._writer.start()
        return store

    async def execute(self, command: Command[Outcome]) -> Outcome:
        done: asyncio.Future[Outcome] = self._loop.create_future()
        self._writer.submit(command, done)
        return await done

    def claim_emission(self, op_id: str, now_ms: int) -> Claimed | Expired | NotAdmitted:
        judged_ms = self._ledger.time_ms(now_ms)
        match self._ledger.emissions.claim(op_id, judged_ms) if self.healthy else Claim.NOT_HELD:
            case Claim.GRANTED:
                return Claimed(op_id)
            case Claim.EXPIRED:
                return Expired(op_id, judged_ms)
            case Claim.NOT_HELD:
                return NotAdmitted(op_id)

    @property
    def healthy(self) -> bool:
        return not self._closed and self._writer.failed is None

    def time_ms(self, now_ms: int) -> int:
        return self._ledger.time_ms(now_ms)

    async def get_key(self, key_id: str) -> KeyRecord | None:
        return self._read(lambda reader: reader.key(key_id))

    async def get_share(self, key_id: str, epoch: int | None = None) -> StoredShare | None:
        return self._read(lambda reader: reader.share(key_id, epoch))

    async def list_keys(
        self, *, user_id: str | None = None, wallet_id: str | None = None, after: str = "", limit: int = 100
    ) -> tuple[KeyRecord, ...]:
        return self._read(lambda reader: reader.keys(user_id=user_id, wallet_id=wallet_id, after=after, limit=limit))

    async def prepared_keys(self, limit: int = 100) -> tuple[KeyRecord, ...]:
        return self._read(lambda reader: reader.prepared(limit))

    async def get_operation(self, op_id: str) -> OperationRecord | None:
        return self._read(lambda reader: reader.operation(op_id))

    async def spending(self, key_id: str, asset: str, window_s: int, now_ms: int) -> Spending:
        after_ms = self.time_ms(now_ms) - 1000 * window_s
        return self._read(lambda reader: reader.spending(key_id, asset, after_ms))

    async def bans(self) -> tuple[Ban, ...]:
        return self._read(lambda reader: reader.bans())

    async def pair_setups(self) -> tuple[PairSetupRecord, ...]:
        return self._read(lambda reader: reader.pair_setups())

    async def get_pair_setup(self, node_id: str, kind: str) -> StoredPairSetup | None:
        return self._read(lambda reader: reader.pair_setup(node_id, kind))

    async def presignatures(self, key_id: str = "") -> tuple[PresignatureRecord, ...]:
        return self._read(lambda reader: reader.presignatures(key_id))

    async def events(self, after: int = 0, limit: int = 100) -> tuple[EventRecord, ...]:
        return self._read(lambda reader: reader.events(after, limit))

    async def audit(self, after: int = 0, limit: int = 100) -> tuple[AuditRecord, ...]:
        return self._read(lambda reader: reader.audit(after, limit))

    async def head(self) -> StoreHead:
        return self._read(lambda reader: reader.head(self._genesis))

    async def projection_lag(self) -> int:
        return self._read(lambda reader: reader.projection_lag())

    async def verify(self, remembered: StoreHead | None = None) -> Verification:
        """Check everything that is committed, beside the running store; takes time and memory with the store's size."""
        return await asyncio.to_thread(_verify, self._path, remembered)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._writer.stop()
        self._reader.close()  # first, so that the writer is the last to close and leaves no write-ahead log
        try:
            await asyncio.to_thread(self._writer.join)
        finally:
            self._ownership.release()

    def _read(self, query: Callable[[Reader], Outcome]) -> Outcome:
        if self._closed:
            raise StoreUnavailable("the store is closed")
        try:
            return query(self._reader)
        except apsw.Error as error:
            raise StoreUnavailable(f"the store cannot be read: {type(error).__name__}") from None

    def _settled(self, batch: list[Settled]) -> None:
        try:
            self._loop.call_soon_threadsafe(_resolve, batch)
        except RuntimeError:
            return  # the event loop is gone, and whoever waited with it

    def __repr__(self) -> str:
        return f"SqliteShareStore({str(self._path)!r})"


def _resolve(batch: list[Settled]) -> None:
    """On the event loop: tell the callers that still wait."""
    for settled in batch:
        if settled.ticket.done():
            continue
        if settled.error is not None:
            settled.ticket.set_exception(settled.error)
        else:
            settled.ticket.set_result(settled.outcome)


def _open(path: Path, party: str, vfs: str | None) -> tuple[Ledger, Reader, Ownership, bytes]:
    ownership = Ownership(path)
    try:
        prepare_file(path)
        writer = schema.open_writer(path, vfs)
        try:
            sync_folder(path.parent)  # the journal that made the file a WAL database must not come back
            ledger, genesis = _checked_ledger(path, party, writer)
            return ledger, Reader(schema.open_reader(path)), ownership, genesis
        except BaseException:
            writer.close()
            raise
    except apsw.Error as error:
        ownership.release()
        raise StoreCorrupt(f"{path}: {type(error).__name__}") from None
    except BaseException:
        ownership.release()
        raise


def _checked_ledger(path: Path, party: str, connection: apsw.Connection) -> tuple[Ledger, bytes]:
    """Make or check the store behind ``connection``."""
    new = schema.is_empty(connection)
    key = audit_key(path, new=new)
    pseudonyms = chain.Pseudonyms(key)
    if new:
        schema.create(connection, party, secrets.token_bytes(32), pseudonyms.of("check", party))
    schema.upgrade(connection)
    schema.check(connection)
    identity = list(connection.execute("SELECT party, store_id, audit_key_check FROM store"))
    if len(identity) != 1:
        raise StoreCorrupt(f"{path}: the store does not say whose it is")
    ((owner, store_id, key_check),) = identity
    if owner != party:
        raise StoreCorrupt(f"{path}: the store of another party, {owner!r}")
    if not hmac.compare_digest(key_check, pseudonyms.of("check", party)):
        raise StoreCorrupt(f"{path}: the audit key is not the one that the store was made with")
    for problem in event_problems(connection, party, store_id, newest=CHAIN_CHECKED_AT_OPEN):
        raise StoreCorrupt(f"{path}: {problem}")
    return Ledger(connection, party, store_id, pseudonyms), chain.genesis("events", party, store_id)


def _verify(path: Path, remembered: StoreHead | None) -> Verification:
    connection = schema.open_reader(path)
    try:
        return verify_connection(connection, remembered)
    finally:
        connection.close()


def rebuild_store(path: Path, party: str) -> None:
    """Make the read models of a store that no process has open again from its events; raises as ``open``."""
    ledger, reader, ownership, _ = _open(path, party, None)
    try:
        reader.close()
        rebuild(ledger.connection)
    finally:
        ledger.connection.close()
        ownership.release()
