"""Address attestations: what this party's own codec derives from a key that it knows to be certified.

Where a codec's payloads name no chain, a key whose policy limits it on one chain has no address on another: what arrives
there would move under limits that somebody wrote for a test network.
"""

from keyquorum_core_signer.codecs.errors import CodecError
from keyquorum_core_signer.codecs.pool import CodecPool, PinnedCodec
from keyquorum_core_signer.intents import fields
from keyquorum_core_signer.intents.attestation import build_attestation, encode_attestation
from keyquorum_core_signer.intents.errors import IntentError
from keyquorum_core_signer.party.keyring import ActiveKey, Keyring
from keyquorum_core_signer.party.refusal import INTENT_INVALID, INTERNAL, POLICY_DENIED, Refusal
from keyquorum_core_signer.wire.identity import ADDRESS_TAG, IdentityKey
from keyquorum_protos.party.v1 import party_pb2
from keyquorum_protos.wallet.v1 import certificate_pb2


class Attestor:
    """Derives and signs addresses. An attestation states facts about public data; it needs no intent."""

    def __init__(self, node_id: str, identity: IdentityKey, keyring: Keyring, codecs: CodecPool) -> None:
        self._node_id = node_id
        self._identity = identity
        self._keyring = keyring
        self._codecs = codecs

    async def attest(self, request: party_pb2.AttestAddress, answer: party_pb2.Attested) -> None:
        """Fill ``answer`` with the statement and our signature; :class:`Refusal` if there is nothing to state."""
        try:
            path = fields.path(request.path, "path")
            chain = fields.caip2(request.chain, "chain")
        except IntentError as error:
            raise Refusal(error.code, error.detail) from None
        codec = self._codecs.named(request.codec)
        if codec is None:
            raise Refusal(INTENT_INVALID, "this party pins no codec of that name", rule="codec")
        key = await self._keyring.active(request.key_id)
        account = await self._keyring.account(key, path, chain, codec)
        await self._require_unambiguous(key, chain, codec)
        statement = encode_attestation(
            build_attestation(
                key.certificate,
                path=path,
                chain=chain,
                address=account.address,
                public_key=account.public_key,
                codec=codec.ref,
            )
        )
        answer.attestation = statement
        answer.signature.CopyFrom(
            certificate_pb2.NodeSignature(node_id=self._node_id, signature=self._identity.sign(ADDRESS_TAG, statement))
        )

    @staticmethod
    async def _require_unambiguous(key: ActiveKey, chain: str, codec: PinnedCodec) -> None:
        try:
            description = await codec.describe()
        except CodecError:
            raise Refusal(INTERNAL, "the codec failed", rule="codec") from None
        if not description.payload_names_chain and not key.certificate.policy.confined_to(chain):
            raise Refusal(POLICY_DENIED, "the key's policy has limits for another chain alone", rule="chain-ambiguous")
