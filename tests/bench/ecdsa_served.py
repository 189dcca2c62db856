"""ECDSA over REST, cold and warm: what a caller waits for with and without presignatures in stock."""

import asyncio
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from bench import dkls23
from bench.rows import Row, latency
from bench.served import keys, timed
from keyquorum_devnet.engines import ETHEREUM
from keyquorum_devnet.layout import COORDINATOR, PARTIES
from keyquorum_devnet.ports import HOST
from support.stack import Customer, RunningStack

COLD = 200
WARM = 300
DEPTH = 256  # per quorum, of three: more than are used, so that none is made meanwhile
FILLED_S_MAX = 180.0


@contextmanager
def stock(depth: int) -> Iterator[None]:
    """The parties' configuration, as an operator overrides it."""
    wanted = {"KEYQUORUM_PRESIGNATURES__DEPTH": str(depth), "KEYQUORUM_PRESIGNATURES__CPU_SHARE": "1.0"}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name in wanted:
            del os.environ[name]


async def sign(customer: Customer, account_id: str) -> None:
    """An EIP-191 message, explained by the codec and within the policy."""
    body = {"account_id": account_id, "message": f"log in {secrets.token_hex(8)}"}
    answer = await customer.gateway.call("POST", "/v1/signatures", body)
    if answer.status not in {200, 201}:
        raise RuntimeError(f"a signature was not answered inline: {answer}")


def in_stock(stack: RunningStack) -> list[int]:
    """Presignatures in each party's store."""
    found = []
    for party in PARTIES:
        connection = apsw.Connection(str(stack.layout.node(party) / "shares.db"), flags=apsw.SQLITE_OPEN_READONLY)
        ((count,),) = connection.execute("SELECT count(*) FROM presignatures")
        connection.close()
        found.append(count)
    return found


async def filled(stack: RunningStack) -> None:
    """Wait until every party holds two quorums' full pools."""
    deadline = time.monotonic() + FILLED_S_MAX
    while min(in_stock(stack)) < 2 * DEPTH:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the pools do not fill: {in_stock(stack)}")
        await asyncio.sleep(0.5)


async def measure(state: Path, scale: float) -> list[Row]:
    """One stack without presignatures, one with."""
    return [*await _cold(state / "ecdsa-cold", scale), await _warm(state / "ecdsa-warm", scale)]


async def _cold(state: Path, scale: float) -> list[Row]:
    with stock(0):
        stack = RunningStack(state, "--no-rate-limits").start()
    try:
        address = f"{HOST}:{(await stack.status())['processes'][COORDINATOR]['port']}"
        async with stack.customer() as customer:
            account = (await customer.wallet(ETHEREUM.chain))["accounts"][0]["id"]
            taken = await timed(max(20, int(COLD * scale)), lambda: sign(customer, account))
            cold = dkls23.signing(2, 3)(0)
            made = await keys(stack, address, "secp256k1", scale)
            return [
                latency("dkls23_2of3_cold_rest", taken, rounds=cold.rounds, bytes_per_party=cold.bytes_sent),
                {**made, "name": "ecdsa_keygen_2of3_grpc"},
            ]
    finally:
        stack.stop()


async def _warm(state: Path, scale: float) -> Row:
    with stock(DEPTH):
        stack = RunningStack(state, "--no-rate-limits").start()
    try:
        async with stack.customer() as customer:
            account = (await customer.wallet(ETHEREUM.chain))["accounts"][0]["id"]
            await sign(customer, account)  # from now on its path is in demand
            await filled(stack)
            before = min(in_stock(stack))
            taken = await timed(max(20, int(WARM * scale)), lambda: sign(customer, account))
            if min(in_stock(stack)) >= before:
                raise RuntimeError("no presignature was used")
            warm = dkls23.finishing()(0)
            return latency("dkls23_2of3_warm_rest", taken, rounds=warm.rounds, bytes_per_party=warm.bytes_sent)
    finally:
        stack.stop()


def rows(state: Path, scale: float = 1.0) -> list[Row]:
    """Measure stacks whose state is kept in ``state``."""
    return asyncio.run(measure(state, scale))
