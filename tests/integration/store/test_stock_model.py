"""Random lives of pairs, bans and stock against a plain model of what may be burned, with restarts and rebuilds."""

import asyncio
import os
import secrets
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from keyquorum_core_signer.store import commands as c
from keyquorum_core_signer.store import pair_commands as p
from keyquorum_core_signer.store import presignature_commands as s
from keyquorum_core_signer.store.sqlite import rebuild_store
from keyquorum_core_signer.store.verify import verify_store
from support.share_store import (
    KIND,
    NOW_MS,
    PARTY,
    admission,
    make_key,
    open_store,
    pair_setup,
    presignatures,
    sealed_share,
)

T = TypeVar("T")
MEMORY = "/dev/shm"
KEYS = ("key_1", "key_2")
PEERS = ("party-2", "party-3")
NUMBERS_MAX = 250
PICKS = st.lists(st.integers(0, 7), min_size=1, max_size=3, unique=True)


@dataclass
class Model:
    """The promises, in the plainest form."""

    stock: dict[int, tuple[str, str]] = field(default_factory=dict)  # number -> key, peer
    gone: set[int] = field(default_factory=set)
    banned: set[str] = field(default_factory=set)
    generations: dict[str, int] = field(default_factory=dict)
    living: set[str] = field(default_factory=set)
    given: set[bytes] = field(default_factory=set)
    newest: int = 0

    def void(self, numbers: set[int]) -> int:
        for number in numbers:
            del self.stock[number]
        self.gone |= numbers
        return len(numbers)

    def of(self, peer: str) -> set[int]:
        return {number for number, (_, its_peer) in self.stock.items() if its_peer == peer}


class StockLife(RuleBasedStateMachine):
    """One store, one model, commands to both."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None)
        self.path = Path(self.folder.name) / "shares.db"
        self.loop = asyncio.new_event_loop()
        self.model = Model()
        self.store = self.wait(open_store(self.path))
        self.operations = {}
        for key_id in KEYS:
            self.wait(make_key(self.store, key_id, sealed=sealed_share(key_id)))
            admit = admission(key_id)
            self.wait(self.store.execute(admit))
            self.operations[key_id] = admit.op_id

    def wait(self, awaitable: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(awaitable)

    def teardown(self) -> None:
        self.wait(self.store.close())
        problems = verify_store(self.path).problems
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        self.folder.cleanup()
        assert problems == ()

    def picked(self, picks: list[int]) -> list[int]:
        """Numbers that are in stock, or, of an empty one, that were or never have been."""
        stock = sorted(self.model.stock) or list(range(1, 9))
        return sorted({stock[pick % len(stock)] for pick in picks})

    @rule(
        fresh=st.integers(1, 4),
        old=st.one_of(st.none(), st.none(), st.integers(1, 20)),
        key_id=st.sampled_from(KEYS),
        peer=st.sampled_from(PEERS),
    )
    def store_some(self, fresh: int, old: int | None, key_id: str, peer: str) -> None:
        """All of them, or none: nothing of a banned peer or a destroyed pair, no number a second time."""
        first = self.model.newest + 1
        if first + fresh > NUMBERS_MAX:
            return
        self.model.newest += fresh
        numbers = sorted({*range(first, first + fresh), *([old] if old else [])})
        batch = presignatures(*numbers, key_id=key_id, node_ids=(PARTY, peer))
        outcome = self.wait(self.store.execute(batch))
        if peer in self.model.banned:
            assert outcome == p.PeerIsBanned(peer)
        elif peer in self.model.generations and peer not in self.model.living:
            assert outcome == p.PairUnavailable(peer)
        elif any(number in self.model.stock or number in self.model.gone for number in numbers):
            assert isinstance(outcome, s.PresignatureConflict)
        else:
            assert outcome == s.PresignaturesStored(len(numbers))
            self.model.stock |= dict.fromkeys(numbers, (key_id, peer))

    @rule(picks=PICKS, key_id=st.sampled_from(KEYS))
    def burn(self, picks: list[int], key_id: str) -> None:
        """All of them, or none; each envelope comes out once in a life."""
        numbers = self.picked(picks)
        names = tuple(bytes([number]) * 32 for number in numbers)
        command = s.BurnPresignatures(self.operations[key_id], secrets.token_bytes(32), names, key_id, NOW_MS)
        outcome = self.wait(self.store.execute(command))
        if any(self.model.stock.get(number, ("", ""))[0] != key_id for number in numbers):
            assert isinstance(outcome, s.PresignatureUnavailable)
            return
        assert isinstance(outcome, s.Burned)
        assert len(outcome.sealed) == len(numbers)
        assert self.model.given.isdisjoint(outcome.sealed)
        self.model.given.update(outcome.sealed)
        self.model.void(set(numbers))

    @rule(
        key_id=st.sampled_from(("", *KEYS)),
        peer=st.sampled_from(("", *PEERS)),
        picks=st.one_of(PICKS, st.just([])),
        sure=st.integers(0, 2),
    )
    def void(self, key_id: str, peer: str, picks: list[int], sure: int) -> None:
        """What matches everything that is named."""
        numbers = self.picked(picks)
        if sure:
            return
        doomed = {
            number
            for number, (its_key, its_peer) in self.model.stock.items()
            if key_id in ("", its_key) and peer in ("", its_peer) and (not numbers or number in numbers)
        }
        named = tuple(bytes([number]) * 32 for number in numbers)
        command = s.VoidPresignatures("test", NOW_MS, key_id=key_id, node_id=peer, presignature_ids=named)
        assert self.wait(self.store.execute(command)) == s.Voided(self.model.void(doomed))

    @rule(peer=st.sampled_from(PEERS), step=st.integers(-1, 1))
    def pair(self, peer: str, step: int) -> None:
        """A set-up of a later generation takes the place of the one before, and of what was made with it."""
        generation = max(1, self.model.generations.get(peer, 0) + step)
        setup = pair_setup(peer, generation=generation, setup_id=secrets.token_bytes(32))
        outcome = self.wait(self.store.execute(setup))
        if peer in self.model.banned:
            assert outcome == p.PeerIsBanned(peer)
        elif generation <= self.model.generations.get(peer, 0):
            assert outcome == p.PairConflict(peer, KIND, self.model.generations[peer])
        else:
            assert outcome == p.PairStored(peer, KIND)
            assert self.wait(self.store.execute(setup)) == replace(outcome, repeat=True)
            self.model.generations[peer] = generation
            self.model.living.add(peer)
            self.model.void(self.model.of(peer))

    @rule(peer=st.sampled_from(PEERS))
    def check_and_crash(self, peer: str) -> None:
        """Checks begin, and the process ends before their verdict: the next one destroys the set-up."""
        begun = p.BeginPairChecks(secrets.token_bytes(32), ((peer, KIND, self.setup_id(peer)),), NOW_MS)
        outcome = self.wait(self.store.execute(begun))
        if peer not in self.model.living:
            assert outcome == p.PairUnavailable(peer)
            return
        assert outcome == p.ChecksBegun()
        self.restart(rebuild=False)
        assert self.wait(self.store.execute(p.AbandonInterruptedChecks(NOW_MS))) == p.Abandoned(((peer, KIND),))
        self.model.living.discard(peer)
        self.model.void(self.model.of(peer))

    def setup_id(self, peer: str) -> bytes:
        records = self.wait(self.store.pair_setups())
        return next((record.setup_id for record in records if record.node_id == peer), bytes(32))

    @rule(peer=st.sampled_from(PEERS), sure=st.integers(0, 2))
    def ban(self, peer: str, sure: int) -> None:
        """Seldom, because little happens afterwards."""
        if sure:
            return
        command = c.BanPeer("op_1", peer, "", "bad row", bytes(32), NOW_MS)
        assert self.wait(self.store.execute(command)) == c.Banned(peer, "", repeat=peer in self.model.banned)
        self.model.banned.add(peer)
        self.model.living.discard(peer)
        self.model.void(self.model.of(peer))

    @rule(peer=st.sampled_from(PEERS))
    def pardon(self, peer: str) -> None:
        """Only a ban that stands can be lifted."""
        expected = p.BanLifted(peer) if peer in self.model.banned else p.NotBanned(peer)
        assert self.wait(self.store.execute(p.LiftBan(peer, "replaced", NOW_MS))) == expected
        self.model.banned.discard(peer)

    @rule(rebuild=st.booleans())
    def restart(self, *, rebuild: bool) -> None:
        """Come back as another process, perhaps with read models made anew."""
        self.wait(self.store.close())
        if rebuild:
            rebuild_store(self.path, PARTY)
        self.store = self.wait(open_store(self.path))

    @invariant()
    def both_agree(self) -> None:
        """Stock, bans and pairs are what the model says; every envelope that lies there can be read or burned."""
        found = self.wait(self.store.presignatures())
        stock = {record.presignature_id[0]: (record.key_id, record.node_ids[1]) for record in found}
        assert stock == self.model.stock
        assert {ban.node_id for ban in self.wait(self.store.bans())} == self.model.banned
        pairs = self.wait(self.store.pair_setups())
        assert {record.node_id: record.generation for record in pairs} == self.model.generations
        assert {record.node_id for record in pairs if record.living} == self.model.living
        for peer in PEERS:
            assert (self.wait(self.store.get_pair_setup(peer, KIND)) is not None) == (peer in self.model.living)


StockLife.TestCase.settings = settings(
    max_examples=30,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestStockLife = StockLife.TestCase
