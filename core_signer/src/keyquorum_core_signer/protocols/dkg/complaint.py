"""Evidence about a bad sealed share, and who lied when it is judged.

A share is sealed, so only its recipient sees that it is bad. To prove it the recipient discloses its ephemeral sealing
secret, with which anybody can repeat the opening. That is safe: the recipient aborted before its checkpoint and never
signs the key's statement, so the key never comes to be; the disclosed shares are of polynomials drawn for this session
alone; and the sealing key dies with the session.
"""

from dataclasses import dataclass, field

from keyquorum_core_signer.groups.suites import Suite
from keyquorum_core_signer.primitives.sealed import InvalidKey, Place, SealingKey
from keyquorum_core_signer.protocols.context import bind
from keyquorum_core_signer.protocols.dkg.dealing import PROTOCOL, open_share, opening_fault
from keyquorum_core_signer.protocols.dkg.messages import KeygenCommitment, KeygenOpening, KeygenShare
from keyquorum_core_signer.protocols.rounds import Context, PartyId
from keyquorum_core_signer.wire.codec import Bytes32, DecodeError, plain


@dataclass(frozen=True, slots=True)
class ShareComplaint:
    """The ``evidence`` of an abort over sealed shares."""

    accused: tuple[PartyId, ...]
    sealing_secret: Bytes32 = field(repr=False)

    def to_bytes(self) -> bytes:
        """Canonical encoding."""
        return plain.encode(self)


def judge(
    ctx: Context,
    suite: Suite,
    *,
    accuser: PartyId,
    accused: PartyId,
    evidence: bytes,
    announced: KeygenCommitment,
    committed: KeygenCommitment,
    opening: KeygenOpening,
    dealt: KeygenShare,
) -> PartyId:
    """Who lied: ``accuser`` or ``accused``.

    All messages come out of signed envelopes, each shown by its recipient: ``announced`` is the accuser's of round 1 as
    the *accused* received it, who sealed to the key in it; ``committed``, ``opening`` and ``dealt`` are what the accused
    sent the accuser. An accuser that announced one key to the accused and another to everybody else would have an honest
    dealer convicted if the envelope were of its own choice. ``ctx`` is the session's, whoever is ``me`` in it.
    """
    bound = bind(ctx, suite, PROTOCOL)
    try:
        complaint = plain.decode(ShareComplaint, evidence)
    except DecodeError:
        return accuser
    key = SealingKey(complaint.sealing_secret)
    if accused not in complaint.accused or key.public != announced.sealing_key:
        return accuser
    if opening_fault(bound, ctx.threshold, accused, committed, opening) is not None:
        return accused
    place = Place(bound, accused, accuser, committed.sealing_key, key.public)
    try:
        shared = key.shared(place.sender_key)
    except InvalidKey:
        return accused
    return accused if open_share(suite.group, shared, place, dealt, opening) is None else accuser
