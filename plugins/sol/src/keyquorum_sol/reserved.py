"""No two payments in one message, and no two messages with one durable nonce.

Two equal transfers under one blockhash are the same message, and the network takes a message once: of two payments that a
client asked for, one would silently not happen. So every message is reserved until its blockhash is long gone, and a
transfer whose message is taken asks for a few compute units more, which makes it another message.

Of two messages with the same value of a nonce account only one can be included, so that value is reserved instead. It never
gets stale by itself; should its reservation run out while signed bytes still wait, one of both transactions will expire.

An owner is the beginning of the payload's hash and a random number, so that a build can be given back after a restart
by whoever still has its payload, and by nobody else.
"""

import hashlib
import secrets
from collections import OrderedDict

from keyquorum_plugin_api.chain import Reservations
from keyquorum_plugin_api.codec import UnsignedTransaction

MESSAGE_TTL_S = 300.0  # 150 blocks take about 60 s; a slow cluster has needed three times that
NONCE_TTL_S = 30 * 86_400.0  # longer than anybody waits for an approval
OWNERS_MAX = 20_000  # reservations that are given back without asking who holds them
_PAYLOAD_HASH_CHARS = 32


class PayloadReservations:
    """Reservations of messages and of nonces, kept by the host."""

    def __init__(self, reservations: Reservations, chain: str) -> None:
        self._reservations = reservations
        self._chain = chain
        self._owners: OrderedDict[str, str] = OrderedDict()  # payload's hash -> owner

    async def reserve(self, unsigned: UnsignedTransaction, account: str, nonce: str | None) -> bool:
        """Whether the message, or the nonce that it uses, is now this build's. ``account`` is the source."""
        digest = _digest(unsigned)
        owner = f"{digest[:_PAYLOAD_HASH_CHARS]}.{secrets.token_hex(16)}"
        ttl_s = MESSAGE_TTL_S if nonce is None else NONCE_TTL_S
        if not await self._reservations.reserve(self._chain, account, _item(digest, nonce), owner, ttl_s):
            return False
        self._owners[digest] = owner
        if len(self._owners) > OWNERS_MAX:
            self._owners.popitem(last=False)
        return True

    async def release(self, unsigned: UnsignedTransaction, account: str, nonce: str | None) -> None:
        """Give back what a build holds; nothing if it holds nothing."""
        digest = _digest(unsigned)
        item = _item(digest, nonce)
        owner = self._owners.pop(digest, None)
        if owner is None:
            owner = (await self._reservations.held(self._chain, account)).get(item, "")
            if not owner.startswith(digest[:_PAYLOAD_HASH_CHARS] + "."):
                return
        await self._reservations.release(self._chain, account, item, owner)


def nonce_item(account: object, value: object) -> str:
    """What is reserved of a nonce account: its value, as the next one is for somebody else."""
    return f"nonce:{account}:{value}"


def _digest(unsigned: UnsignedTransaction) -> str:
    return hashlib.sha256(unsigned.payload).hexdigest()


def _item(digest: str, nonce: str | None) -> str:
    return f"message:{digest}" if nonce is None else nonce
