"""A key becomes usable here when every party's signature is on its certificate, whoever hands that over."""

from keyquorum_core_signer.intents.certificate import KeyCertificate
from keyquorum_core_signer.party.refusal import KEY_NOT_FOUND, OPERATION_CONFLICT, Refusal
from keyquorum_core_signer.store import commands
from keyquorum_core_signer.store.ports import ShareStore
from keyquorum_protos.wallet.v1 import certificate_pb2


async def activate(
    store: ShareStore,
    certificate: KeyCertificate,
    signed: certificate_pb2.SignedKeyCertificate,
    now_ms: int,
) -> None:
    """Make a prepared key active. ``certificate`` is what ``signed`` was *verified* to be; :class:`Refusal` otherwise.

    The store compares the statement with the one that goes with the stored share, so a certificate of another key
    generation, however well signed, activates nothing.
    """
    signatures = tuple(commands.NodeSignature(entry.node_id, entry.signature) for entry in signed.signatures)
    outcome = await store.execute(
        commands.ActivateEpoch(
            key_id=certificate.key_id,
            epoch=certificate.epoch,
            statement=signed.certificate,
            signatures=signatures,
            now_ms=now_ms,
        )
    )
    match outcome:
        case commands.Activated():
            return
        case commands.Conflict():
            raise Refusal(OPERATION_CONFLICT, "the stored share belongs to another certificate")
        case commands.KeyUnavailable():
            raise Refusal(KEY_NOT_FOUND, "this party holds no share for the certificate")
