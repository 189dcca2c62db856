"""The committee: all parties of the roster, who of them can work together, and what passes between them."""

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from keyquorum_core_signer.coordinator.breaker import BreakerPolicy, BreakerState, CircuitBreaker, Outcome, Permit
from keyquorum_core_signer.coordinator.limits import FORGIVE_S, RELAY_BYTES_MAX
from keyquorum_core_signer.coordinator.links import LinkTerms, PartyLink
from keyquorum_core_signer.coordinator.metrics import Metrics
from keyquorum_core_signer.coordinator.notice import Notice
from keyquorum_core_signer.coordinator.pools import Pools
from keyquorum_core_signer.coordinator.quorum import Tried, choose_quorum
from keyquorum_core_signer.coordinator.registry import KeyRegistry
from keyquorum_core_signer.intents.roster import Roster
from keyquorum_protos.party.v1 import party_pb2

TURN_EVERY: Final = 8  # operations of which one goes to the quorum that was used least lately, stocked or not

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Member:
    """A party, and how it has done lately."""

    link: PartyLink
    breaker: CircuitBreaker
    last_used: int = 0
    failed_at: float = float("-inf")


@dataclass(frozen=True, slots=True)
class Seat:
    """A party's place in a session: the link, one nonce, and leave by its breaker, to be settled whatever happens."""

    link: PartyLink
    nonce: bytes
    permit: Permit

    @property
    def node_id(self) -> str:
        """Who sits there."""
        return self.link.node_id


class Committee:
    """The links of all parties. Picks quorums, relays bytes between parties, hands certificates to those that lack them."""

    def __init__(
        self,
        roster: Roster,
        terms: LinkTerms,
        policy: BreakerPolicy,
        registry: KeyRegistry,
        metrics: Metrics,
    ) -> None:
        self._clock = terms.clock
        self._registry = registry
        self._metrics = metrics
        self._uses = itertools.count(1)
        self._routes = itertools.count(1)
        self._preferences = itertools.count(1)
        self.changed: Final = Notice()
        self.pools: Final = Pools()
        self.members: Final[Mapping[str, Member]] = {
            node.node_id: Member(
                link=PartyLink(node, terms, self),
                breaker=CircuitBreaker(policy, terms.clock, terms.rng, partial(self._on_breaker, node.node_id)),
            )
            for node in roster.nodes
        }

    def start(self) -> None:
        """Dial everybody."""
        for member in self.members.values():
            member.link.start()

    async def stop(self) -> None:
        """Hang up."""
        for member in self.members.values():
            await member.link.stop()

    def prefers_stock(self) -> bool:
        """Whether the next operation should go to a quorum with presignatures; now and then it goes to whose turn it is.

        Or quorums without a stock would never be asked, never be in demand, and so never have one.
        """
        return next(self._preferences) % TURN_EVERY != 0

    def new_route(self) -> int:
        """A number that no session or request of this process has used."""
        return next(self._routes)

    def take_quorum(
        self,
        node_ids: Iterable[str],
        size: int,
        demerits: Mapping[str, int],
        tried: Tried,
        stocked: Callable[[tuple[str, ...]], bool] | None = None,
    ) -> tuple[Seat, ...] | None:
        """Seat ``size`` of ``node_ids``, in ascending roster index, or nobody.

        Preferred are those without ``demerits`` in this operation, then those that have not failed lately, then the
        ones least recently used: each party grants only its part of a spending window, so the load has to rotate.
        ``stocked`` tells of a quorum, in ascending roster index, whether it has presignatures for what is to be signed.
        """
        now = self._clock()
        able = [self.members[node_id] for node_id in node_ids if self._able(node_id)]
        able.sort(key=lambda member: self._rank(member, demerits, now))
        ranked = [member.link.node_id for member in able]
        prefer = None if stocked is None else lambda nodes: stocked(self._in_order(nodes))
        chosen = choose_quorum(ranked, size, self._standing, tried, prefer)
        if chosen is None:
            return None
        seats = []
        for node_id in chosen:
            member = self.members[node_id]
            permit = member.breaker.admit()
            assert permit is not None  # it admitted a moment ago, and nothing was awaited since
            member.last_used = next(self._uses)
            seats.append(Seat(member.link, member.link.take_nonce(), permit))
        return tuple(sorted(seats, key=lambda seat: seat.link.index))

    def _in_order(self, node_ids: Iterable[str]) -> tuple[str, ...]:
        return tuple(sorted(node_ids, key=lambda node_id: self.members[node_id].link.index))

    def settle(self, seat: Seat, outcome: Outcome) -> None:
        """Report how a seat's party did: a failure makes it the second choice for a while, a success clears it."""
        seat.permit.settle(outcome)
        if outcome is Outcome.FAILURE:
            self.members[seat.node_id].failed_at = self._clock()
        elif outcome is Outcome.SUCCESS:
            self.members[seat.node_id].failed_at = float("-inf")

    def wait_hint_s(self, node_ids: Iterable[str]) -> float | None:
        """Seconds after which a breaker may admit a party that is linked; None where no breaker is in the way."""
        waits = [
            member.breaker.retry_in()
            for member in (self.members[node_id] for node_id in node_ids)
            if member.link.up and member.breaker.state is BreakerState.OPEN
        ]
        return min(waits, default=None)

    def describe_unable(self, node_ids: Iterable[str]) -> str:
        """Who cannot take part and why: for the operator's plan."""
        reasons = []
        for node_id in node_ids:
            member = self.members[node_id]
            if not member.link.up:
                reasons.append(f"{node_id}: no link")
            elif not member.breaker.admits():
                reasons.append(f"{node_id}: left alone after failures")
            elif not member.link.nonces:
                reasons.append(f"{node_id}: offers no nonce")
            else:
                missing = [
                    other
                    for other in node_ids
                    if other != node_id and self.members[other].link.up and not self._standing(node_id, other)
                ]
                reasons += [f"{node_id}: no channel with {other}" for other in missing]
        return "; ".join(reasons) or "every quorum that stands has failed"

    def on_up(self, link: PartyLink) -> None:
        """Tell everybody who can be reached, and hand over certificates that the party has missed."""
        self._metrics.link_changed(link.node_id, up=True)
        self._announce()
        for key_id in link.introduction.prepared_key_ids:
            self.activate(link, key_id)
        self.changed.give()

    def on_down(self, link: PartyLink, reason: str) -> None:  # noqa: ARG002 - the listener's signature
        """Tell everybody who can be reached."""
        self._metrics.link_changed(link.node_id, up=False)
        self.pools.forget(link.node_id)
        self._announce()
        self.changed.give()

    def on_changed(self, link: PartyLink) -> None:  # noqa: ARG002 - the listener's signature
        """A quorum may be possible that was not."""
        self.changed.give()

    def on_pool(self, link: PartyLink, pool: party_pb2.PresignaturePool) -> None:
        """A party tells what it has in stock."""
        self.pools.report(link.node_id, pool)

    def on_relay(self, link: PartyLink, relay: party_pb2.Relay) -> None:
        """Pass bytes on, in order. What cannot be delivered is dropped: the sender knows who can be reached.

        Where the recipient's queue is full somebody has to go, or it would grow: the recipient if it takes nothing,
        else whoever fills it.
        """
        if relay.ByteSize() > RELAY_BYTES_MAX:
            link.drop("it relays more at once than fits a message")
            return
        member = self.members.get(relay.node_id)
        if member is None or member.link is link or not member.link.up:
            return
        target = member.link
        frame = party_pb2.LinkRequest(
            relay=party_pb2.Relay(node_id=link.node_id, channel_id=relay.channel_id, data=relay.data)
        )
        if target.send(frame, origin=link.node_id):
            return
        loudest = self.members.get(target.loudest())
        if target.stalled() or loudest is None:
            target.drop("it takes no frames")
        else:
            loudest.link.drop(f"it floods {target.node_id}")

    def on_activated(self, link: PartyLink, activated: party_pb2.KeyActivated) -> None:
        """Log what became of a key that a party had missed."""
        if activated.active:
            _log.info("a party caught up on a key", node_id=link.node_id, key_id=activated.key_id)
        else:
            _log.error(
                "a party refuses a certified key",
                node_id=link.node_id,
                key_id=activated.key_id,
                detail=activated.detail,
            )

    def activate(self, link: PartyLink, key_id: str) -> None:
        """Send a party the certificate of a key it holds but has not activated, if the registry has it."""
        key = self._registry.find(key_id)
        if key is not None and not link.send(
            party_pb2.LinkRequest(activate=party_pb2.ActivateKey(certificate=key.signed))
        ):
            link.drop("it takes no frames")

    def _on_breaker(self, node_id: str, state: BreakerState) -> None:
        if state is not BreakerState.HALF_OPEN:
            _log.warning("a breaker changed", node_id=node_id, state=state.name.lower())
        self._metrics.breaker_changed(node_id, state)
        self.changed.give()

    def _announce(self) -> None:
        node_ids = [member.link.node_id for member in self.members.values() if member.link.up]
        for member in self.members.values():
            if member.link.up and not member.link.send(
                party_pb2.LinkRequest(peers=party_pb2.PeersChanged(node_ids=node_ids))
            ):
                member.link.drop("it takes no frames")

    def _able(self, node_id: str) -> bool:
        member = self.members.get(node_id)
        return member is not None and member.link.up and member.link.nonces > 0 and member.breaker.admits()

    def _rank(self, member: Member, demerits: Mapping[str, int], now: float) -> tuple[int, bool, int]:
        lately = now - member.failed_at < FORGIVE_S
        return demerits.get(member.link.node_id, 0), lately, member.last_used

    def _standing(self, one: str, other: str) -> bool:
        """Whether the pairwise channel stands, as both ends say, and neither has banned the other."""
        mine, theirs = self.members[one].link, self.members[other].link
        banned = other in mine.banned or one in theirs.banned
        return other in mine.channels and one in theirs.channels and not banned
