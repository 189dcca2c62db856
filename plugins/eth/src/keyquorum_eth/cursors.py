"""Where a stream of events stands: ``number:hash:index``, behind the event ``index`` of a block, or behind the whole block."""

import re
from dataclasses import dataclass

from keyquorum_plugin_api.errors import InvalidPayload

WHOLE = 2**31 - 1  # behind every event of a block
_FORM = re.compile(r"(0|[1-9][0-9]{0,17}):(0x[0-9a-f]{64}):(-1|0|[1-9][0-9]{0,9})")


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the chain."""

    number: int
    block: str
    index: int = WHOLE

    def __str__(self) -> str:
        """As clients keep it."""
        return f"{self.number}:{self.block}:{self.index}"

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """The place that a text names."""
        found = _FORM.fullmatch(text)
        if found is None:
            raise InvalidPayload("not a cursor of this chain's events")
        return cls(int(found[1]), found[2], int(found[3]))
