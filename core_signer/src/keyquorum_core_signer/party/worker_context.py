"""What every job of a worker process needs: who its party is, who is seated, how a stored share opens."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from keyquorum_core_signer.groups.suites import Suite
from keyquorum_core_signer.intents.roster import Roster
from keyquorum_core_signer.party import jobs
from keyquorum_core_signer.protocols.keys import KeyShare, decode_share
from keyquorum_core_signer.protocols.rounds import Context, PartyId
from keyquorum_core_signer.runtime.job import JobRefused
from keyquorum_core_signer.store.envelope import EnvelopeError, ShareContext, open_sealed, seal
from keyquorum_core_signer.wire.codec import DecodeError
from keyquorum_core_signer.wire.identity import IdentityKey


@dataclass(frozen=True, slots=True)
class Worker:
    """What a worker knows of its party."""

    node_id: str
    roster: Roster
    identity: IdentityKey = field(repr=False)

    def seats(self, participants: tuple[jobs.Seat, ...]) -> dict[str, PartyId]:
        """Node id to Shamir index; refuses seats that the worker's own roster does not confirm."""
        for seat in participants:
            node = self.roster.find_node(seat.node_id)
            if node is None or (node.index, node.identity_key) != (seat.index, seat.identity_key):
                raise JobRefused("internal", f"{seat.node_id} is not seated as the roster says")
        return {seat.node_id: PartyId(seat.index) for seat in participants}

    def context(self, terms: jobs.SessionTerms, suite: Suite, protocol: str, seats: Mapping[str, PartyId]) -> Context:
        """Where a session stands, as its protocol needs it."""
        return Context(
            cell_id=self.roster.cell_id,
            protocol=protocol,
            suite=suite.context_string,
            session_id=terms.session_id,
            me=seats[self.node_id],
            parties=tuple(sorted(seats.values())),
            threshold=terms.threshold,
            key_id=terms.key_id,
            epoch=terms.epoch,
            binding=terms.binding,
        )

    def open(self, sealed: jobs.Sealed) -> bytes:
        """What is in an envelope of ours, in the clear; EnvelopeError."""
        return open_sealed(sealed.key.data_key, self.share_context(sealed.key), sealed.data)

    def seal(self, key: jobs.ShareKey, secret: bytes) -> bytes:
        """An envelope for what has to leave this process."""
        return seal(key.data_key, key.wrapped_key, self.share_context(key), secret)

    def open_share(self, suite: Suite, sealed: jobs.Sealed, ctx: Context) -> KeyShare:
        """The share of the session's key, which exists in the clear from here on."""
        try:
            share = decode_share(suite, self.open(sealed))
        except (EnvelopeError, DecodeError):
            raise JobRefused("internal", "the stored share does not open") from None
        if share.party != ctx.me or share.public.threshold != ctx.threshold:
            raise JobRefused("internal", "the stored share is not this party's")
        return share

    def share_context(self, key: jobs.ShareKey) -> ShareContext:
        """Where an envelope sealed under the key belongs."""
        return ShareContext(
            party=self.node_id,
            user_id=key.user_id,
            key_id=key.key_id,
            scheme=key.scheme,
            epoch=key.epoch,
            version=key.version,
            kek_id=key.kek_id,
        )


def peers_of(participants: tuple[jobs.Seat, ...]) -> Mapping[PartyId, bytes]:
    """Identity keys by Shamir index."""
    return {PartyId(seat.index): seat.identity_key for seat in participants}
