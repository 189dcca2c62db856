"""Session nonces: what makes it impossible for a session id to come back.

A session id hashes one fresh nonce of every participant. A party offers its nonces ahead of time, so that they cost no
round, and accepts each in one session only; whatever a coordinator replays, an honest party's part of the id is new.
"""

from collections.abc import Callable

NONCE_BYTES = 32


class SessionNonces:
    """The nonces offered on one link and not used yet. They end with the link."""

    def __init__(self, rng: Callable[[int], bytes], stock: int) -> None:
        """``stock`` is how many unused nonces the coordinator should hold at most."""
        self._rng = rng
        self._stock = stock
        self._offered: set[bytes] = set()

    def replenish(self) -> list[bytes]:
        """New nonces to offer, once half of the stock is used; none before that."""
        if len(self._offered) * 2 > self._stock:
            return []
        fresh = [self._rng(NONCE_BYTES) for _ in range(self._stock - len(self._offered))]
        self._offered.update(fresh)
        return fresh

    def redeem(self, nonce: bytes) -> bool:
        """Whether ``nonce`` was offered here and enters its first session now."""
        if nonce not in self._offered:
            return False
        self._offered.remove(nonce)
        return True
