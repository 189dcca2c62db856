"""A process that stores, burns and voids presignatures until it is killed, and says on standard output what it was given."""

import asyncio
import itertools
import secrets
import sys
from pathlib import Path

from keyquorum_core_signer.store import presignature_commands as s
from support.share_store import KIND, NOW_MS, open_store

KEY = "key_2"
AT_ONCE = 4


def _batch(names: list[bytes]) -> s.StorePresignatures:
    entries = tuple((name, secrets.token_bytes(600)) for name in names)
    return s.StorePresignatures(KEY, 1, (0,), ("party-1", "party-2"), KIND, NOW_MS, entries)


def _say(*what: str) -> None:
    sys.stdout.write(" ".join(what) + "\n")
    sys.stdout.flush()


async def main(path: Path, op_id: str) -> None:
    """Store four, burn one, burn two more, void the rest; again and again. One line per acknowledgement."""
    store = await open_store(path)
    for turn in itertools.count():
        names = [secrets.token_bytes(32) for _ in range(AT_ONCE)]
        assert isinstance(await store.execute(_batch(names)), s.PresignaturesStored)
        _say("stored", *(name.hex() for name in names))
        for used in (names[:1], names[1:3]):
            session = secrets.token_bytes(32)
            outcome = await store.execute(s.BurnPresignatures(op_id, session, tuple(used), KEY, NOW_MS))
            assert isinstance(outcome, s.Burned)
            _say("burned", *(name.hex() for name in used))
        if turn % 2:
            await store.execute(s.VoidPresignatures("in passing", NOW_MS))
            _say("voided")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
