"""A real Ethereum node for tests: anvil, brought by scripts/anvil.py, one process that ends with its fixture."""

import itertools
import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TextIO

import aiohttp
from web3 import Web3

from support.scripts import load_script

CHAIN_ID = 31337
CHAIN = f"eip155:{CHAIN_ID}"
START_S_MAX = 30.0
ETHER = 10**18
_LISTENS = re.compile(r"Listening on 127\.0\.0\.1:([0-9]+)\n")
_BANNER_BYTES_MAX = 16_384


@dataclass(frozen=True)
class Anvil:
    """A node that listens."""

    port: int
    pid: int

    @property
    def rpc_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/"


@contextmanager
def running_anvil(*options: str) -> Iterator[Anvil]:
    """A node that makes a block for each transaction, unless ``options`` say otherwise."""
    binary = str(load_script("anvil").find_anvil())
    command = [binary, "--host", "127.0.0.1", "--port", "0", "--chain-id", str(CHAIN_ID), "--accounts", "1"]
    command += ["--balance", "1000000", "--slots-in-an-epoch", "1", "--no-cors", *options]
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield Anvil(_port(process, output), process.pid)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _port(process: subprocess.Popen[bytes], output: TextIO) -> int:
    """The port that the node says it listens on."""
    deadline = time.monotonic() + START_S_MAX
    while time.monotonic() < deadline and process.poll() is None:
        found = _LISTENS.search(os.pread(output.fileno(), _BANNER_BYTES_MAX, 0).decode(errors="replace"))
        if found is not None:
            return int(found[1])
        time.sleep(0.01)
    raise AssertionError("anvil does not listen")


@dataclass
class AnvilCaller:
    """JSON-RPC to the node, as a test asks: any error fails the test."""

    http: aiohttp.ClientSession
    url: str
    ids: Iterator[int] = field(default_factory=itertools.count)

    async def __call__(self, method: str, *params: Any) -> Any:
        call = {"jsonrpc": "2.0", "id": next(self.ids), "method": method, "params": list(params)}
        async with self.http.post(self.url, json=call) as response:
            answer = await response.json()
        assert "error" not in answer, (method, answer)
        return answer["result"]

    async def mine(self, blocks: int = 1) -> None:
        """Blocks, with whatever waits."""
        for _ in range(blocks):
            await self("evm_mine")

    async def balance(self, address: str) -> int:
        return int(await self("eth_getBalance", address, "latest"), 16)

    async def count(self, address: str, block: str = "latest") -> int:
        return int(await self("eth_getTransactionCount", address, block), 16)

    async def head(self) -> int:
        return int(await self("eth_blockNumber"), 16)

    async def pay(self, address: str, amount: int) -> str:
        """Coins from the node's own account; in a block only if the node makes blocks by itself."""
        (faucet,) = await self("eth_accounts")
        return await self("eth_sendTransaction", {"from": faucet, "to": address, "value": hex(amount)})

    async def deploy(self, artifact: str, *arguments: Any) -> tuple[str, Any]:
        """Address and web3 contract class of a compiled contract, deployed by the node's own account."""
        compiled = json.loads(load_script("anvil").find_artifact(artifact).read_text())
        bytecode = compiled["bytecode"]
        contract = Web3().eth.contract(abi=compiled["abi"], bytecode=bytecode)
        (faucet,) = await self("eth_accounts")
        data = contract.constructor(*arguments).data_in_transaction
        txid = await self("eth_sendTransaction", {"from": faucet, "data": data, "gas": hex(8_000_000)})
        await self.mine()
        receipt = await self("eth_getTransactionReceipt", txid)
        assert receipt["status"] == "0x1"
        return Web3.to_checksum_address(receipt["contractAddress"]), contract
