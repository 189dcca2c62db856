"""What can go wrong on a chain, typed, so that the gateway can tell a client the right thing.

Each class carries the ``code`` that appears in problem+json and whether a retry of the same request can help. After every
error but :class:`OutcomeUnknown`, nothing of what failed can happen any more: building anew is safe.
"""

from typing import ClassVar


class ChainError(Exception):
    """Base of every error that an adapter or codec raises on purpose. ``detail`` is shown to clients."""

    code: ClassVar[str] = "chain-error"
    retriable: ClassVar[bool] = False

    def __init__(self, detail: str) -> None:
        self.detail = detail
        super().__init__(detail)


class InvalidAddress(ChainError):
    """The text is not an address of this chain and network."""

    code = "invalid-address"


class InvalidAmount(ChainError):
    """The amount is zero, negative, over the asset's range, or below what the chain accepts (dust, rent)."""

    code = "invalid-amount"


class UnsupportedAsset(ChainError):
    """The asset does not exist on this chain or the adapter does not move it."""

    code = "unsupported-asset"


class InsufficientFunds(ChainError):
    """The account cannot pay amount and fee."""

    code = "insufficient-funds"


class NonceConflict(ChainError):
    """Another transaction of the account took the nonce, coin or durable nonce."""

    code = "nonce-conflict"
    retriable = True


class FeeTooLow(ChainError):
    """The network wants more than the transaction offers."""

    code = "fee-too-low"


class FeeTooHigh(ChainError):
    """The estimated fee is above the configured ceiling."""

    code = "fee-too-high"


class Expired(ChainError):
    """The transaction can no longer be included (stale blockhash, past deadline)."""

    code = "transaction-expired"


class TransactionRejected(ChainError):
    """The node simulated or executed the transaction and refused it."""

    code = "transaction-rejected"


class InvalidPayload(ChainError):
    """Bytes that do not decode, or that do something the codec cannot name."""

    code = "invalid-payload"


class SignatureInvalid(ChainError):
    """A signature does not verify under the account's key."""

    code = "signature-invalid"


class Unsupported(ChainError):
    """The adapter does not offer this operation."""

    code = "unsupported-operation"


class ChainUnavailable(ChainError):
    """The chain's nodes cannot be reached or do not answer sensibly. Nothing was broadcast."""

    code = "chain-unavailable"
    retriable = True


class OutcomeUnknown(ChainError):
    """The transaction may or may not have reached the network: follow its id, do not build another."""

    code = "outcome-unknown"


class InvalidConfiguration(ChainError):
    """The chain's table of the host's configuration is wrong; raised while an adapter is made. Shows no value."""

    code = "invalid-configuration"
