"""No two payments in one message.

Two equal transfers under one blockhash are the same message, and the network takes a message once: of two payments that a
client asked for, one would silently not happen. So every message is reserved until its blockhash is long gone, and a
transfer whose message is taken asks for a few compute units more, which makes it another message.
"""

import hashlib
import secrets
from collections import OrderedDict

from keyquorum_plugin_api.chain import Reservations
from keyquorum_plugin_api.codec import UnsignedTransaction

TTL_S = 300.0  # 150 blocks take about 60 s; a slow cluster has needed three times that
OWNERS_MAX = 20_000  # reservations that can still be given back


class MessageReservations:
    """Reservations of messages, kept by the host."""

    def __init__(self, reservations: Reservations, chain: str) -> None:
        self._reservations = reservations
        self._chain = chain
        self._owners: OrderedDict[str, str] = OrderedDict()

    async def reserve(self, unsigned: UnsignedTransaction) -> bool:
        """Whether the message is now ours."""
        item, owner = _item(unsigned), secrets.token_hex(16)
        if not await self._reservations.reserve(self._chain, _account(unsigned), item, owner, TTL_S):
            return False
        self._owners[item] = owner
        if len(self._owners) > OWNERS_MAX:
            self._owners.popitem(last=False)
        return True

    async def release(self, unsigned: UnsignedTransaction) -> None:
        """Give a message back that will never be signed; nothing if it was reserved elsewhere."""
        item = _item(unsigned)
        owner = self._owners.pop(item, None)
        if owner is not None:
            await self._reservations.release(self._chain, _account(unsigned), item, owner)


def _item(unsigned: UnsignedTransaction) -> str:
    return f"message:{hashlib.sha256(unsigned.payload).hexdigest()}"


def _account(unsigned: UnsignedTransaction) -> str:
    return unsigned.requests[0].signer
