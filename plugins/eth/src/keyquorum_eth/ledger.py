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
class Promised:
    """The sum of what waiting transactions can take."""

    count: int = 0
    wei: int = 0
    unseen_wei: int = 0  # of those that the node's pool does not count
    tokens: dict[bytes, int] = field(default_factory=dict)


@dataclass(slots=True)
class Ledger:
    """What is known of an account. Every method is atomic: none of them waits."""

    address: str
    view: AccountView | None = None
    block: int = 0  # as of which the view is
    viewed_at: float = 0.0  # monotonic seconds
    holds: dict[int, Hold] = field(default_factory=dict)  # changed by ``add`` and ``drop`` alone
    foreign: set[int] = field(default_factory=set)  # held by somebody else
    tokens: dict[bytes, int] = field(default_factory=dict)  # balances as of the view
    promised: Promised = field(default_factory=Promised)
    _free: int = 0  # no nonce below is free

    @property
    def seen(self) -> AccountView:
        """The view, which has been taken by now."""
        assert self.view is not None, "a ledger is refreshed before it is used"
        return self.view

    def next_nonce(self) -> int:
        """The lowest nonce that the node does not count and nobody holds."""
        nonce = max(self._free, self.seen.pending_count)
        while nonce in self.holds or nonce in self.foreign:
            nonce += 1
        self._free = nonce
        return nonce

    def add(self, hold: Hold) -> None:
        """Hold a nonce that nothing held."""
        self.holds[hold.nonce] = hold
        self._count(hold, 1)

    def drop(self, hold: Hold) -> None:
        """Give a nonce back; nothing where the hold is gone already."""
        if self.holds.get(hold.nonce) is hold:
            del self.holds[hold.nonce]
            self._free = min(self._free, hold.nonce)
            self._count(hold, -1)

    def give_up(self, nonce: int) -> None:
        """Somebody else holds a nonce no longer."""
        self.foreign.discard(nonce)
        self._free = min(self._free, nonce)

    def raise_cost(self, hold: Hold, cost: Cost) -> None:
        """A replacement may cost more."""
        old = hold.cost
        self._count(hold, -1)
        hold.cost = Cost(max(old.wei, cost.wei), old.token or cost.token, max(old.amount, cost.amount))
        self._count(hold, 1)

    def look(self, view: AccountView, block: int, viewed_at: float, foreign: set[int]) -> None:
        """Another view of the account, and what others hold."""
        self.view, self.block, self.viewed_at = view, block, viewed_at
        self.foreign = foreign - self.holds.keys()
        self.tokens.clear()
        self._free = 0
        self.promised = Promised()
        for hold in self.holds.values():
            self._count(hold, 1)

    def spendable(self, token: bytes | None, *, without: int | None = None) -> int:
        """Wei, or minor units of a token, that nothing has promised; ``without`` leaves the cost of one nonce out."""
        view, promised = self.seen, self.promised
        if token is not None:
            return self.tokens[token] - promised.tokens.get(token, 0)
        if without is not None:  # the pool holds what is replaced, so its view of the balance says nothing
            hold = self.holds.get(without)
            return view.balance - promised.wei + (hold.cost.wei if hold is not None else 0)
        # The pool may hold transactions that nobody here remembers; coins on their way to the account do not count.
        return min(view.balance - promised.wei, view.pending_balance - promised.unseen_wei)

    def _count(self, hold: Hold, sign: int) -> None:
        if self.view is None or hold.nonce < self.view.count:
            return
        self.promised.count += sign
        self.promised.wei += sign * hold.cost.wei
        if hold.nonce >= self.view.pending_count:
            self.promised.unseen_wei += sign * hold.cost.wei
        if hold.cost.token is not None:
            tokens = self.promised.tokens
            tokens[hold.cost.token] = tokens.get(hold.cost.token, 0) + sign * hold.cost.amount
