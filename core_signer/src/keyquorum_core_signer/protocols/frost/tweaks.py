"""Public tweaks of a BIP-340 key: BIP-445's tweak context, and the one tweak that Taproot outputs of ours carry."""

from dataclasses import dataclass
from typing import Final

from keyquorum_core_signer.groups.ciphersuite import InvalidEncoding, Point, Scalar
from keyquorum_core_signer.groups.suites import Bip340

TAPROOT_TAG: Final = "TapTweak"


class UnusableTweak(ValueError):
    """Proves that a tweak is not 32 bytes below the group order, or gives no key. Chance for a hash: below 2^-127."""


@dataclass(frozen=True, slots=True)
class TweakedKey:
    """BIP-445's tweak context: the key Q = gacc * P + tacc * G for the P that the shares are of."""

    suite: Bip340
    Q: Point
    gacc: Scalar  # 1 or -1
    tacc: Scalar

    @classmethod
    def of(cls, suite: Bip340, P: Point) -> "TweakedKey":
        """TweakCtxInit: the key itself."""
        return cls(suite, P, suite.group.scalar(1), suite.group.zero())

    def apply(self, tweak: bytes, *, x_only: bool) -> "TweakedKey":
        """ApplyTweak: Q + t * G; where the tweak is x-only, with the Q of even y."""
        try:
            t = self.suite.group.decode_scalar(tweak)
        except InvalidEncoding:
            raise UnusableTweak("the tweak is not 32 bytes below the group order") from None
        flip = x_only and not self.suite.has_even_y(self.Q)
        Q, gacc, tacc = (-self.Q, -self.gacc, -self.tacc) if flip else (self.Q, self.gacc, self.tacc)
        Q += self.suite.group.base_multiply(t)
        if Q.is_identity():
            raise UnusableTweak("the tweaked key is the identity")
        return TweakedKey(self.suite, Q, gacc, t + tacc)

    @property
    def sign(self) -> Scalar:
        """The factor g * gacc: what the shares are multiplied with, so that their sum is of the Q with even y."""
        return self.gacc if self.suite.has_even_y(self.Q) else -self.gacc

    @property
    def offset(self) -> Scalar:
        """The summand g * tacc: what the tweaks add to that sum."""
        return self.tacc if self.suite.has_even_y(self.Q) else -self.tacc


def taproot_key(suite: Bip340, P: Point) -> TweakedKey:
    """BIP-341's output key for the internal key P and no script: x-only, t = H_TapTweak(x(P))."""
    return TweakedKey.of(suite, P).apply(suite.tagged_hash(TAPROOT_TAG, suite.x_only(P)), x_only=True)
