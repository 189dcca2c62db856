"""Nobody ever holds the key: not one process, not for one moment, in no spelling."""

import asyncio

import pytest

from keyquorum_devnet.layout import CHAIN, COORDINATOR, GATEWAY, PARTIES, PROCESSES
from support.custody import open_keys
from support.memory import scan

ROUNDS = 12


@pytest.fixture
async def signing(customer, chain):
    """Traffic with two wallets for as long as the test runs, so that shares are in use while memory is read."""
    accounts = [await customer.funded_account(chain) for _ in range(2)]
    busy = asyncio.Event()

    async def sign(account) -> None:
        while True:
            await customer.gateway.post("/v1/signatures", {"account_id": account["id"], "message": "still there"})
            busy.set()

    tasks = [asyncio.create_task(sign(account)) for account in accounts]
    await busy.wait()
    yield
    for task in tasks:
        assert not task.done(), task.exception()
        task.cancel()


async def test_no_process_holds_the_key_or_a_share_of_another_party(stack, signing, tmp_path):
    """The scan sees each party's own share in that party's processes, and nothing else anywhere."""
    keys = await open_keys(stack.layout, tmp_path / "opened")
    assert len(keys) >= 2
    secrets = {f"{key.key_id} secret key": key.secret for key in keys}
    secrets |= {f"{key.key_id} share of {name}": share for key in keys for name, share in key.shares.items()}
    families = {name: await stack.family(name) for name in PROCESSES}
    families["supervisor"] = [(await stack.status())["supervisor"]]

    seen_at_home: set[str] = set()
    for _ in range(ROUNDS):
        for name, pids in families.items():
            # In a thread: the traffic goes on while the memory is read.
            for sighting in await asyncio.to_thread(scan, pids, secrets):
                assert sighting.secret.endswith(f"share of {name}"), f"{name} holds {sighting}"
                seen_at_home.add(name)
        if seen_at_home == set(PARTIES):
            break
    assert seen_at_home == set(PARTIES), "the scan does not see what must be there"
    assert {CHAIN, COORDINATOR, GATEWAY} <= families.keys()
