"""Bitcoin: Core's own consensus library as a regtest node, whose blocks come every second."""

import secrets
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pbk
from embit import ec
from pbk.script import PrecomputedTransactionData

from keyquorum_devnet.bitcoin.genesis import CHAIN_ID, NATIVE_ASSET
from keyquorum_devnet.bitcoin.scripts import address_of, script_of
from keyquorum_devnet.engines.engine import QUOTED_CHARS_MAX, ChainClient, ChainSays, Engine, Judged
from keyquorum_devnet.ports import HOST
from keyquorum_devnet.toml import Value

SATOSHI_PER_BITCOIN: Final = 100_000_000
NOBODY: Final = bytes.fromhex("50929b74c1a04954b78b4b6035e97a5e078a5a0f28ec96d547bfee9ace803ac0")
"""BIP341: a point whose discrete logarithm nobody knows."""


def taproot_address(output_key: bytes) -> str:
    """The address of a Taproot output, by its x-only key of 32 bytes."""
    address = address_of(b"\x51\x20" + output_key)
    assert address is not None
    return address


class BitcoinClient(ChainClient):
    """Esplora's REST for questions, JSON-RPC for the controls of a development chain."""

    async def is_up(self) -> bool:
        """Whether the node knows its tip."""
        return await self._responds("getbestblockhash")

    async def fund(self, address: str, amount: int) -> None:
        """One coin of the faucet, in a block of its own."""
        await self.call("devnet_fund", address, amount)

    async def balance(self, address: str) -> int:
        """Satoshis in the coins that confirmed transactions left there."""
        coins: Any = await self._json("GET", f"address/{address}/utxo")
        return sum(int(coin["value"]) for coin in coins if coin["status"]["confirmed"])

    async def judge(self, txid: str, source: str) -> Judged:
        """The transaction's bytes and those that it spends from; Core's script interpreter runs here, not at the node."""
        status: Any = await self._json("GET", f"tx/{txid}/status")
        if not isinstance(status, dict) or not status.get("confirmed"):
            raise ChainSays(f"the chain has no confirmed transaction {txid}")
        spending = await self._transaction(txid)
        sources = [(await self._transaction(str(each.out_point.txid)), each.out_point) for each in spending.inputs]
        coins = [transaction.outputs[outpoint.index] for transaction, outpoint in sources]
        fee = judge_spending(spending, coins, script_of(source))
        return Judged(txid, f"block {status['block_height']}", fee, "Bitcoin Core's script interpreter")

    async def mine(self, blocks: int) -> None:
        """Blocks at once, with what waits."""
        await self.call("devnet_mine", blocks)

    async def reorganise(self, depth: int) -> None:
        """Other blocks, one more than before; what was in the old ones waits again."""
        await self.call("devnet_reorg", depth)

    @staticmethod
    def stranger() -> str:
        """The Taproot address of a key that is forgotten."""
        return taproot_address(ec.PrivateKey(secrets.token_bytes(32)).get_public_key().xonly())

    async def _transaction(self, txid: str) -> Any:
        """A transaction that hashes to its id; :class:`ChainSays` otherwise."""
        text = await self._text(f"tx/{txid}/hex")
        try:
            found = pbk.Transaction(bytes.fromhex(text))
        except (ValueError, RuntimeError):
            raise ChainSays(f"{txid}: {text[:QUOTED_CHARS_MAX]}") from None
        if str(found.txid) != txid:
            raise ChainSays(f"the chain gave another transaction than {txid}")
        return found


def judge_spending(spending: Any, coins: Sequence[Any], script: bytes) -> int:
    """The fee of a transaction that spends ``coins``, all of them of ``script`` and rightly so; :class:`ChainSays`."""
    if any(bytes(coin.script_pubkey) != script for coin in coins):
        raise ChainSays("it spends coins of somebody else")
    context = PrecomputedTransactionData(spending, list(coins))
    flags = pbk.ScriptVerificationFlags.ALL
    for index, coin in enumerate(coins):
        if not coin.script_pubkey.verify(coin.amount, spending, context, index, flags):
            raise ChainSays(f"Bitcoin Core's script interpreter does not accept the signature of input {index}")
    spent, arrived = (sum(int(each.amount) for each in outputs) for outputs in (coins, spending.outputs))
    return spent - arrived


def _command(port: int, _tool: str, block_s: float) -> tuple[str, ...]:
    return (sys.executable, "-m", "keyquorum_devnet.bitcoin", "--port", str(port), "--block-every", str(block_s))


def _settings(port: int) -> Mapping[str, Value]:
    return {
        "esplora_url": f"http://{HOST}:{port}",
        "bitcoind_url": f"http://{HOST}:{port}",
        "name": "Bitcoin on this machine",
        "aliases": ["bitcoin:regtest"],
        "confirmations": 1,
        "final_confirmations": 6,
        "poll_interval_s": 0.5,
        "fee_rate_fallback": 2,
    }


def _fund_line(url: str) -> str:
    return (
        "curl -sS -H 'Content-Type: application/json' -d "
        '"{\\"jsonrpc\\": \\"2.0\\", \\"id\\": 1, \\"method\\": \\"devnet_fund\\", '
        f'\\"params\\": [\\"$ADDRESS\\", {2 * SATOSHI_PER_BITCOIN}]}}" {url}; echo; sleep 1'
    )


BITCOIN: Final = Engine(
    name="bitcoin",
    chain=CHAIN_ID,
    asset=NATIVE_ASSET,
    scheme="schnorr_bip340",
    unit="satoshi",
    coin=SATOSHI_PER_BITCOIN,
    plugin="keyquorum-btc",
    codec="bitcoin",
    client=BitcoinClient,
    block_s=1.0,
    command=_command,
    settings=_settings,
    fund_line=_fund_line,
    destination=taproot_address(NOBODY),
    fee_ceiling=SATOSHI_PER_BITCOIN // 1_000,
    limit_per_transaction=10 * SATOSHI_PER_BITCOIN,
    limit_per_window=100 * SATOSHI_PER_BITCOIN,
)
