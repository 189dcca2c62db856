"""Nonces that can be used once."""

from typing import NoReturn

from keyquorum_core_signer.groups.ciphersuite import Scalar
from keyquorum_core_signer.protocols.errors import ProtocolMisuse
from keyquorum_core_signer.protocols.frost.messages import NonceCommitment


class NoncePair:
    """The signer's (d_i, e_i) for one message. Two signatures from one pair reveal the share, so it is taken once."""

    __slots__ = ("_pair", "commitment")

    def __init__(self, hiding: Scalar, binding: Scalar) -> None:
        if hiding.is_zero() or binding.is_zero():
            raise ProtocolMisuse("a nonce is zero")
        self._pair: tuple[Scalar, Scalar] | None = (hiding, binding)
        self.commitment = NonceCommitment(*(nonce.group.base_multiply(nonce) for nonce in (hiding, binding)))

    def take(self) -> tuple[Scalar, Scalar]:
        """The nonces, which are gone from here before anything is computed with them."""
        pair, self._pair = self._pair, None
        if pair is None:
            raise ProtocolMisuse("a nonce was used twice")
        return pair

    def __reduce__(self) -> NoReturn:
        raise TypeError("nonces are neither pickled nor copied")
