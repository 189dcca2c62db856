"""Ethereum: anvil, a whole node in one process, whose blocks come every second."""

import asyncio
import secrets
import time
from collections.abc import Mapping
from typing import Any, Final

from keyquorum_devnet.engines.engine import FUNDED_S_MAX, ChainClient, ChainSays, Engine, Judged
from keyquorum_devnet.ports import HOST
from keyquorum_devnet.toml import Value

EVM_CHAIN: Final = 31337
CHAIN_ID: Final = f"eip155:{EVM_CHAIN}"
WEI_PER_ETHER: Final = 10**18
FAUCET: Final = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"  # the first account of anvil's published mnemonic
FAUCET_ETHER: Final = 1_000_000_000
HISTORY_BLOCKS: Final = 512  # kept in memory; without a bound anvil writes older states to the disk
_POLL_S: Final = 0.1


class EthereumClient(ChainClient):
    """Ethereum's JSON-RPC, as far as it is needed."""

    async def is_up(self) -> bool:
        """Whether the node serves this chain."""
        try:
            return bool(await self.call("eth_chainId") == hex(EVM_CHAIN))
        except ChainSays:
            return False

    async def fund(self, address: str, amount: int) -> None:
        """Wei from the faucet, in a block."""
        transfer = {"from": FAUCET, "to": address, "value": hex(amount)}
        txid = await self.call("eth_sendTransaction", transfer)
        deadline = time.monotonic() + FUNDED_S_MAX
        while (receipt := await self.call("eth_getTransactionReceipt", txid)) is None:
            if time.monotonic() > deadline:
                raise ChainSays(f"{txid} is in no block after {FUNDED_S_MAX:.0f} s")
            await asyncio.sleep(_POLL_S)
        if receipt["status"] != "0x1":
            raise ChainSays(f"the faucet's transfer {txid} failed")

    async def balance(self, address: str) -> int:
        """Wei in the newest block."""
        return int(await self.call("eth_getBalance", address, "latest"), 16)

    async def judge(self, txid: str, source: str) -> Judged:
        """The receipt: anvil's virtual machine has recovered the sender from the signature."""
        receipt: Any = await self.call("eth_getTransactionReceipt", txid)
        if receipt is None or receipt["transactionHash"] != txid:
            raise ChainSays(f"the chain has no transaction {txid} in a block")
        if receipt["status"] != "0x1" or receipt["from"].lower() != source.lower():
            raise ChainSays(f"{txid} did not succeed, or somebody else sent it")
        fee = int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16)
        return Judged(txid, f"block {int(receipt['blockNumber'], 16)}", fee, "anvil")

    async def mine(self, blocks: int) -> None:
        """Blocks at once."""
        await self.call("anvil_mine", hex(blocks))

    async def reorganise(self, depth: int) -> None:
        """As many other blocks, without the transactions."""
        await self.call("anvil_reorg", depth, [])

    @staticmethod
    def stranger() -> str:
        """Twenty random bytes: nobody knows a key for them."""
        return f"0x{secrets.token_hex(20)}"


def _command(port: int, tool: str, block_s: float) -> tuple[str, ...]:
    options = {
        "--host": HOST,
        "--port": port,
        "--chain-id": EVM_CHAIN,
        "--block-time": block_s,
        "--slots-in-an-epoch": 1,  # so that "finalized" follows the head
        "--accounts": 1,
        "--balance": FAUCET_ETHER,
        "--prune-history": HISTORY_BLOCKS,
    }
    return (tool, "--quiet", "--no-cors", *(str(word) for option in options.items() for word in option))


def _settings(port: int) -> Mapping[str, Value]:
    return {
        "rpc_url": f"http://{HOST}:{port}/",
        "ws_url": f"ws://{HOST}:{port}/",
        "name": "Ethereum on this machine",
        "aliases": ["ethereum:local"],
        "confirmations": 1,
        "final_confirmations": 3,
        "poll_interval_s": 0.5,
    }


def _fund_line(url: str) -> str:
    transfer = f'{{\\"from\\": \\"{FAUCET}\\", \\"to\\": \\"$ADDRESS\\", \\"value\\": \\"{hex(2 * WEI_PER_ETHER)}\\"}}'
    return (
        "curl -sS -H 'Content-Type: application/json' -d "
        f'"{{\\"jsonrpc\\": \\"2.0\\", \\"id\\": 1, \\"method\\": \\"eth_sendTransaction\\", \\"params\\": [{transfer}]}}" '
        f"{url}; echo; sleep 2"
    )


ETHEREUM: Final = Engine(
    name="ethereum",
    chain=CHAIN_ID,
    asset=f"{CHAIN_ID}/slip44:60",
    scheme="ecdsa_secp256k1",
    unit="wei",
    coin=WEI_PER_ETHER,
    plugin="keyquorum-eth",
    codec="ethereum",
    client=EthereumClient,
    block_s=1.0,
    command=_command,
    settings=_settings,
    fund_line=_fund_line,
    destination="0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",  # an example of EIP-55
    fee_ceiling=WEI_PER_ETHER // 100,
    limit_per_transaction=100 * WEI_PER_ETHER,
    limit_per_window=1_000 * WEI_PER_ETHER,
    tool="anvil.py",
)
