"""A process that writes to a share store until it is killed, and says on standard output what was acknowledged."""

import asyncio
import sys
from pathlib import Path

from keyquorum_core_signer.store import commands as c
from support.share_store import admission, make_key, open_store


async def main(path: Path, writers: int) -> None:
    """Admit operations from several tasks at once; one line per acknowledgement, written before the next command."""
    store = await open_store(path)
    if await store.get_key("key_1") is None:
        await make_key(store)

    async def write() -> None:
        while True:
            command = admission(amount=1, window_cap=10**9)
            outcome = await store.execute(command)
            assert isinstance(outcome, c.Admitted)
            sys.stdout.write(command.op_id + "\n")
            sys.stdout.flush()

    await asyncio.gather(*(write() for _ in range(writers)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
