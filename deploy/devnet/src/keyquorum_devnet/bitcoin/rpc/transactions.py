"""Calls about transactions, the mempool and coins."""

from typing import Any, Final

from keyquorum_devnet.bitcoin.chain import Coin
from keyquorum_devnet.bitcoin.faults import INVALID_ADDRESS_OR_KEY, INVALID_PARAMETER, MISC_ERROR, RpcFault
from keyquorum_devnet.bitcoin.mempool import Entry
from keyquorum_devnet.bitcoin.node import Node
from keyquorum_devnet.bitcoin.policy import TxRefused
from keyquorum_devnet.bitcoin.rpc import shapes
from keyquorum_devnet.bitcoin.rpc.descriptors import descriptor_of, script_of_descriptor
from keyquorum_devnet.bitcoin.rpc.params import COIN, Params
from keyquorum_devnet.bitcoin.sending import FEE_RATE_MAX, decode, send
from keyquorum_devnet.bitcoin.transactions import Outpoint

DESCRIPTORS_MAX: Final = 100
PACKAGE_MAX: Final = 25  # transactions of one testmempoolaccept
ESTIMATE_TARGET_MAX: Final = 1008  # blocks
_SATOSHIS_PER_VBYTE: Final = COIN / 1000  # of one bitcoin per 1000 virtual bytes


def sendrawtransaction(node: Node, params: Params) -> Any:
    """Take a transaction into the mempool."""
    burn_max = params.satoshis("maxburnamount")
    return send(node, params.text("hexstring"), _fee_rate_max(params), burn_max)


def testmempoolaccept(node: Node, params: Params) -> Any:
    """Whether the mempool would take each transaction, were it sent alone."""
    rate_max = _fee_rate_max(params)
    texts = params.texts("rawtxs", PACKAGE_MAX)
    if not texts:
        raise RpcFault(INVALID_PARAMETER, f"Array must contain between 1 and {PACKAGE_MAX} transactions.")
    return [_would_accept(node, text, rate_max) for text in texts]


def getrawtransaction(node: Node, params: Params) -> Any:
    """A transaction of the mempool or of any block (there is a transaction index), in hex or parsed."""
    txid = params.hash("txid")
    confirmed = node.chain.transaction(txid)
    if params.has("blockhash"):
        block = node.blocks.get(params.hash("blockhash"))
        if block is None:
            raise RpcFault(INVALID_ADDRESS_OR_KEY, "Block hash not found")
        if confirmed is None or confirmed.block is not block:
            reason = "No such transaction found in the provided block. Use gettransaction for wallet transactions."
            raise RpcFault(INVALID_ADDRESS_OR_KEY, reason)
    found = confirmed or node.mempool.get(txid)
    if found is None:
        reason = "No such mempool or blockchain transaction. Use gettransaction for wallet transactions."
        raise RpcFault(INVALID_ADDRESS_OR_KEY, reason)
    verbosity = params.verbosity("verbosity", 0)
    if verbosity == 0:
        return found.transaction.raw.hex()
    return shapes.raw_transaction_json(node, found, prevouts=verbosity > 1)


def getmempoolentry(node: Node, params: Params) -> Any:
    """A waiting transaction with its relations."""
    return shapes.entry_json(_waiting(node, params), node.mempool)


def getrawmempool(node: Node, params: Params) -> Any:
    """What waits: txids, or all that getmempoolentry tells of each."""
    if params.flag("verbose", default=False):
        return {entry.txid: shapes.entry_json(entry, node.mempool) for entry in node.mempool}
    return list(node.mempool.entries)


def getmempoolinfo(node: Node, _params: Params) -> Any:
    """Totals of what waits."""
    return {
        "loaded": True,
        "size": len(node.mempool),
        "bytes": node.mempool.total_vsize,
        "total_fee": shapes.bitcoins(node.mempool.total_fee),
        "mempoolminfee": 0.00001,
        "minrelaytxfee": 0.00001,
        "incrementalrelayfee": 0.00001,
        "unbroadcastcount": 0,
        "fullrbf": node.full_rbf,
    }


def gettxout(node: Node, params: Params) -> Any:
    """An unspent output; null where there is none."""
    outpoint = Outpoint(params.hash("txid"), params.integer("n"))
    if params.flag("include_mempool", default=True):
        if outpoint in node.mempool.spenders:
            return None
        coin = node.chain.coins.get(outpoint) or node.mempool.coin(outpoint)
    else:
        coin = node.chain.coins.get(outpoint)
    return None if coin is None else shapes.output_json(node, coin.output, coin.height, coinbase=coin.coinbase)


def estimatesmartfee(node: Node, params: Params) -> Any:
    """A fee rate in BTC/kvB. Like a young regtest chain it has too little data, unless devnet_setFeeRate gave it a rate."""
    target = params.integer("conf_target")
    if not 1 <= target <= ESTIMATE_TARGET_MAX:
        raise RpcFault(INVALID_PARAMETER, f"Invalid conf_target, must be between 1 and {ESTIMATE_TARGET_MAX}")
    if node.fee_rate is None:
        return {"errors": ["Insufficient data or no feerate found"], "blocks": max(target, 2)}
    return {"feerate": round(node.fee_rate / _SATOSHIS_PER_VBYTE, 8), "blocks": max(target, 2)}


def scantxoutset(node: Node, params: Params) -> Any:
    """The coins of ``addr(…)`` and ``raw(…)`` descriptors, from an index instead of a scan. Those of blocks alone."""
    action = params.text("action")
    if action in ("status", "abort"):
        return None if action == "status" else False
    if action != "start":
        raise RpcFault(INVALID_PARAMETER, f"Invalid action '{action[:32]}'")
    scripts = dict.fromkeys(_scanned(item) for item in params.items("scanobjects", DESCRIPTORS_MAX))
    if not scripts:
        raise RpcFault(MISC_ERROR, "scanobjects argument is required for the start action")
    found = [each for script in scripts for each in node.chain.unspent(script).items()]
    tip = node.chain.tip
    return {
        "success": True,
        "txouts": len(node.chain.coins),
        "height": tip.height,
        "bestblock": tip.hash,
        "unspents": [_scanned_coin(node, outpoint, coin) for outpoint, coin in found],
        "total_amount": shapes.bitcoins(sum(coin.output.value for _outpoint, coin in found)),
    }


def _scanned(item: Any) -> bytes:
    """The script of a scan object: a descriptor, or an object that holds one."""
    descriptor = item.get("desc") if isinstance(item, dict) else item
    if not isinstance(descriptor, str):
        raise RpcFault(INVALID_PARAMETER, "Scan object needs to be either a string or an object")
    return script_of_descriptor(descriptor)


def _scanned_coin(node: Node, outpoint: Outpoint, coin: Coin) -> shapes.Json:
    height = coin.height or 0
    return {
        "txid": outpoint.txid,
        "vout": outpoint.vout,
        "scriptPubKey": coin.output.script.hex(),
        "desc": descriptor_of(coin.output.script),
        "amount": shapes.bitcoins(coin.output.value),
        "coinbase": coin.coinbase,
        "height": height,
        "blockhash": node.chain.active[height].hash,
        "confirmations": node.chain.tip.height - height + 1,
    }


def _would_accept(node: Node, text: str, rate_max: float | None) -> shapes.Json:
    transaction = decode(text)
    shape: shapes.Json = {"txid": transaction.txid, "wtxid": transaction.wtxid}
    try:
        entry = node.check(transaction).entry
    except TxRefused as refused:
        reason = "missing-inputs" if refused.missing_inputs else refused.reason
        return shape | {"allowed": False, "reject-reason": reason}
    if rate_max is not None and entry.fee > rate_max * entry.vsize:
        return shape | {"allowed": False, "reject-reason": "max-fee-exceeded"}
    fees = {
        "base": shapes.bitcoins(entry.fee),
        "effective-feerate": shapes.bitcoins(entry.fee * 1000 // entry.vsize),
        "effective-includes": [transaction.wtxid],
    }
    return shape | {"allowed": True, "vsize": entry.vsize, "fees": fees}


def _fee_rate_max(params: Params) -> float | None:
    """sat/vB; None where the caller's 0 asks for no limit."""
    rate = params.number("maxfeerate", FEE_RATE_MAX / _SATOSHIS_PER_VBYTE) * _SATOSHIS_PER_VBYTE
    return rate or None


def _waiting(node: Node, params: Params) -> Entry:
    entry = node.mempool.get(params.hash("txid"))
    if entry is None:
        raise RpcFault(INVALID_ADDRESS_OR_KEY, "Transaction not in mempool")
    return entry
