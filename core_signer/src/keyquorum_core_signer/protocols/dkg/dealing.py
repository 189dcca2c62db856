"""What one dealer owes the others: pure checks, used by the protocol and by whoever judges a complaint."""

from typing import Final

from keyquorum_core_signer.groups.ciphersuite import Group, InvalidEncoding, Scalar
from keyquorum_core_signer.primitives import possession, vss
from keyquorum_core_signer.primitives.sealed import CannotOpen, Place, SharedSecret, unseal
from keyquorum_core_signer.primitives.transcript import digest
from keyquorum_core_signer.protocols.dkg.messages import KeygenCommitment, KeygenOpening, KeygenShare
from keyquorum_core_signer.protocols.rounds import PartyId

PROTOCOL: Final = "dkg/v1"
OPENING: Final = "opening of the commitment"
DEGREE: Final = "degree of the committed polynomial"
POSSESSION: Final = "proof of possession"
SHARE: Final = "sealed share"
ROUND: Final = 1  # the one that proofs are made in


def commitment_to(bound: bytes, dealer: PartyId, sealing_key: bytes, opening: KeygenOpening) -> bytes:
    """Round 1's hash; 32 uniform bytes in the opening, the chain code, make it hiding."""
    return digest("keyquorum/dkg/v1/commitment", bound, dealer, sealing_key, opening)


def opening_fault(
    bound: bytes, threshold: int, dealer: PartyId, committed: KeygenCommitment, opening: KeygenOpening
) -> str | None:
    """Which check an opening fails, if any."""
    if committed.commitment != commitment_to(bound, dealer, committed.sealing_key, opening):
        return OPENING
    if len(opening.coefficients) != threshold:  # one more and the degree grows: t honest parties could not sign
        return DEGREE
    if not possession.verify(opening.proof, opening.coefficients[0], bound, dealer, ROUND, opening.coefficients):
        return POSSESSION
    return None


def open_share(
    group: Group, shared: SharedSecret, place: Place, dealt: KeygenShare, opening: KeygenOpening
) -> Scalar | None:
    """The share that a dealer sealed for ``place.recipient``; ``None`` unless it is the committed polynomial's."""
    try:
        share = group.decode_scalar(unseal(shared, place, dealt.sealed))
    except (CannotOpen, InvalidEncoding):
        return None
    return share if vss.verify_share(share, place.recipient, opening.coefficients) else None
