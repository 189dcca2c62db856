"""A regtest node in this process, for tests of whatever talks to Bitcoin.

    @pytest.fixture
    async def bitcoin() -> AsyncIterator[BitcoinNode]:
        async with bitcoin_node() as node:
            yield node

``bitcoin.url`` is both the Esplora base URL and the JSON-RPC address. The methods act on the node at once, without HTTP; blocks
come only when a test mines them (unless ``Settings(block_every_s=…)`` says otherwise).
"""

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
from embit import ec
from embit.script import Script, Witness
from embit.transaction import Transaction as EmbitTransaction
from embit.transaction import TransactionInput, TransactionOutput

from keyquorum_devnet.bitcoin.faucet import Faucet
from keyquorum_devnet.bitcoin.node import Node
from keyquorum_devnet.bitcoin.scripts import address_of, script_of
from keyquorum_devnet.bitcoin.server import HISTORY_BLOCKS, Settings, running
from keyquorum_devnet.bitcoin.transactions import Outpoint, parse

COIN = 10**8  # satoshis


class TaprootKey:
    """A key that spends by key path, with the address that it owns. ``number`` is its secret: 1, 2, 3, …"""

    def __init__(self, number: int) -> None:
        self.internal = ec.PrivateKey(number.to_bytes(32, "big"))
        self._tweaked = self.internal.taproot_tweak(b"")
        self.script: bytes = b"\x51\x20" + self._tweaked.get_public_key().xonly()
        self.address: str = address_of(self.script) or ""

    def sign(self, digest: bytes) -> bytes:
        """64 bytes (BIP 340)."""
        return self._tweaked.schnorr_sign(digest).serialize()


class BitcoinNode:
    """A node, its faucet, and where its server listens (nowhere for one without a server)."""

    def __init__(self, node: Node, faucet: Faucet, url: str = "") -> None:
        self.node = node
        self.faucet = faucet
        self.url = url

    @property
    def height(self) -> int:
        """Of the tip."""
        return self.node.chain.tip.height

    def mine(self, count: int = 1) -> list[str]:
        """Mine blocks with what waits; their hashes."""
        return self.node.mine(self.faucet.script, count)

    def fund(self, address: str, satoshis: int, coins: int = 1, *, confirm: bool = True) -> list[Outpoint]:
        """Give an address so many coins of that value each, in a block of their own unless told otherwise."""
        outpoints = self.faucet.fund(script_of(address), satoshis, coins)
        if confirm:
            self.mine()
        return outpoints

    def reorg(
        self, depth: int, *, drop: Collection[str] = (), keep: Collection[str] = (), include: Sequence[str] = ()
    ) -> None:
        """Replace the newest blocks by one more. Their transactions wait again, but for ``drop`` (forgotten); ``keep``
        (txids) and ``include`` (hex, may be double spends) are confirmed in the first new block."""
        kept = [tx for block in self.node.chain.active[-depth:] for tx in block.transactions[1:] if tx.txid in keep]
        included = [parse(bytes.fromhex(text)) for text in include]
        self.node.reorganise(self.faucet.script, depth, drop=drop, include=[*kept, *included])

    def pay(
        self,
        key: TaprootKey,
        sources: Sequence[Outpoint],
        outputs: Sequence[tuple[str, int]],
        *,
        sequence: int = 0xFFFFFFFD,
        locktime: int = 0,
    ) -> str:
        """The hex of a transaction, signed by ``key`` and not sent: coins of its address to ``(address, satoshis)``."""
        unsigned = EmbitTransaction(
            version=2,
            locktime=locktime,
            vin=[TransactionInput(bytes.fromhex(each.txid), each.vout, sequence=sequence) for each in sources],
            vout=[TransactionOutput(satoshis, Script(script_of(address))) for address, satoshis in outputs],
        )
        values = [self._value(each) for each in sources]
        for index in range(len(sources)):
            digest = unsigned.sighash_taproot(index, [Script(key.script)] * len(sources), values)
            unsigned.vin[index].witness = Witness([key.sign(digest)])
        return unsigned.serialize().hex()

    def send(self, transaction_hex: str) -> str:
        """The txid of a transaction that is in the mempool now; raises ``TxRefused``."""
        return self.node.broadcast(parse(bytes.fromhex(transaction_hex)))

    async def rpc(self, method: str, *params: Any) -> Any:
        """The result of a JSON-RPC call over HTTP that succeeds."""
        async with aiohttp.ClientSession() as session:
            body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
            async with session.post(self.url, json=body) as response:
                answer = await response.json()
        assert "error" not in answer, answer
        return answer["result"]

    async def until_waiting(self, count: int, within_s: float = 20.0) -> None:
        """Until so many transactions are in the mempool."""
        async with asyncio.timeout(within_s):
            while len(self.node.mempool) < count:
                await asyncio.sleep(0.01)

    def _value(self, outpoint: Outpoint) -> int:
        coin = self.node.chain.coins.get(outpoint) or self.node.mempool.coin(outpoint)
        if coin is not None:
            return coin.output.value
        confirmed = self.node.chain.transaction(outpoint.txid)
        return confirmed.transaction.outputs[outpoint.vout].value if confirmed is not None else 0


@asynccontextmanager
async def bitcoin_node(settings: Settings | None = None, port: int = 0) -> AsyncIterator[BitcoinNode]:
    """A node for as long as the context is open, on a free loopback port."""
    async with running(port=port, settings=settings) as server:
        yield BitcoinNode(server.node, server.faucet, server.url)


@contextmanager
def node_without_server(*, full_rbf: bool = True) -> Iterator[BitcoinNode]:
    """A node that no one can reach, for tests of its rules. Its block files (17 MB from the first block on) go with it."""
    with tempfile.TemporaryDirectory() as folder:
        node = Node(Path(folder), time.time, os.urandom(32), full_rbf=full_rbf)
        try:
            faucet = Faucet(node, os.urandom(32))
            node.mine_history(faucet.script, HISTORY_BLOCKS)
            yield BitcoinNode(node, faucet)
        finally:
            node.close()
