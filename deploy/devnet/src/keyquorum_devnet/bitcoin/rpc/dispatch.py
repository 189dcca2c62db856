"""JSON-RPC 1.0 and 2.0 over HTTP with bitcoind's statuses: 2.0 answers 200 also with an error; 1.0 answers 404 for an unknown
method, 400 for a request that is none, 500 for any other error."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from keyquorum_devnet.bitcoin.faucet import Faucet
from keyquorum_devnet.bitcoin.faults import INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR, RpcFault
from keyquorum_devnet.bitcoin.node import Node
from keyquorum_devnet.bitcoin.rpc import chain, devnet, transactions
from keyquorum_devnet.bitcoin.rpc.params import Params

BATCH_MAX: Final = 1_000  # calls in one request

Call = Callable[[Node, Params], Any]
DevnetCall = Callable[[Node, Faucet, Params], Any]


@dataclass(frozen=True, slots=True)
class Method:
    """A call and the names of its parameters, in order."""

    call: Call
    names: Sequence[str] = ()


METHODS: Final[dict[str, Method]] = {
    "estimatesmartfee": Method(transactions.estimatesmartfee, ("conf_target", "estimate_mode")),
    "generateblock": Method(chain.generateblock, ("output", "transactions")),
    "generatetoaddress": Method(chain.generatetoaddress, ("nblocks", "address", "maxtries")),
    "getbestblockhash": Method(chain.getbestblockhash),
    "getblock": Method(chain.getblock, ("blockhash", "verbosity")),
    "getblockchaininfo": Method(chain.getblockchaininfo),
    "getblockcount": Method(chain.getblockcount),
    "getblockhash": Method(chain.getblockhash, ("height",)),
    "getblockheader": Method(chain.getblockheader, ("blockhash", "verbose")),
    "getmempoolentry": Method(transactions.getmempoolentry, ("txid",)),
    "getmempoolinfo": Method(transactions.getmempoolinfo),
    "getnetworkinfo": Method(chain.getnetworkinfo),
    "getrawmempool": Method(transactions.getrawmempool, ("verbose",)),
    "getrawtransaction": Method(transactions.getrawtransaction, ("txid", "verbosity", "blockhash")),
    "gettxout": Method(transactions.gettxout, ("txid", "n", "include_mempool")),
    "invalidateblock": Method(chain.invalidateblock, ("blockhash",)),
    "reconsiderblock": Method(chain.reconsiderblock, ("blockhash",)),
    "scantxoutset": Method(transactions.scantxoutset, ("action", "scanobjects")),
    "sendrawtransaction": Method(transactions.sendrawtransaction, ("hexstring", "maxfeerate", "maxburnamount")),
    "testmempoolaccept": Method(transactions.testmempoolaccept, ("rawtxs", "maxfeerate")),
}

DEVNET_METHODS: Final[dict[str, tuple[DevnetCall, Sequence[str]]]] = {
    "devnet_fund": (devnet.fund, ("address", "value", "count", "confirm")),
    "devnet_mine": (devnet.mine, ("blocks",)),
    "devnet_reorg": (devnet.reorg, ("depth", "drop", "keep", "include")),
    "devnet_setFeeRate": (devnet.set_fee_rate, ("rate",)),
    "devnet_setMining": (devnet.set_mining, ("enabled",)),
}


def answer(node: Node, faucet: Faucet, body: bytes) -> tuple[int, bytes]:
    """Status and body of the answer to a request."""
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        return _encoded(500, _refused(None, RpcFault(PARSE_ERROR, "Parse error")))
    if isinstance(request, list) and 0 < len(request) <= BATCH_MAX:
        return _encoded(200, [_one(node, faucet, item)[1] for item in request])
    return _encoded(*_one(node, faucet, request))


def _one(node: Node, faucet: Faucet, request: Any) -> tuple[int, dict[str, Any]]:
    try:
        result = _call(node, faucet, request)
    except RpcFault as fault:
        if _is_second(request):
            return 200, {"jsonrpc": "2.0", "error": fault.to_json(), "id": request.get("id")}
        status = {METHOD_NOT_FOUND: 404, INVALID_REQUEST: 400}.get(fault.code, 500)
        return status, _refused(request, fault)
    if _is_second(request):
        return 200, {"jsonrpc": "2.0", "result": result, "id": request.get("id")}
    return 200, {"result": result, "error": None, "id": request.get("id")}


def _call(node: Node, faucet: Faucet, request: Any) -> Any:
    if not isinstance(request, dict):
        raise RpcFault(INVALID_REQUEST, "Invalid Request object")
    name = request.get("method")
    if not isinstance(name, str):
        raise RpcFault(INVALID_REQUEST, "Method must be a string" if "method" in request else "Missing method")
    if (method := METHODS.get(name)) is not None:
        return method.call(node, Params(request.get("params"), method.names))
    if (extra := DEVNET_METHODS.get(name)) is not None:
        call, names = extra
        return call(node, faucet, Params(request.get("params"), names))
    raise RpcFault(METHOD_NOT_FOUND, "Method not found")


def _is_second(request: Any) -> bool:
    return isinstance(request, dict) and request.get("jsonrpc") == "2.0"


def _refused(request: Any, fault: RpcFault) -> dict[str, Any]:
    request_id = request.get("id") if isinstance(request, dict) else None
    return {"result": None, "error": fault.to_json(), "id": request_id}


def _encoded(status: int, value: Any) -> tuple[int, bytes]:
    return status, json.dumps(value, separators=(",", ":")).encode() + b"\n"
