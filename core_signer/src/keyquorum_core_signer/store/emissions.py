"""Which admitted operations' last messages may leave, and which reservations may be given back: never both.

========== ====================== =====================================================
claim      meaning                what follows
========== ====================== =====================================================
held       admitted here          may be claimed, may be withdrawn
claimed    a message may be out   may be claimed again; never withdrawn
withdrawn  being given back       neither; admitting it again makes a new decision
========== ====================== =====================================================

Kept in memory only, and only what this process has admitted itself: an operation that it finds recorded but does not
remember (a crash lies in between) starts as *claimed*. Forgetting an entry is always safe, it allows less.

Claims come from the event loop and withdrawals from the writer's thread, so a lock makes each of them one step.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum, auto

from keyquorum_core_signer.store.limits import EMISSIONS_MAX


class ClaimState(Enum):
    """As in the module's table."""

    HELD = auto()
    CLAIMED = auto()
    WITHDRAWN = auto()


class Claim(Enum):
    """The answer to a claim."""

    GRANTED = auto()
    EXPIRED = auto()
    NOT_HELD = auto()


@dataclass(slots=True)
class _Entry:
    state: ClaimState
    valid_until_ms: int


class Emissions:
    """The claims of one process on one store."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    def admit(self, op_id: str, valid_until_ms: int, *, reserved_now: bool) -> None:
        """The operation is admitted; ``reserved_now`` if this very command made the reservation."""
        with self._lock:
            entry = self._entries.get(op_id)
            if reserved_now:
                self._entries[op_id] = _Entry(ClaimState.HELD, valid_until_ms)
            elif entry is None:
                self._entries[op_id] = _Entry(ClaimState.CLAIMED, valid_until_ms)
            self._entries.move_to_end(op_id)
            if len(self._entries) > EMISSIONS_MAX:
                self._entries.popitem(last=False)

    def claim(self, op_id: str, now_ms: int) -> Claim:
        """Allow the last message, unless the operation's validity is over or its reservation is not held."""
        with self._lock:
            entry = self._entries.get(op_id)
            if entry is None or entry.state is ClaimState.WITHDRAWN:
                return Claim.NOT_HELD
            if now_ms >= entry.valid_until_ms:
                return Claim.EXPIRED
            entry.state = ClaimState.CLAIMED
            return Claim.GRANTED

    def withdraw(self, op_id: str) -> bool:
        """Whether the reservation may be given back; from then on the last message may not leave."""
        with self._lock:
            entry = self._entries.get(op_id)
            if entry is None or entry.state is not ClaimState.HELD:
                return False
            entry.state = ClaimState.WITHDRAWN
            return True

    def forget(self, op_id: str) -> None:
        """The write that an entry belongs to did not happen."""
        with self._lock:
            self._entries.pop(op_id, None)
