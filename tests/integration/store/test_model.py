"""Random lives of a store against a simple model of what it promises, with restarts and a rebuild thrown in."""

import asyncio
import hashlib
import os
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from keyquorum_core_signer.store import commands as c
from keyquorum_core_signer.store.ports import Claimed
from keyquorum_core_signer.store.sqlite import SqliteShareStore, rebuild_store
from keyquorum_core_signer.store.verify import verify_store
from support.share_store import (
    ASSET,
    NOW_MS,
    PARTY,
    activation,
    admission,
    make_key,
    open_store,
    prepared,
    sealed_share,
)

MEMORY = "/dev/shm"
KEYS = ("key_1", "key_2")
CAP = 100
WINDOW_S = 10
VALID_MS = 30_000


@dataclass
class Operation:
    """What the model knows of an admitted operation."""

    command: c.AdmitOperation
    admitted_ms: int
    releasable: bool = True
    claimable: bool = True
    state: c.OperationState = c.OperationState.RESERVED


@dataclass
class Model:
    """The promises, in the plainest form."""

    now_ms: int = NOW_MS
    watermark_ms: int = 0
    epochs: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KEYS, 1))
    deleted: set[str] = field(default_factory=set)
    intents: dict[bytes, bytes] = field(default_factory=dict)  # nonce -> intent hash, for ever
    operations: dict[str, Operation] = field(default_factory=dict)

    def reserved(self, key_id: str, besides: Operation | None = None) -> int:
        return sum(
            spend.amount
            for operation in self.operations.values()
            if operation is not besides
            and operation.command.key_id == key_id
            and operation.state is not c.OperationState.RELEASED
            and operation.admitted_ms > self.now_ms - 1000 * WINDOW_S
            for spend in operation.command.spends
        )

    def pruned(self, operation: Operation) -> bool:
        return operation.command.valid_until_ms < self.watermark_ms

    def admit(self, command: c.AdmitOperation) -> type:
        recorded = self.intents.get(command.nonce)
        if recorded not in (None, command.intent_hash):
            return c.Conflict
        if self.now_ms >= command.valid_until_ms or command.valid_until_ms < self.watermark_ms:
            return c.Expired
        known = self.operations.get(command.op_id)
        standing = None if known is None or known.state is c.OperationState.RELEASED else known
        if standing is None and command.key_id in self.deleted:
            return c.KeyUnavailable
        if self.reserved(command.key_id, besides=standing) + sum(s.amount for s in command.spends) > CAP:
            return c.LimitExceeded
        self.intents[command.nonce] = command.intent_hash
        if standing is None:
            self.operations[command.op_id] = Operation(command, self.now_ms)
        else:
            standing.claimable = True
            standing.admitted_ms = self.now_ms  # what it spends counts from its latest admission on
        return c.Admitted


class StoreLife(RuleBasedStateMachine):
    """One store, one model, commands to both."""

    def __init__(self) -> None:
        super().__init__()
        # What a disk keeps is tested elsewhere; this one is about what the store says, so memory will do.
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None)
        self.path = Path(self.folder.name) / "shares.db"
        self.loop = asyncio.new_event_loop()
        self.model = Model()
        self.store = self.open()
        for key_id in KEYS:
            self.run(make_key(self.store, key_id, sealed=sealed_share(key_id)))

    def run(self, awaitable):
        return self.loop.run_until_complete(awaitable)

    def open(self) -> SqliteShareStore:
        return self.run(open_store(self.path))

    def teardown(self) -> None:
        self.run(self.store.close())
        verification = verify_store(self.path)
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        self.folder.cleanup()
        assert verification.sound, verification.problems

    @rule(
        nonce=st.integers(0, 20),
        intent=st.integers(0, 3),
        amount=st.integers(0, 50),
        key_id=st.sampled_from(KEYS),
        valid_ms=st.sampled_from((VALID_MS, VALID_MS, 5_000, 1)),
    )
    def admit(self, nonce: int, intent: int, amount: int, key_id: str, valid_ms: int) -> None:
        """Admit something under one of a few nonces; the same terms are the same intent."""
        nonce_bytes = bytes([nonce]) * 32
        terms = f"{nonce} {intent // 3} {amount} {key_id} {self.model.now_ms + valid_ms}".encode()
        command = admission(
            key_id,
            nonce=nonce_bytes,
            intent=terms,
            amount=amount,
            window_cap=CAP,
            window_s=WINDOW_S,
            now_ms=self.model.now_ms,
            valid_until_ms=self.model.now_ms + valid_ms,
        )
        expected = self.model.admit(command)
        assert type(self.run(self.store.execute(command))) is expected

    @precondition(lambda self: self.model.operations)
    @rule(data=st.data(), later_ms=st.sampled_from((4_000, 9_000, 0, 1)))
    def admit_again(self, data: st.DataObject, later_ms: int) -> None:
        """The same operation once more, as after a broken quorum."""
        self.model.now_ms = self.store.time_ms(self.model.now_ms + later_ms)
        operation = data.draw(st.sampled_from(list(self.model.operations.values())))
        command = replace(operation.command, now_ms=self.model.now_ms)
        expected = self.model.admit(command)
        assert type(self.run(self.store.execute(command))) is expected

    @precondition(lambda self: self.model.operations)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        """Give back, if the model says that this is safe."""
        operation = data.draw(st.sampled_from(list(self.model.operations.values())))
        outcome = self.run(self.store.execute(c.ReleaseReservation(operation.command.op_id, self.model.now_ms)))
        if self.model.pruned(operation):
            assert isinstance(outcome, c.NotReleasable)
        elif operation.state is c.OperationState.RELEASED:
            assert outcome == c.Released(operation.command.op_id, repeat=True)
        elif operation.releasable:
            assert outcome == c.Released(operation.command.op_id)
            operation.state = c.OperationState.RELEASED
            operation.claimable = operation.releasable = False
        else:
            assert isinstance(outcome, c.NotReleasable)

    @precondition(lambda self: self.model.operations)
    @rule(data=st.data(), recorded=st.booleans())
    def emit(self, data: st.DataObject, *, recorded: bool) -> None:
        """Let the last message leave, and record it or crash before that."""
        operation = data.draw(st.sampled_from(list(self.model.operations.values())))
        outcome = self.store.claim_emission(operation.command.op_id, self.model.now_ms)
        if not operation.claimable:
            assert isinstance(outcome, c.NotAdmitted)
            return
        if self.model.now_ms >= operation.command.valid_until_ms:
            assert isinstance(outcome, c.Expired)
            return
        assert isinstance(outcome, Claimed)
        operation.releasable = False
        if recorded:
            marked = self.run(self.store.execute(c.MarkEmitted(operation.command.op_id, self.model.now_ms)))
            assert isinstance(marked, c.Marked)
            operation.state = c.OperationState.EMITTED

    @rule(key_id=st.sampled_from(KEYS))
    def refresh(self, key_id: str) -> None:
        """Move a key to its next epoch, and destroy the one before."""
        epoch = self.model.epochs[key_id] + 1
        operation = next((o for o in self.model.operations.values() if self._usable(o, key_id)), None)
        if operation is None:
            return
        statement = hashlib.sha256(f"{key_id} {epoch}".encode()).digest()
        share = prepared(
            operation.command.op_id,
            key_id,
            epoch=epoch,
            statement=statement,
            sealed=sealed_share(key_id, epoch=epoch),
            now_ms=self.model.now_ms,
        )
        outcome = self.run(self.store.execute(share))
        if key_id in self.model.deleted:
            assert isinstance(outcome, c.KeyUnavailable)
            return
        assert isinstance(outcome, c.Prepared)
        assert isinstance(
            self.run(self.store.execute(activation(key_id, epoch=epoch, statement=statement))), c.Activated
        )
        delete = c.DeleteShares(operation.command.op_id, key_id, epoch - 1, self.model.now_ms)
        assert self.run(self.store.execute(delete)) == c.Deleted(key_id, c.KeyState.ACTIVE)
        self.model.epochs[key_id] = epoch

    def _usable(self, operation: Operation, key_id: str) -> bool:
        released = operation.state is c.OperationState.RELEASED
        return operation.command.key_id == key_id and not released and not self.model.pruned(operation)

    @rule(key_id=st.sampled_from(KEYS), sure=st.integers(0, 5))
    def delete_key(self, key_id: str, sure: int) -> None:
        """Destroy a key for good; seldom, because little happens afterwards."""
        if sure:
            return
        command = c.DeleteShares("op_delete", key_id, self.model.epochs[key_id], self.model.now_ms)
        repeat = key_id in self.model.deleted
        assert self.run(self.store.execute(command)) == c.Deleted(key_id, c.KeyState.DELETED, repeat=repeat)
        self.model.deleted.add(key_id)

    @rule(step_ms=st.one_of(st.integers(-20_000, -1), st.integers(1, 6_000), st.just(1000 * WINDOW_S)))
    def pass_time(self, step_ms: int) -> None:
        """Let the clock go on, or jump back; only forward counts."""
        self.model.now_ms = self.store.time_ms(self.model.now_ms + step_ms)

    @rule()
    def prune(self) -> None:
        """Forget what is over."""
        self.run(self.store.execute(c.PruneOperations(self.model.now_ms, self.model.now_ms)))
        self.model.watermark_ms = self.model.now_ms
        for operation in self.model.operations.values():
            operation.releasable = operation.releasable and not self.model.pruned(operation)

    @rule(rebuild=st.booleans())
    def restart(self, *, rebuild: bool) -> None:
        """Come back as another process, perhaps with read models made anew; memory of what may be released is gone."""
        note = c.RecordDenial("", "internal", "clock", "", "", b"", self.model.now_ms)
        self.run(self.store.execute(note))  # the high-water mark is durable with any row
        self.run(self.store.close())
        if rebuild:
            rebuild_store(self.path, PARTY)
        self.store = self.open()
        for operation in self.model.operations.values():
            operation.releasable = operation.claimable = False

    @invariant()
    def limits_and_states_agree(self) -> None:
        """What is reserved, what is recorded and what is usable is what the model says."""
        for key_id in KEYS:
            found = self.run(self.store.spending(key_id, ASSET, WINDOW_S, self.model.now_ms)).reserved
            assert found == self.model.reserved(key_id) <= CAP
            share = self.run(self.store.get_share(key_id))
            assert (share.epoch if share else None) == (
                None if key_id in self.model.deleted else self.model.epochs[key_id]
            )
        for op_id, operation in self.model.operations.items():
            record = self.run(self.store.get_operation(op_id))
            assert (record.state if record else None) == (None if self.model.pruned(operation) else operation.state)


StoreLife.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestStoreLife = StoreLife.TestCase
