"""Idempotency keys: one answer per (tenant, key), for a day, across restarts.

* A claim is held in memory while its request runs; a second request with the key meets ``InFlight``.
* It becomes durable in the same transaction as the operation that it started: never an operation without its key.
* The answer is stored when the request ends and replayed byte for byte.
* Where the answer was "nothing happened, try again" (503), the claim is released but remembers its operation, so that
  the next try continues with the same intent instead of making another.
* After a crash, a claim that has an operation but no answer replays as a pointer to the operation.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import apsw
import structlog

from keyquorum_gateway.bounds import IDEMPOTENCY_KEPT_S
from keyquorum_gateway.state.database import Database

_PURGE_ROWS_MAX: Final = 500


class _State(StrEnum):
    RUNNING = "running"
    ANSWERED = "answered"
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class Answer:
    """A stored response."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class Claim:
    """The right to run the request of a key. ``resumes`` names the operation of an earlier, released try."""

    tenant_id: str
    key: str
    fingerprint: bytes
    resumes: str = ""
    operation_id: str = ""
    created_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)

    def bind(self, connection: apsw.Connection) -> None:
        """Store the claim with its operation; runs in the transaction that stores the operation."""
        _upsert(connection, self, _State.RUNNING, Answer(0, {}, b""))


@dataclass(frozen=True, slots=True)
class Replay:
    """The key was answered; ``answer`` is None where a crash left only the operation."""

    answer: Answer | None
    operation_id: str


class InFlight(Exception):
    """A request with the key is still running."""


class Mismatch(Exception):
    """The key belongs to a request with another method, path or body."""


class Idempotency:
    """All keys. One per process: what is running is known here alone."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._running: set[tuple[str, str]] = set()
        self._unsaved: dict[tuple[str, str], tuple[bytes, Answer, str]] = {}
        self._log: Any = structlog.get_logger("keyquorum_gateway.idempotency")

    def claim(self, tenant_id: str, key: str, fingerprint: bytes) -> Claim | Replay:
        """Claim a key, or get what it was answered; :class:`InFlight` or :class:`Mismatch` otherwise."""
        name = (tenant_id, key)
        if name in self._unsaved:
            known, fresh, operation_id = self._unsaved[name]
            return Replay(_matching(known, fingerprint, fresh), operation_id)
        if name in self._running:
            raise InFlight(key)
        row = self._database.read_one(
            "SELECT fingerprint, operation_id, state, status, headers, body, created_ms FROM idempotency"
            " WHERE tenant_id = ? AND key = ?",
            name,
        )
        resumes = ""
        if row is not None and row[6] > (time.time() - IDEMPOTENCY_KEPT_S) * 1000:
            known, operation_id, state, status, headers, body, _ = row
            if state == _State.RELEASED:
                resumes = _matching(known, fingerprint, operation_id)
            else:
                answer = Answer(status, json.loads(headers), body) if state == _State.ANSWERED else None
                return Replay(_matching(known, fingerprint, answer), operation_id)
        self._running.add(name)
        return Claim(tenant_id, key, fingerprint, resumes)

    def settle(self, claim: Claim, answer: Answer) -> None:
        """End a claim with an answer. It is replayed from now on, and durable a moment later."""
        name = (claim.tenant_id, claim.key)
        self._running.discard(name)
        self._unsaved[name] = (claim.fingerprint, answer, claim.operation_id)

        def saved(future: Any) -> None:
            self._unsaved.pop(name, None)
            if not future.cancelled() and future.exception() is not None:
                self._log.warning("idempotency.not_saved", reason=str(future.exception()))

        future = self._database.post(lambda connection: _upsert(connection, claim, _State.ANSWERED, answer), lazy=True)
        future.add_done_callback(saved)

    async def release(self, claim: Claim) -> None:
        """End a claim so that the key can be used again for the same request, or for any if nothing was started."""
        try:
            if claim.operation_id:
                nothing = Answer(0, {}, b"")
                await self._database.write(lambda connection: _upsert(connection, claim, _State.RELEASED, nothing))
        finally:
            self._running.discard((claim.tenant_id, claim.key))

    async def purge(self) -> None:
        """Forget what is older than a day, a bounded number at a time."""
        before = int((time.time() - IDEMPOTENCY_KEPT_S) * 1000)

        def command(connection: apsw.Connection) -> None:
            connection.execute(
                "DELETE FROM idempotency WHERE (tenant_id, key) IN"
                " (SELECT tenant_id, key FROM idempotency WHERE created_ms < ? LIMIT ?)",
                (before, _PURGE_ROWS_MAX),
            )

        await self._database.write(command)


def _matching(known: bytes, fingerprint: bytes, value: Any) -> Any:
    if known != fingerprint:
        raise Mismatch
    return value


def _upsert(connection: apsw.Connection, claim: Claim, state: _State, answer: Answer) -> None:
    connection.execute(
        "INSERT INTO idempotency (tenant_id, key, fingerprint, operation_id, state, status, headers, body, created_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tenant_id, key) DO UPDATE SET fingerprint = excluded.fingerprint,"
        " operation_id = excluded.operation_id, state = excluded.state, status = excluded.status,"
        " headers = excluded.headers, body = excluded.body, created_ms = excluded.created_ms",
        (
            claim.tenant_id,
            claim.key,
            claim.fingerprint,
            claim.operation_id,
            state,
            answer.status,
            json.dumps(dict(answer.headers)),
            answer.body,
            claim.created_ms,
        ),
    )
