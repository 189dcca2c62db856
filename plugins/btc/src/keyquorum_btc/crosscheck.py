"""The unsigned transaction, read a second time by a library that had no part in making it.

embit builds and decodes in the codec; bitcoinlib parses the same bytes here. Both have to see the same coins, recipient,
amounts, memo, change and fee, or nothing is handed out to be signed. Only its parser is used: its fee, size, txid and
signature figures are not to be relied on, and its address encoder maps witness versions above 1 to 1, so that scripts are
compared as bytes, too.

Importing bitcoinlib writes files and a log: it gets a private folder that is gone afterwards, and its log no handler.
"""

import asyncio
import logging
import os
import tempfile
import threading
import warnings
from typing import Any, Final

from keyquorum_btc.coin import Coin
from keyquorum_btc.memo import memo_script
from keyquorum_btc.network import MAINNET, REGTEST
from keyquorum_btc.scripts import canonical_address, parse_destination
from keyquorum_btc.spending import SEQUENCE, VERSION
from keyquorum_plugin_api.codec import TransferIntent
from keyquorum_plugin_api.errors import InvalidPayload

_FOLDER: Final = "BCL_DATA_DIR"
_PREFIX: Final = b"psbt\xff\x01\x00"
_COMPACT_2: Final = 0xFD  # from here on, a compact size is 2, 4 or 8 bytes that follow
_import_lock = threading.Lock()


def bitcoinlib_transaction() -> Any:
    """The library's class of transactions; the first call takes half a second."""
    with _import_lock, warnings.catch_warnings(), tempfile.TemporaryDirectory(prefix="keyquorum-btc-") as folder:
        warnings.simplefilter("ignore")
        before = os.environ.get(_FOLDER)
        os.environ[_FOLDER] = folder
        try:
            from bitcoinlib.networks import NETWORK_DEFINITIONS  # noqa: PLC0415 see above
            from bitcoinlib.transactions import Transaction  # noqa: PLC0415
        finally:
            if before is None:
                del os.environ[_FOLDER]
            else:
                os.environ[_FOLDER] = before
        # Its regtest has the base58 prefixes of the main network; Bitcoin Core's chainparams.cpp has those of testnet.
        NETWORK_DEFINITIONS["regtest"] |= {"prefix_address": "6F", "prefix_address_p2sh": "C4"}
        log = logging.getLogger("bitcoinlib")
        log.propagate = False
        for handler in list(log.handlers):
            log.removeHandler(handler)
            handler.close()
        log.addHandler(logging.NullHandler())
        return Transaction


class Crosscheck:
    """The second reader, for one network."""

    def __init__(self, chain: str) -> None:
        self._chain = chain
        self._network = {MAINNET.chain: "bitcoin", REGTEST.chain: "regtest"}.get(chain, "testnet")
        self._transaction: Any = None

    async def load(self) -> None:
        """Import the library, aside from the event loop."""
        if self._transaction is None:
            self._transaction = await asyncio.to_thread(bitcoinlib_transaction)

    async def require(
        self, payload: bytes, *, source: str, coins: tuple[Coin, ...], fee: int, intent: TransferIntent | None
    ) -> None:
        """:class:`InvalidPayload` unless ``payload`` moves ``coins`` as ``intent`` says for ``fee`` satoshi and returns the
        rest to ``source``; without an intent, unless it returns all. Takes about 0.2 ms, so it is done in place."""
        await self.load()
        own = parse_destination(source, self._chain)
        try:
            read = self._transaction.parse_bytes(_unsigned(payload), strict=True, network=self._network)
            inputs = [(each.prev_txid.hex(), each.output_n_int, each.sequence) for each in read.inputs]
            outputs = [(each.value, bytes(each.lock_script), each) for each in read.outputs]
            found = sorted((value, lock, "" if lock == own else str(each.address)) for value, lock, each in outputs)
            header = (read.version_int, read.locktime)
        except Exception:  # noqa: BLE001 whatever the library makes of it, it does not agree
            raise InvalidPayload("the second reader does not understand the transaction") from None
        wanted = self._outputs(source, intent)
        change = sum(coin.amount for coin in coins) - sum(amount for amount, _, _ in wanted) - fee
        if change:
            wanted.append((change, own, ""))
        if (
            header != (VERSION, 0)
            or inputs != [(coin.txid, coin.vout, SEQUENCE) for coin in sorted(coins)]
            or found != sorted(wanted)
        ):
            raise InvalidPayload("the second reader sees another transaction than was asked for")

    def _outputs(self, source: str, intent: TransferIntent | None) -> list[tuple[int, bytes, str]]:
        if intent is None:
            return []
        if intent.source.address != source:
            raise InvalidPayload("the coins belong to another account than the intent's")
        destination = canonical_address(intent.destination, self._chain)
        paid = (intent.amount, parse_destination(destination, self._chain), destination)
        return [paid, (0, memo_script(intent.memo), "")] if intent.memo else [paid]


def _unsigned(payload: bytes) -> bytes:
    """The transaction of a PSBT (BIP174): the value of the first key-value pair, whose key is the one byte 0x00."""
    start = len(_PREFIX) + 1
    length = payload[len(_PREFIX)]
    if length >= _COMPACT_2:
        size = 1 << (length - _COMPACT_2 + 1)
        length = int.from_bytes(payload[start : start + size], "little")
        start += size
    if not payload.startswith(_PREFIX) or start + length > len(payload):
        raise InvalidPayload("not a PSBT that begins with its transaction")
    return payload[start : start + length]
