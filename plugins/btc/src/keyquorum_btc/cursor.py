"""Where a stream of events stands: behind one event of one block, told or taken back."""

import re
from dataclasses import dataclass

from keyquorum_plugin_api.errors import InvalidPayload

_CURSOR = re.compile(r"(\+|-)([0-9]{1,9})\.([0-9a-f]{64})\.([0-9]{1,6})\.([0-9A-Za-z]{1,90})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Position:
    """Within a block: the transaction's index, then the address. Events of a block are told in this order, and taken back
    in the reverse one."""

    height: int
    block: str  # hash
    index: int
    address: str
    removed: bool = False

    @property
    def place(self) -> tuple[int, str]:
        """Where in the block."""
        return self.index, self.address

    def __str__(self) -> str:
        """The cursor."""
        return f"{'-' if self.removed else '+'}{self.height}.{self.block}.{self.index}.{self.address}"

    @classmethod
    def parse(cls, cursor: str) -> "Position":
        """The position of a cursor that this adapter gave out; :class:`InvalidPayload` for other text."""
        match = _CURSOR.fullmatch(cursor)
        if match is None:
            raise InvalidPayload("the cursor is none of this chain")
        sign, height, block, index, address = match.groups()
        return cls(int(height), block, int(index), address, removed=sign == "-")
