"""What a protocol is made of: exchanges, rounds, and the generator that strings them together.

A protocol is one generator function. It *yields* what it sends and *is sent* what arrived; it takes its randomness as
an argument and knows no clock, socket, log or thread. Sub-protocols compose with ``yield from``.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, NewType, TypeAlias, TypeVar

PartyId = NewType("PartyId", int)
"""A party's Shamir index: its place in the roster, from 1. Never 0, never an offset into a list."""

Rng: TypeAlias = Callable[[int], bytes]
"""A source of uniformly random bytes: ``rng(n)`` gives ``n`` of them."""

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Exchange:
    """One arrow of the figure: what this party sends, and what it expects from every other party.

    ``to_all`` is one message, the same bytes for everybody; ``to_each`` holds one private message per recipient. What
    arrives must be of the types named by ``expect_all`` and ``expect_each``; by default everybody sends what we send.
    """

    to_all: Any = None
    to_each: Mapping[PartyId, Any] = field(default_factory=dict, repr=False)
    expect_all: type[Any] | None = None
    expect_each: type[Any] | None = None

    def expected(self) -> tuple[type[Any] | None, type[Any] | None]:
        """The types that every other party must send: (to all, to me)."""
        broadcast = self.expect_all or (type(self.to_all) if self.to_all is not None else None)
        private = self.expect_each or next((type(message) for message in self.to_each.values()), None)
        return broadcast, private


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Something that must be durable before the protocol goes on; the host answers ``None`` once it is.

    A party's signature on a key certificate promises that its share is stored, so key generation yields the share in a
    checkpoint before it signs. ``value`` is secret.
    """

    value: Any = field(repr=False)


@dataclass(frozen=True, slots=True)
class Inbox:
    """What arrived in one exchange, from every other party: neither mapping holds ourselves."""

    broadcast: Mapping[PartyId, Any] = field(default_factory=dict)
    private: Mapping[PartyId, Any] = field(default_factory=dict, repr=False)


Step: TypeAlias = Exchange | Checkpoint
Rounds: TypeAlias = Generator[Step, Inbox | None, R]
"""An ``R``, some rounds later. An :class:`Inbox` answers an :class:`Exchange`, ``None`` a :class:`Checkpoint`."""


@dataclass(frozen=True, slots=True)
class Context:
    """Where a session stands; all of it enters every hash, commitment, challenge and signature of the session."""

    cell_id: str
    protocol: str  # name and version, such as "frost/v1"
    suite: str  # the ciphersuite's context string
    session_id: bytes  # 32 bytes, never used before
    me: PartyId
    parties: tuple[PartyId, ...]  # ascending
    threshold: int
    key_id: str
    epoch: int
    binding: bytes  # 32 bytes: hash of the intent that ordered the session, which names the roster

    def others(self) -> tuple[PartyId, ...]:
        """Everybody but ourselves, ascending."""
        return tuple(party for party in self.parties if party != self.me)


def exchange(ctx: Context, to_all: Any = None, to_each: Mapping[PartyId, Any] | None = None) -> Rounds[Inbox]:
    """Send and receive; the inbox gains our own broadcast, so that a protocol can treat all parties alike."""
    inbox = yield Exchange(to_all=to_all, to_each=to_each or {})
    if inbox is None:
        raise TypeError("an exchange was answered without an inbox")
    broadcast = dict(inbox.broadcast)
    if to_all is not None:
        broadcast[ctx.me] = to_all
    return Inbox(broadcast={party: broadcast[party] for party in sorted(broadcast)}, private=inbox.private)


def checkpoint(value: Any) -> Rounds[None]:
    """Wait until ``value`` is durable."""
    yield Checkpoint(value)
