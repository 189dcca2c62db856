"""Whose reservation an operation's is, when several sessions run the operation at once."""


class Reservations:
    """Counts the sessions of each operation, on whatever link: the last one to leave gives the reservation back."""

    def __init__(self) -> None:
        self._sessions: dict[str, int] = {}
        self._unused: set[str] = set()

    def enter(self, op_id: str) -> None:
        """A session of the operation begins."""
        self._sessions[op_id] = self._sessions.get(op_id, 0) + 1

    def leave(self, op_id: str, *, unused: bool) -> bool:
        """A session ends; ``unused`` if it may have left a reservation that no message of its own went out on.

        Whether the reservation is to be given back now. The store still refuses where another session has used it.
        """
        self._sessions[op_id] -= 1
        if unused:
            self._unused.add(op_id)
        if self._sessions[op_id]:
            return False
        del self._sessions[op_id]
        due = op_id in self._unused
        self._unused.discard(op_id)
        return due
