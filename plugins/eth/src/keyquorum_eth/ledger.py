"""One account, as a builder needs it: what the chain says, and what was promised since.

A nonce is *held* from the moment a transaction is built with it until it is final, given back, or forgotten. Held below the
account's count it is used up; held above, it waits: for a signature, for the pool, for the nonces before it. A nonce that
nothing holds and the node does not count is free, and the lowest free one is always the next: that is what repairs gaps.
"""

from dataclasses import dataclass, field

from keyquorum_eth.erc20 import Function, TokenCall
from keyquorum_eth.node import AccountView
from keyquorum_eth.transactions import DynamicFeeTransaction
from keyquorum_plugin_api.errors import InvalidPayload


@dataclass(frozen=True, slots=True)
class Cost:
    """What a transaction can take from its account: wei with the whole fee, and minor units of one token."""

    wei: int
    token: bytes | None = None
    amount: int = 0

    @classmethod
    def of(cls, transaction: DynamicFeeTransaction) -> "Cost":
        """Of a transaction; calls that have no name here cost what they carry."""
        wei = transaction.value + transaction.fee
        try:
            call = TokenCall.decode(transaction.data)
        except InvalidPayload:
            return cls(wei)
        return cls(wei, transaction.to, call.amount) if call.function is Function.TRANSFER else cls(wei)


@dataclass(slots=True)
class Hold:
    """A nonce that is ours. ``fingerprint`` names the payload, ``owner`` the reservation, ``replacements`` other payloads
    that may take the same nonce."""

    nonce: int
    fingerprint: str
    owner: str
    cost: Cost
    until: float  # monotonic seconds
    sent: bool = False
    replacements: set[str] = field(default_factory=set)

    def covers(self, fingerprint: str) -> bool:
        """Whether a payload may use the nonce."""
        return fingerprint == self.fingerprint or fingerprint in self.replacements


@dataclass(slots=True)
class Ledger:
    """What is known of an account. Every method is atomic: none of them waits."""

    address: str
    view: AccountView | None = None
    block: int = 0  # as of which the view is
    viewed_at: float = 0.0  # monotonic seconds
    holds: dict[int, Hold] = field(default_factory=dict)
    foreign: set[int] = field(default_factory=set)  # held by somebody else
    tokens: dict[bytes, int] = field(default_factory=dict)  # balances as of the view

    def next_nonce(self) -> int:
        """The lowest nonce that the node does not count and nobody holds."""
        nonce = self.seen.pending_count
        while nonce in self.holds or nonce in self.foreign:
            nonce += 1
        return nonce

    @property
    def seen(self) -> AccountView:
        """The view, which has been taken by now."""
        assert self.view is not None, "a ledger is refreshed before it is used"
        return self.view

    def waiting(self) -> list[Hold]:
        """What is held and not used up."""
        return [hold for nonce, hold in self.holds.items() if nonce >= self.seen.count]

    def spendable(self, token: bytes | None, *, without: int | None = None) -> int:
        """Wei, or minor units of a token, that nothing has promised; ``without`` leaves the cost of one nonce out."""
        view = self.seen
        waiting = [hold for hold in self.waiting() if hold.nonce != without]
        if token is not None:
            return self.tokens[token] - sum(hold.cost.amount for hold in waiting if hold.cost.token == token)
        counted = view.balance - sum(hold.cost.wei for hold in waiting)
        if without is not None:
            return counted  # the pool holds what is replaced
        # The pool may hold transactions that nobody here remembers; coins on their way to the account do not count.
        unseen = view.pending_balance - sum(hold.cost.wei for hold in waiting if hold.nonce >= view.pending_count)
        return min(counted, unseen)
