"""Until when a transaction may be included: up to a height, or until the nonce that it uses moves on."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from solders.hash import Hash
from solders.pubkey import Pubkey

from keyquorum_plugin_api.codec import UnsignedTransaction
from keyquorum_sol.limits import NONCE_ACCOUNT_BYTES
from keyquorum_sol.messages import is_message
from keyquorum_sol.metadata import LAST_VALID_BLOCK_HEIGHT, NONCE_SLOT
from keyquorum_sol.node import SolanaNode
from keyquorum_sol.nonce_accounts import StoredNonce, read_nonce
from keyquorum_sol.transfers import Transfer

BLOCKHASH_AGE_MAX = 150  # blocks for which a blockhash may be named


@dataclass(frozen=True, slots=True)
class End:
    """A transaction's time is over, as seen in the bank of a slot."""

    slot: int
    detail: str


class Lifetime(ABC):
    """When a transaction can no longer be included."""

    exact: bool

    @abstractmethod
    async def ended(self, node: SolanaNode) -> End | None:
        """Whether it is over. A transaction that is missing from a bank at least as far as ``slot`` will never be in one."""


@dataclass(frozen=True, slots=True)
class UntilHeight(Lifetime):
    """The last block height at which a transaction may be included; an upper bound of it where not ``exact``."""

    last_block_height: int
    exact: bool = True

    @classmethod
    def bounded(cls, height: int) -> "UntilHeight":
        """Of a transaction whose blockhash is of unknown age, seen while a node was at ``height``.

        The blockhash existed then, so it is at most as new as the cluster, which a node that calls itself healthy is at
        most one window behind; from there it lives for another.
        """
        return cls(height + 2 * BLOCKHASH_AGE_MAX, exact=False)

    async def ended(self, node: SolanaNode) -> End | None:
        view = await node.epoch_info()
        if view.block_height <= self.last_block_height:
            return None
        return End(view.slot, f"valid until height {self.last_block_height}, and the chain is at {view.block_height}")


@dataclass(frozen=True, slots=True)
class UntilNonceAdvances(Lifetime):
    """A nonce account that stored ``value`` at ``slot``.

    Asked at the finalized commitment, and never of a bank before ``slot``, whose value would be an earlier one.
    """

    account: Pubkey
    value: Hash
    slot: int
    exact: bool = True

    async def ended(self, node: SolanaNode) -> End | None:
        slot, stored = await stored_nonce(node, self.account, finalized=True)
        if slot < self.slot or (stored is not None and stored.value == self.value):
            return None
        return End(slot, f"the nonce account {self.account} has moved on")


async def stored_nonce(node: SolanaNode, account: Pubkey, *, finalized: bool = False) -> tuple[int, StoredNonce | None]:
    """What a nonce account stores, and at which slot; None where there is no such nonce account."""
    view = await node.accounts(str(account), data_bytes=NONCE_ACCOUNT_BYTES, finalized=finalized)
    (found,) = view.accounts
    exact = found is not None and found.size == NONCE_ACCOUNT_BYTES
    return view.slot, read_nonce(found.program, found.content) if found is not None and exact else None


def lifetime_of(unsigned: UnsignedTransaction) -> Lifetime | None:
    """What a built transaction says of its lifetime; None for messages, which have no end."""
    last = unsigned.expires.get(LAST_VALID_BLOCK_HEIGHT)
    if last is not None:
        return UntilHeight(last)
    slot = unsigned.expires.get(NONCE_SLOT)
    if slot is None or is_message(unsigned.payload):
        return None
    found = Transfer.decode(unsigned.payload)
    return None if found.nonce_account is None else UntilNonceAdvances(found.nonce_account, found.blockhash, slot)
