"""What a signing session needs for ECDSA by DKLs23."""

from typing import Final

from keyquorum_core_signer.party import jobs
from keyquorum_core_signer.party.admission import AdmittedSign, Ordered
from keyquorum_core_signer.party.presignatures import Pool, Presignatures
from keyquorum_core_signer.party.refusal import INTENT_INVALID, Refusal

SCHEME: Final = "ecdsa_secp256k1"
SIGN_ROUNDS: Final = 3
ONLINE_ROUNDS: Final = 1
PAYLOAD_BYTES: Final = 64 * 1024  # of one signature's largest message, which is 50 KB
TURN_S: Final = 5.0  # for the sessions before; each takes tens of milliseconds
PAIRING_S: Final = 3.0  # for a pair that is being made; it takes a tenth of a second


def messages_of(admitted: AdmittedSign) -> tuple[tuple[bytes, tuple[int, ...]], ...]:
    """What the intent wants signed, and at which path."""
    return tuple((message.message, message.path) for message in admitted.command.messages)


async def online_job(
    presignatures: Presignatures,
    ordered: Ordered,
    admitted: AdmittedSign,
    terms: jobs.SessionTerms,
    presignature_ids: tuple[bytes, ...],
) -> jobs.OnlineJob:
    """Burn the presignatures that the coordinator named, one per message, each of exactly this key, path and quorum."""
    messages = messages_of(admitted)
    if len(presignature_ids) != len(messages) or len(set(presignature_ids)) != len(messages):
        raise Refusal(INTENT_INVALID, "not one presignature per message", rule="presignature", retriable=True)
    quorum = tuple(seat.node_id for seat in terms.participants)
    pools = [Pool(terms.key_id, terms.epoch, path, quorum) for _, path in messages]
    burned = await presignatures.burn(ordered.op_id, terms.session_id, pools, presignature_ids)
    uses = tuple(
        jobs.PresignatureUse(name, sealed, path, digest)
        for (name, sealed), (digest, path) in zip(burned.uses, messages, strict=True)
    )
    return jobs.OnlineJob(terms, uses, burned.key)
