"""Nonces that can be used once."""

from typing import Final, NoReturn

from keyquorum_core_signer.groups.ciphersuite import Scalar
from keyquorum_core_signer.groups.suites import FrostSuite
from keyquorum_core_signer.protocols.errors import ProtocolMisuse
from keyquorum_core_signer.protocols.frost.messages import NonceCommitment
from keyquorum_core_signer.protocols.rounds import Rng

_RANDOM_LENGTH: Final = 32


def generate_nonce(suite: FrostSuite, secret: Scalar, rng: Rng) -> Scalar:
    """RFC 9591 section 4.1: H3(random || secret), so that a weak generator alone does not give the key away."""
    return suite.h3(rng(_RANDOM_LENGTH) + secret.to_bytes())


class NoncePair:
    """The signer's (d_i, e_i) for one message. Two signatures from one pair reveal the share, so it is taken once."""

    __slots__ = ("_pair", "commitment")

    def __init__(self, suite: FrostSuite, secret: Scalar, rng: Rng) -> None:
        hiding, binding = generate_nonce(suite, secret, rng), generate_nonce(suite, secret, rng)
        self._pair: tuple[Scalar, Scalar] | None = (hiding, binding)
        self.commitment = NonceCommitment(suite.group.base_multiply(hiding), suite.group.base_multiply(binding))

    def take(self) -> tuple[Scalar, Scalar]:
        """The nonces, which are gone from here before anything is computed with them."""
        pair, self._pair = self._pair, None
        if pair is None:
            raise ProtocolMisuse("a nonce was used twice")
        return pair

    def __reduce__(self) -> NoReturn:
        raise TypeError("nonces are neither pickled nor copied")
