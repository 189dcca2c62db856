"""bitcoind's JSON. Amounts are bitcoins, as its own are."""

from typing import Any

from keyquorum_devnet.bitcoin.blocks import BITS, DIFFICULTY, WORK_PER_BLOCK, Block
from keyquorum_devnet.bitcoin.chain import Confirmed
from keyquorum_devnet.bitcoin.mempool import Entry, Mempool
from keyquorum_devnet.bitcoin.node import Node
from keyquorum_devnet.bitcoin.replacement import is_replaceable
from keyquorum_devnet.bitcoin.scripts import address_of, core_asm, kind_of
from keyquorum_devnet.bitcoin.transactions import Transaction, TxIn, TxOut

COIN = 10**8  # satoshis

Json = dict[str, Any]


def bitcoins(satoshis: int) -> float:
    """An amount; the nearest double prints with the same eight decimals."""
    return satoshis / COIN


def work(height: int) -> str:
    """The work of a chain up to a height."""
    return f"{WORK_PER_BLOCK * (height + 1):064x}"


def header_json(node: Node, block: Block) -> Json:
    """A block's header."""
    height = node.chain.height_of(block.hash)
    tip = node.chain.tip.height
    shape = {
        "hash": block.hash,
        "confirmations": -1 if height is None else tip - height + 1,
        "height": block.height,
        "version": block.version,
        "versionHex": f"{block.version & 0xFFFFFFFF:08x}",
        "merkleroot": block.merkle_root,
        "time": block.time,
        "mediantime": block.median_time,
        "nonce": block.nonce,
        "bits": f"{BITS:08x}",
        "difficulty": DIFFICULTY,
        "chainwork": work(block.height),
        "nTx": len(block.transactions),
    }
    if block.previous is not None:
        shape["previousblockhash"] = block.previous
    if height is not None and height < tip:
        shape["nextblockhash"] = node.chain.active[height + 1].hash
    return shape


def block_json(node: Node, block: Block, verbosity: int) -> Json:
    """A block with its txids (1) or its transactions (2)."""
    sizes = {"strippedsize": block.stripped_size, "size": len(block.raw), "weight": block.weight}
    if verbosity == 1:
        return {**header_json(node, block), **sizes, "tx": [each.txid for each in block.transactions]}
    shapes = []
    for transaction in block.transactions:
        shape = transaction_json(transaction) | {"hex": transaction.raw.hex()}
        confirmed = node.chain.transaction(transaction.txid)
        if confirmed is not None and not transaction.is_coinbase:
            shape["fee"] = bitcoins(confirmed.fee)
        shapes.append(shape)
    return {**header_json(node, block), **sizes, "tx": shapes}


def transaction_json(transaction: Transaction) -> Json:
    """A transaction by itself."""
    return {
        "txid": transaction.txid,
        "hash": transaction.wtxid,
        "version": transaction.version,
        "size": len(transaction.raw),
        "vsize": transaction.vsize,
        "weight": transaction.weight,
        "locktime": transaction.locktime,
        "vin": [_input_json(source, coinbase=transaction.is_coinbase) for source in transaction.inputs],
        "vout": [
            {"value": bitcoins(output.value), "n": vout, "scriptPubKey": script_json(output.script)}
            for vout, output in enumerate(transaction.outputs)
        ],
    }


def raw_transaction_json(node: Node, found: Confirmed | Entry, *, prevouts: bool) -> Json:
    """A transaction where it is."""
    transaction = found.transaction
    shape = transaction_json(transaction) | {"hex": transaction.raw.hex()}
    if prevouts and found.spent:
        for source, coin in zip(shape["vin"], found.spent, strict=True):
            source["prevout"] = {
                "generated": coin.coinbase,
                **({} if coin.height is None else {"height": coin.height}),
                "value": bitcoins(coin.output.value),
                "scriptPubKey": script_json(coin.output.script),
            }
        shape["fee"] = bitcoins(found.fee)
    if isinstance(found, Confirmed):
        shape |= {
            "blockhash": found.block.hash,
            "confirmations": node.chain.tip.height - found.block.height + 1,
            "time": found.block.time,
            "blocktime": found.block.time,
        }
    return shape


def script_json(script: bytes) -> Json:
    """An output's script."""
    shape = {"asm": core_asm(script), "hex": script.hex(), "type": kind_of(script).core}
    address = address_of(script)
    return shape if address is None else shape | {"address": address}


def entry_json(entry: Entry, mempool: Mempool) -> Json:
    """A waiting transaction with its relations."""
    ancestors = mempool.ancestors([entry.txid]).values()
    descendants = mempool.descendants([entry.txid]).values()
    return {
        "vsize": entry.vsize,
        "weight": entry.transaction.weight,
        "time": entry.time,
        "height": entry.height,
        "descendantcount": len(descendants),
        "descendantsize": sum(each.vsize for each in descendants),
        "ancestorcount": len(ancestors),
        "ancestorsize": sum(each.vsize for each in ancestors),
        "wtxid": entry.transaction.wtxid,
        "fees": {
            "base": bitcoins(entry.fee),
            "modified": bitcoins(entry.fee),
            "ancestor": bitcoins(sum(each.fee for each in ancestors)),
            "descendant": bitcoins(sum(each.fee for each in descendants)),
        },
        "depends": sorted(entry.parents),
        "spentby": sorted(entry.children),
        "bip125-replaceable": is_replaceable(entry, mempool),
        "unbroadcast": False,
    }


def output_json(node: Node, output: TxOut, height: int | None, *, coinbase: bool) -> Json:
    """An unspent output."""
    return {
        "bestblock": node.chain.tip.hash,
        "confirmations": 0 if height is None else node.chain.tip.height - height + 1,
        "value": bitcoins(output.value),
        "scriptPubKey": script_json(output.script),
        "coinbase": coinbase,
    }


def _input_json(source: TxIn, *, coinbase: bool) -> Json:
    if coinbase:
        shape: Json = {"coinbase": source.script_sig.hex()}
    else:
        shape = {
            "txid": source.outpoint.txid,
            "vout": source.outpoint.vout,
            "scriptSig": {"asm": core_asm(source.script_sig), "hex": source.script_sig.hex()},
        }
    if source.witness:
        shape["txinwitness"] = [item.hex() for item in source.witness]
    return shape | {"sequence": source.sequence}
