"""Esplora's JSON (the shapes of Blockstream's electrs)."""

from collections.abc import Sequence
from typing import Any

from keyquorum_devnet.bitcoin.activity import ScriptActivity
from keyquorum_devnet.bitcoin.blocks import BITS, DIFFICULTY, Block
from keyquorum_devnet.bitcoin.chain import Coin, Spender
from keyquorum_devnet.bitcoin.mempool import Mempool
from keyquorum_devnet.bitcoin.node import Node
from keyquorum_devnet.bitcoin.scripts import Kind, address_of, esplora_asm, kind_of
from keyquorum_devnet.bitcoin.transactions import Outpoint, Transaction, TxIn, TxOut

HISTOGRAM_BIN_VSIZE = 50_000  # least virtual bytes of a bin of the fee histogram

Json = dict[str, Any]


def block_json(block: Block) -> Json:
    """A block."""
    return {
        "id": block.hash,
        "height": block.height,
        "version": block.version,
        "timestamp": block.time,
        "tx_count": len(block.transactions),
        "size": len(block.raw),
        "weight": block.weight,
        "merkle_root": block.merkle_root,
        "previousblockhash": block.previous,
        "mediantime": block.median_time,
        "nonce": block.nonce,
        "bits": BITS,
        "difficulty": DIFFICULTY,
    }


def status_json(block: Block | None) -> Json:
    """Where a transaction is; None: in no block."""
    if block is None:
        return {"confirmed": False}
    return {"confirmed": True, "block_height": block.height, "block_hash": block.hash, "block_time": block.time}


def transaction_json(transaction: Transaction, spent: Sequence[Coin], block: Block | None) -> Json:
    """A transaction with the outputs that it spends; ``spent`` is empty for a coinbase, and
    for a transaction of a block that the best chain has left."""
    prevouts: Sequence[Coin | None] = spent or [None] * len(transaction.inputs)
    fee = sum(coin.output.value for coin in spent) - transaction.output_value if spent else 0
    return {
        "txid": transaction.txid,
        "version": transaction.version & 0xFFFFFFFF,
        "locktime": transaction.locktime,
        "vin": [
            _input_json(source, coin, is_coinbase=transaction.is_coinbase)
            for source, coin in zip(transaction.inputs, prevouts, strict=True)
        ],
        "vout": [_output_json(output) for output in transaction.outputs],
        "size": len(transaction.raw),
        "weight": transaction.weight,
        "fee": fee,
        "status": status_json(block),
    }


def spend_json(node: Node, outpoint: Outpoint) -> Json:
    """What spends an output."""
    spender: Spender | None = node.chain.spenders.get(outpoint)
    block = None
    if spender is not None:
        confirmed = node.chain.transaction(spender.txid)
        block = confirmed.block if confirmed else None
    else:
        spender = node.mempool.spenders.get(outpoint)
    if spender is None:
        return {"spent": False}
    return {"spent": True, "txid": spender.txid, "vin": spender.vin, "status": status_json(block)}


def stats_json(activity: ScriptActivity) -> Json:
    """Totals of an address."""
    return {
        "tx_count": len(activity.txids),
        "funded_txo_count": activity.funded_count,
        "funded_txo_sum": activity.funded_sum,
        "spent_txo_count": activity.spent_count,
        "spent_txo_sum": activity.spent_sum,
    }


def coins_json(node: Node, script: bytes) -> list[Json]:
    """What a script has: confirmed coins that no waiting transaction spends, and outputs of waiting ones."""
    coins = [
        _coin_json(outpoint, coin.output.value, None if coin.height is None else node.chain.active[coin.height])
        for outpoint, coin in node.chain.unspent(script).items()
        if outpoint not in node.mempool.spenders
    ]
    for txid in node.mempool.activity.of(script).txids:
        for vout, output in enumerate(node.mempool.entries[txid].transaction.outputs):
            outpoint = Outpoint(txid, vout)
            if output.script == script and outpoint not in node.mempool.spenders:
                coins.append(_coin_json(outpoint, output.value, None))
    return coins


def mempool_json(mempool: Mempool) -> Json:
    """Size, fees and the histogram of fee rates, highest first."""
    bins: list[list[float]] = []
    vsize, rate = 0, 0.0
    for entry in sorted(mempool, key=lambda each: -each.fee / each.vsize):
        if vsize > HISTOGRAM_BIN_VSIZE and rate != entry.fee / entry.vsize:
            bins.append([rate, vsize])
            vsize = 0
        vsize += entry.vsize
        rate = entry.fee / entry.vsize
    if vsize:
        bins.append([rate, vsize])
    return {
        "count": len(mempool),
        "vsize": mempool.total_vsize,
        "total_fee": mempool.total_fee,
        "fee_histogram": bins,
    }


def _coin_json(outpoint: Outpoint, value: int, block: Block | None) -> Json:
    return {"txid": outpoint.txid, "vout": outpoint.vout, "status": status_json(block), "value": value}


def _input_json(source: TxIn, coin: Coin | None, *, is_coinbase: bool) -> Json:
    shape: Json = {
        "txid": source.outpoint.txid,
        "vout": source.outpoint.vout,
        "prevout": None if coin is None else _output_json(coin.output),
        "scriptsig": source.script_sig.hex(),
        "scriptsig_asm": esplora_asm(source.script_sig),
    }
    if source.witness:
        shape["witness"] = [item.hex() for item in source.witness]
    shape["is_coinbase"] = is_coinbase
    shape["sequence"] = source.sequence
    if coin is not None:
        shape.update(_inner_scripts(source, kind_of(coin.output.script)))
    return shape


def _inner_scripts(source: TxIn, kind: Kind) -> Json:
    inner: Json = {}
    redeem = b""
    if kind is Kind.P2SH and source.script_sig:
        redeem = source.script_sig[1:] if source.script_sig[0] < 0x4C else b""
        inner["inner_redeemscript_asm"] = esplora_asm(redeem)
    if Kind.P2WSH in (kind, kind_of(redeem)) and source.witness:
        inner["inner_witnessscript_asm"] = esplora_asm(source.witness[-1])
    elif kind is Kind.P2TR and len(source.witness) > 1:
        inner["inner_witnessscript_asm"] = esplora_asm(source.witness[-2])
    return inner


def _output_json(output: TxOut) -> Json:
    shape: Json = {
        "scriptpubkey": output.script.hex(),
        "scriptpubkey_asm": esplora_asm(output.script),
        "scriptpubkey_type": kind_of(output.script).esplora,
    }
    address = address_of(output.script)
    if address is not None:
        shape["scriptpubkey_address"] = address
    shape["value"] = output.value
    return shape
