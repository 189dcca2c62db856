"""Esplora's REST, as Blockstream's electrs serves it: paths, statuses and texts."""

import json
import re
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, Final

from aiohttp import web

from keyquorum_devnet.bitcoin import esplora_shapes as shapes
from keyquorum_devnet.bitcoin.blocks import Block, merkle_branch
from keyquorum_devnet.bitcoin.faults import RpcFault
from keyquorum_devnet.bitcoin.node import Node
from keyquorum_devnet.bitcoin.scripts import InvalidAddress, WrongNetwork, script_of
from keyquorum_devnet.bitcoin.sending import send
from keyquorum_devnet.bitcoin.transactions import Outpoint, Transaction, displayed, wire

CHAIN_PAGE: Final = 25  # transactions
MEMPOOL_PAGE: Final = 50  # transactions
BLOCKS_PAGE: Final = 10
RECENT: Final = 10  # transactions
ESTIMATE_TARGETS: Final = (*range(1, 26), 144, 504, 1008)  # blocks
U32_MAX: Final = 2**32 - 1

Route = Callable[..., web.Response]


class EsploraFault(Exception):
    """A request that is answered with a status and a text."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        self.text = text
        super().__init__(text)


def answer(node: Node, path: str) -> web.Response:
    """The answer to GET ``path``."""
    try:
        return _routed(node, path)
    except EsploraFault as fault:
        return _text(fault.text, fault.status)


def unknown(path: str) -> web.Response:
    """The answer to a path, or a method, that Esplora does not have."""
    return _text(f'endpoint does not exist "{path}"', 404)


def broadcast(node: Node, body: bytes) -> web.Response:
    """The answer to POST /tx: the txid, or the node's refusal."""
    try:
        return _text(send(node, body.decode("ascii", "replace").strip()))
    except RpcFault as fault:
        detail = json.dumps(fault.to_json(), separators=(",", ":"))
        return _text(f"sendrawtransaction RPC error: {detail}", 400)


def _routed(node: Node, path: str) -> web.Response:
    for pattern, route in ROUTES:
        if (match := pattern.fullmatch(path)) is not None:
            return route(node, *(part for part in match.groups() if part is not None))
    return unknown(path)


def _tip_height(node: Node) -> web.Response:
    return _text(str(node.chain.tip.height))


def _tip_hash(node: Node) -> web.Response:
    return _text(node.chain.tip.hash)


def _blocks(node: Node, start: str = "") -> web.Response:
    height = int(start) if start.isascii() and start.isdigit() else node.chain.tip.height
    newest = _block_at(node, height).height
    return _json([shapes.block_json(node.chain.active[each]) for each in range(newest, -1, -1)[:BLOCKS_PAGE]])


def _block_height(node: Node, height: str) -> web.Response:
    return _text(_block_at(node, _number(height)).hash)


def _block(node: Node, block_hash: str) -> web.Response:
    return _json(shapes.block_json(_block_of(node, block_hash)))


def _block_status(node: Node, block_hash: str) -> web.Response:
    height = node.chain.height_of(_hash(block_hash))
    if height is None:
        return _json({"in_best_chain": False})
    following = node.chain.active[height + 1].hash if height < node.chain.tip.height else None
    return _json({"in_best_chain": True, "height": height, "next_best": following})


def _block_header(node: Node, block_hash: str) -> web.Response:
    return _text(_block_of(node, block_hash).header.hex())


def _block_raw(node: Node, block_hash: str) -> web.Response:
    return _octets(_block_of(node, block_hash).raw)


def _block_txids(node: Node, block_hash: str) -> web.Response:
    return _json([transaction.txid for transaction in _block_of(node, block_hash).transactions])


def _block_txid(node: Node, block_hash: str, index: str) -> web.Response:
    transactions = _block_of(node, block_hash).transactions
    number = _number(index)
    if number >= len(transactions):
        raise EsploraFault(404, "tx index out of range")
    return _text(transactions[number].txid)


def _block_txs(node: Node, block_hash: str, start: str = "0") -> web.Response:
    transactions = _block_of(node, block_hash).transactions
    index = int(start) if start.isascii() and start.isdigit() else 0
    if index % CHAIN_PAGE:
        raise EsploraFault(400, f"start index must be a multiple of {CHAIN_PAGE}")
    if index >= len(transactions):
        raise EsploraFault(400, "start index out of range")
    page = transactions[index : index + CHAIN_PAGE]
    return _json([_shape(node, each.txid) or shapes.transaction_json(each, (), None) for each in page])


def _address(node: Node, address: str) -> web.Response:
    script = _script(address)
    return _json(
        {
            "address": address,
            "chain_stats": shapes.stats_json(node.chain.activity.of(script)),
            "mempool_stats": shapes.stats_json(node.mempool.activity.of(script)),
        }
    )


def _address_utxo(node: Node, address: str) -> web.Response:
    return _json(shapes.coins_json(node, _script(address)))


def _address_txs(node: Node, address: str) -> web.Response:
    script = _script(address)
    return _transactions(node, [*_waiting(node, script), *_history(node, script)])


def _address_txs_chain(node: Node, address: str, last_seen: str = "") -> web.Response:
    return _transactions(node, _history(node, _script(address), last_seen))


def _address_txs_mempool(node: Node, address: str) -> web.Response:
    return _transactions(node, _waiting(node, _script(address)))


def _tx(node: Node, txid: str) -> web.Response:
    found = _shape(node, _hash(txid))
    if found is None:
        raise EsploraFault(404, "Transaction not found")
    return _json(found)


def _tx_status(node: Node, txid: str) -> web.Response:
    confirmed = node.chain.transaction(_hash(txid))
    return _json(shapes.status_json(confirmed.block if confirmed else None))


def _tx_hex(node: Node, txid: str) -> web.Response:
    return _text(_raw(node, txid).hex())


def _tx_raw(node: Node, txid: str) -> web.Response:
    return _octets(_raw(node, txid))


def _tx_merkle_proof(node: Node, txid: str) -> web.Response:
    confirmed = node.chain.transaction(_hash(txid))
    if confirmed is None:
        raise EsploraFault(404, "Transaction not found or is unconfirmed")
    txids = [transaction.txid for transaction in confirmed.block.transactions]
    position = txids.index(confirmed.transaction.txid)
    branch = merkle_branch([wire(each) for each in txids], position)
    return _json({"block_height": confirmed.block.height, "merkle": [displayed(h) for h in branch], "pos": position})


def _outspend(node: Node, txid: str, vout: str) -> web.Response:
    return _json(shapes.spend_json(node, Outpoint(_hash(txid), _number(vout))))


def _outspends(node: Node, txid: str) -> web.Response:
    found = _find(node, _hash(txid))
    return _json([shapes.spend_json(node, Outpoint(found.txid, vout)) for vout in range(len(found.outputs))])


def _mempool(node: Node) -> web.Response:
    return _json(shapes.mempool_json(node.mempool))


def _mempool_txids(node: Node) -> web.Response:
    return _json(list(node.mempool.entries))


def _mempool_recent(node: Node) -> web.Response:
    newest = list(node.mempool)[: -RECENT - 1 : -1]
    return _json(
        [
            {"txid": entry.txid, "fee": entry.fee, "vsize": entry.vsize, "value": entry.transaction.output_value}
            for entry in newest
        ]
    )


def _fee_estimates(node: Node) -> web.Response:
    return _json({} if node.fee_rate is None else {str(target): node.fee_rate for target in ESTIMATE_TARGETS})


ROUTES: Final[list[tuple[re.Pattern[str], Route]]] = [
    (re.compile(pattern), route)
    for pattern, route in (
        ("/blocks/tip/height", _tip_height),
        ("/blocks/tip/hash", _tip_hash),
        ("/blocks(?:/([^/]*))?", _blocks),
        ("/block-height/([^/]*)", _block_height),
        ("/block/([^/]*)", _block),
        ("/block/([^/]*)/status", _block_status),
        ("/block/([^/]*)/header", _block_header),
        ("/block/([^/]*)/raw", _block_raw),
        ("/block/([^/]*)/txids", _block_txids),
        ("/block/([^/]*)/txid/([^/]*)", _block_txid),
        ("/block/([^/]*)/txs(?:/([^/]*))?", _block_txs),
        ("/address/([^/]*)", _address),
        ("/address/([^/]*)/utxo", _address_utxo),
        ("/address/([^/]*)/txs", _address_txs),
        ("/address/([^/]*)/txs/chain(?:/([^/]*))?", _address_txs_chain),
        ("/address/([^/]*)/txs/mempool", _address_txs_mempool),
        ("/tx/([^/]*)", _tx),
        ("/tx/([^/]*)/status", _tx_status),
        ("/tx/([^/]*)/hex", _tx_hex),
        ("/tx/([^/]*)/raw", _tx_raw),
        ("/tx/([^/]*)/merkle-proof", _tx_merkle_proof),
        ("/tx/([^/]*)/outspend/([^/]*)", _outspend),
        ("/tx/([^/]*)/outspends", _outspends),
        ("/mempool", _mempool),
        ("/mempool/txids", _mempool_txids),
        ("/mempool/recent", _mempool_recent),
        ("/fee-estimates", _fee_estimates),
    )
]


def _hash(text: str) -> str:
    if not re.fullmatch("[0-9a-fA-F]{64}", text):
        raise EsploraFault(400, "Invalid hex string")
    return text.lower()


def _number(text: str) -> int:
    if not re.fullmatch("[0-9]{1,10}", text) or int(text) > U32_MAX:
        raise EsploraFault(400, "Invalid number")
    return int(text)


def _script(address: str) -> bytes:
    try:
        return script_of(address)
    except WrongNetwork:
        raise EsploraFault(400, "Address on invalid network") from None
    except InvalidAddress:
        raise EsploraFault(400, "Invalid Bitcoin address") from None


def _block_at(node: Node, height: int) -> Block:
    if height >= len(node.chain.active):
        raise EsploraFault(404, "Block not found")
    return node.chain.active[height]


def _block_of(node: Node, block_hash: str) -> Block:
    block = node.blocks.get(_hash(block_hash))
    if block is None:
        raise EsploraFault(404, "Block not found")
    return block


def _find(node: Node, txid: str) -> Transaction:
    confirmed = node.chain.transaction(txid)
    found = confirmed or node.mempool.get(txid)
    if found is None:
        raise EsploraFault(404, "Transaction not found")
    return found.transaction


def _raw(node: Node, txid: str) -> bytes:
    return _find(node, _hash(txid)).raw


def _shape(node: Node, txid: str) -> shapes.Json | None:
    confirmed = node.chain.transaction(txid)
    if confirmed is not None:
        return shapes.transaction_json(confirmed.transaction, confirmed.spent, confirmed.block)
    entry = node.mempool.get(txid)
    return shapes.transaction_json(entry.transaction, entry.spent, None) if entry is not None else None


def _transactions(node: Node, txids: Iterable[str]) -> web.Response:
    return _json([shape for txid in txids if (shape := _shape(node, txid)) is not None])


def _waiting(node: Node, script: bytes) -> Iterable[str]:
    return islice(reversed(node.mempool.activity.of(script).txids), MEMPOOL_PAGE)


def _history(node: Node, script: bytes, last_seen: str = "") -> Iterable[str]:
    """A page of a script's confirmed transactions, newest first, after ``last_seen`` if that is one of them."""
    txids = node.chain.activity.of(script).txids
    newest_first = iter(reversed(txids))
    if last_seen in txids:
        while next(newest_first) != last_seen:
            pass
    return islice(newest_first, CHAIN_PAGE)


def _text(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, content_type="text/plain")


def _json(value: Any) -> web.Response:
    return web.Response(text=json.dumps(value, separators=(",", ":")), content_type="application/json")


def _octets(data: bytes) -> web.Response:
    return web.Response(body=data, content_type="application/octet-stream")
