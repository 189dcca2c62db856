"""Calls about blocks and the network."""

from typing import Any, Final

from keyquorum_devnet.bitcoin.blocks import BITS, DIFFICULTY, TARGET, Block
from keyquorum_devnet.bitcoin.faults import (
    INVALID_ADDRESS_OR_KEY,
    INVALID_PARAMETER,
    VERIFY_ERROR,
    RpcFault,
)
from keyquorum_devnet.bitcoin.kernel import BlockRefused
from keyquorum_devnet.bitcoin.node import Node, UnknownBlock
from keyquorum_devnet.bitcoin.rpc import shapes
from keyquorum_devnet.bitcoin.rpc.descriptors import script_of_descriptor
from keyquorum_devnet.bitcoin.rpc.params import Params
from keyquorum_devnet.bitcoin.scripts import InvalidAddress, script_of
from keyquorum_devnet.bitcoin.sending import decode
from keyquorum_devnet.bitcoin.transactions import Transaction

BLOCKS_MAX: Final = 2_000  # mined by one call, about half a second
BLOCK_TRANSACTIONS_MAX: Final = 5_000
VERSION: Final = 280100
SUBVERSION: Final = "/Satoshi:28.1.0(keyquorum-devnet)/"


def getblockchaininfo(node: Node, _params: Params) -> Any:
    """Where the chain stands."""
    tip = node.chain.tip
    return {
        "chain": "regtest",
        "blocks": tip.height,
        "headers": tip.height,
        "bestblockhash": tip.hash,
        "bits": f"{BITS:08x}",
        "target": f"{TARGET:064x}",
        "difficulty": DIFFICULTY,
        "time": tip.time,
        "mediantime": tip.median_time,
        "verificationprogress": 1,
        "initialblockdownload": False,
        "chainwork": shapes.work(tip.height),
        "size_on_disk": sum(len(block.raw) for block in node.chain.active),
        "pruned": False,
        "warnings": [],
    }


def getnetworkinfo(_node: Node, _params: Params) -> Any:
    """What this is. It has no peers."""
    return {
        "version": VERSION,
        "subversion": SUBVERSION,
        "protocolversion": 70016,
        "localservices": "0000000000000009",
        "localservicesnames": ["NETWORK", "WITNESS"],
        "localrelay": True,
        "timeoffset": 0,
        "networkactive": False,
        "connections": 0,
        "connections_in": 0,
        "connections_out": 0,
        "networks": [],
        "relayfee": 0.00001,
        "incrementalfee": 0.00001,
        "localaddresses": [],
        "warnings": [],
    }


def getblockcount(node: Node, _params: Params) -> Any:
    """The height of the tip."""
    return node.chain.tip.height


def getbestblockhash(node: Node, _params: Params) -> Any:
    """The hash of the tip."""
    return node.chain.tip.hash


def getblockhash(node: Node, params: Params) -> Any:
    """The hash at a height."""
    height = params.integer("height")
    if height > node.chain.tip.height:
        raise RpcFault(INVALID_PARAMETER, "Block height out of range")
    return node.chain.active[height].hash


def getblockheader(node: Node, params: Params) -> Any:
    """A header, parsed or in hex."""
    block = _block(node, params)
    return shapes.header_json(node, block) if params.flag("verbose", default=True) else block.header.hex()


def getblock(node: Node, params: Params) -> Any:
    """A block, in hex or in one of two levels of detail."""
    block = _block(node, params)
    verbosity = params.verbosity("verbosity", 1)
    return block.raw.hex() if verbosity == 0 else shapes.block_json(node, block, min(verbosity, 2))


def generatetoaddress(node: Node, params: Params) -> Any:
    """Mine what waits."""
    count = params.integer("nblocks")
    if count > BLOCKS_MAX:
        raise RpcFault(INVALID_PARAMETER, f"at most {BLOCKS_MAX} blocks in one call")
    return node.mine(params.script("address"), count)


def generateblock(node: Node, params: Params) -> Any:
    """Mine just the transactions that are named by txid or given in hex."""
    script = _output(params.text("output"))
    transactions, fees = [], 0
    for text in params.texts("transactions", BLOCK_TRANSACTIONS_MAX):
        waiting = node.mempool.get(text) if len(text) == 64 else None
        if waiting is None and len(text) == 64:
            raise RpcFault(INVALID_ADDRESS_OR_KEY, f"Transaction {text} not in mempool.")
        transactions.append(waiting.transaction if waiting is not None else _decoded(text))
        fees += waiting.fee if waiting is not None else 0
    try:
        return {"hash": node.mine_one(script, transactions, fees)}
    except BlockRefused as refused:
        raise RpcFault(VERIFY_ERROR, f"TestBlockValidity failed: {refused}") from None


def invalidateblock(node: Node, params: Params) -> Any:
    """Leave a block and all after it."""
    try:
        node.invalidate(params.hash("blockhash"))
    except UnknownBlock:
        raise RpcFault(INVALID_ADDRESS_OR_KEY, "Block not found") from None


def reconsiderblock(node: Node, params: Params) -> Any:
    """Undo invalidateblock."""
    try:
        node.reconsider(params.hash("blockhash"))
    except UnknownBlock:
        raise RpcFault(INVALID_ADDRESS_OR_KEY, "Block not found") from None


def _block(node: Node, params: Params) -> Block:
    block = node.blocks.get(params.hash("blockhash"))
    if block is None:
        raise RpcFault(INVALID_ADDRESS_OR_KEY, "Block not found")
    return block


def _output(text: str) -> bytes:
    """An address, or a descriptor ``addr(…)`` or ``raw(…)``."""
    try:
        return script_of(text)
    except InvalidAddress:
        return script_of_descriptor(text)


def _decoded(text: str) -> Transaction:
    try:
        return decode(text)
    except RpcFault as fault:
        raise RpcFault(fault.code, f"Transaction decode failed for {text[:64]}") from None
