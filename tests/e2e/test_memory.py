"""Nobody ever holds the key: not one process, not for one moment, in no spelling."""

import asyncio
import os

import psutil
import pytest

from keyquorum_devnet.layout import PARTIES, PROCESSES
from support.custody import open_keys
from support.memory import scan

LOOKS_MAX = 40  # a share is in the clear for the milliseconds of a session; what a session leaves behind stays longer


@pytest.fixture
async def signing(customer, chain):
    """Two wallets that sign for as long as the test runs, so that shares are in use while memory is read; their ids."""
    accounts = [await customer.funded_account(chain) for _ in range(2)]
    busy = asyncio.Event()

    async def sign(account) -> None:
        while True:
            await customer.gateway.post("/v1/signatures", {"account_id": account["id"], "message": "still there"})
            busy.set()

    tasks = [asyncio.create_task(sign(account)) for account in accounts]
    await asyncio.wait({*tasks, asyncio.create_task(busy.wait())}, return_when=asyncio.FIRST_COMPLETED)
    yield {account["wallet_id"] for account in accounts}
    for task in tasks:
        assert not task.done(), task.exception()
        task.cancel()


def can_be_read(pid: int) -> bool:
    """Whether this user may look. Codec hosts give that right up for good, and are the only ones here that do."""
    try:
        os.close(os.open(f"/proc/{pid}/mem", os.O_RDONLY))
    except PermissionError:
        assert any("codec_host" in word for word in psutil.Process(pid).cmdline()), f"process {pid} cannot be searched"
        return False
    return True


async def test_no_process_holds_the_key_or_a_share_of_another_party(stack, signing, tmp_path):
    """The scan sees each party's own share in that party's processes, and nothing else anywhere."""
    keys = await open_keys(stack.layout, signing, tmp_path / "opened")
    assert len(keys) == 2
    shares = {name: {f"{key.key_id} of {name}": key.shares[name] for key in keys} for name in PARTIES}
    secrets = {f"{key.key_id} itself": key.secret for key in keys} | {
        n: s for each in shares.values() for n, s in each.items()
    }
    families = {name: [pid for pid in await stack.family(name) if can_be_read(pid)] for name in PROCESSES}
    families["supervisor"] = [(await stack.status())["supervisor"]]

    seen_at_home: set[str] = set()
    for name, pids in families.items():  # in threads, so that the wallets go on signing
        for sighting in await asyncio.to_thread(scan, pids, secrets):
            assert sighting.secret in shares.get(name, {}), f"{name} holds {sighting}"
            seen_at_home.add(name)
    for name in PARTIES:
        looks = 0
        while name not in seen_at_home:
            assert looks < LOOKS_MAX, f"the scan does not see the shares that {name} signs with"
            looks += 1
            if await asyncio.to_thread(scan, families[name], shares[name]):
                seen_at_home.add(name)
