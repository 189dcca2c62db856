"""A protocol small enough to know every right answer: the parties add up their numbers, and hide them on the way.

Round 1: a commitment to all *and* a random mask to each. Round 2: the masked number to all. Checkpoint. Round 3: the sum to
all, which must agree.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from keyquorum_core_signer.protocols.errors import EchoMismatch, abort_if
from keyquorum_core_signer.protocols.rounds import Context, PartyId, Rng, Rounds, checkpoint, exchange
from keyquorum_core_signer.runtime.session import Session
from keyquorum_core_signer.wire.codec import plain
from keyquorum_core_signer.wire.identity import IdentityKey

MODULUS = 2**61 - 1


@dataclass(frozen=True, slots=True)
class Commitment:
    """Hash of the number."""

    digest: bytes


@dataclass(frozen=True, slots=True)
class Mask:
    """What one party adds and another takes away."""

    value: int


@dataclass(frozen=True, slots=True)
class Masked:
    """A number under all masks, and the number itself to open the commitment."""

    value: int
    opening: int


@dataclass(frozen=True, slots=True)
class Total:
    """What this party found."""

    value: int


def add_up(ctx: Context, number: int, rng: Rng) -> Rounds[int]:
    """The sum of everybody's numbers, below 2^61 - 1."""
    masks = {party: Mask(int.from_bytes(rng(7), "big")) for party in ctx.others()}
    digest = hashlib.sha256(number.to_bytes(8, "big")).digest()
    first = yield from exchange(ctx, Commitment(digest), masks)

    given = sum(mask.value for mask in masks.values())
    taken = sum(mask.value for mask in first.private.values())
    second = yield from exchange(ctx, Masked((number + given - taken) % MODULUS, number))
    abort_if(
        "commitment opens",
        (
            party
            for party, masked in second.broadcast.items()
            if hashlib.sha256((masked.opening % 2**64).to_bytes(8, "big")).digest() != first.broadcast[party].digest
        ),
    )
    total = sum(masked.value for masked in second.broadcast.values()) % MODULUS
    yield from checkpoint(total)

    third = yield from exchange(ctx, Total(total))
    if {message.value for message in third.broadcast.values()} != {total}:
        raise EchoMismatch("totals agree")
    return total


def identity_of(party: int) -> IdentityKey:
    """Party's toy identity key."""
    return IdentityKey.from_seed(hashlib.sha256(b"toy identity %d" % party).digest())


def context_of(me: int, parties: int, session_id: bytes = bytes(32), cell_id: str = "cell") -> Context:
    """A context in which everybody takes part."""
    return Context(
        cell_id=cell_id,
        protocol="toy/v1",
        suite="none",
        session_id=session_id,
        me=PartyId(me),
        parties=tuple(PartyId(party) for party in range(1, parties + 1)),
        threshold=parties,
        key_id="key_toy",
        epoch=1,
        binding=b"\x07" * 32,
    )


def identities(parties: int) -> Mapping[PartyId, bytes]:
    """Everybody's public identity key."""
    return {PartyId(party): identity_of(party).public for party in range(1, parties + 1)}


def number_of(party: int) -> int:
    """Party's number."""
    return 1000**party


def toy_session(me: int, parties: int, session_id: bytes = bytes(32), cell_id: str = "cell") -> Session[int]:
    """A session of the protocol, not started; deterministic."""
    ctx = context_of(me, parties, session_id, cell_id)
    return Session(ctx, add_up(ctx, number_of(me), toy_rng(me)), plain, identity_of(me), identities(parties))


def toy_rng(party: int) -> Rng:
    """A deterministic source of bytes."""
    state = hashlib.sha256(b"toy rng %d" % party).digest()

    def rng(count: int) -> bytes:
        nonlocal state
        state = hashlib.sha256(state).digest()
        return (state * (count // 32 + 1))[:count]

    return rng


def expected_total(parties: int) -> int:
    """The right answer."""
    return sum(number_of(party) for party in range(1, parties + 1)) % MODULUS
