"""A signer with keys in memory, so that an adapter can be tested with no core signer at all."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from keyquorum_plugin_api.codec import Codec, SignerAccount, SigningRequest, UnsignedTransaction
from keyquorum_plugin_api.errors import ChainError
from keyquorum_plugin_api.signer import Signer, SigningError


@dataclass(frozen=True, slots=True)
class LocalAccount:
    """An account and the callback that signs for it. The chain's own test supplies the primitive.

    ``sign`` returns 64 bytes, or 65 with the recovery id for ECDSA.
    """

    account: SignerAccount
    sign: Callable[[SigningRequest], bytes] = field(repr=False)


class LocalSigner(Signer):
    """Signs as the core signer does: only what the codec explains, and only if it explains it as the caller does."""

    def __init__(self, codec: Codec, accounts: Iterable[LocalAccount]) -> None:
        self._codec = codec
        self._accounts = {local.account.address: local for local in accounts}
        self.signed: list[UnsignedTransaction] = []

    async def sign(self, unsigned: UnsignedTransaction) -> tuple[bytes, ...]:
        """Signatures in the order of the requests."""
        try:
            decoded = self._codec.decode(
                unsigned.payload, unsigned.chain, [local.account for local in self._accounts.values()]
            )
        except ChainError as error:
            raise SigningError("intent-invalid", error.detail) from None
        if (decoded.requests, decoded.effects) != (unsigned.requests, unsigned.effects):
            raise SigningError("intent-invalid", "the payload does not do what the unsigned transaction says")
        self.signed.append(unsigned)
        return tuple(self._accounts[request.signer].sign(request) for request in unsigned.requests)
