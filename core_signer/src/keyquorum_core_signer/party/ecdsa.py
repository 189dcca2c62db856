"""What a signing session needs for ECDSA by DKLs23."""

from typing import Final

from keyquorum_core_signer.party import jobs
from keyquorum_core_signer.party.admission import AdmittedSign
from keyquorum_core_signer.party.refusal import Refusal

SCHEME: Final = "ecdsa_secp256k1"
SIGN_ROUNDS: Final = 3
ONLINE_ROUNDS: Final = 1
PAYLOAD_BYTES: Final = 64 * 1024  # of one signature's largest message, which is 50 KB
TURN_S: Final = 5.0  # for the sessions before; each takes tens of milliseconds
PAIRING_S: Final = 3.0  # for a pair that is being made; it takes a tenth of a second


def messages_of(admitted: AdmittedSign) -> tuple[tuple[bytes, tuple[int, ...]], ...]:
    """What the intent wants signed, and at which path."""
    return tuple((message.message, message.path) for message in admitted.command.messages)


def online_job(admitted: AdmittedSign, terms: jobs.SessionTerms) -> jobs.OnlineJob:
    """Sign with what was burned when the intent was admitted; :class:`Refusal` if that was not to be had."""
    burned = admitted.burned
    if isinstance(burned, Refusal):
        raise burned
    assert burned is not None
    uses = tuple(
        jobs.PresignatureUse(name, sealed, path, digest)
        for (name, sealed), (digest, path) in zip(burned.uses, messages_of(admitted), strict=True)
    )
    return jobs.OnlineJob(terms, uses, burned.key)
