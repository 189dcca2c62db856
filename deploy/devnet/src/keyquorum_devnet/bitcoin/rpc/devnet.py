"""Calls that no bitcoind has: what a development network needs to be a stage for tests.

======================  ============================================  ==================================================
method                  parameters                                    result
======================  ============================================  ==================================================
devnet_fund             address, value (satoshis), count = 1,         ``outpoints`` [{txid, vout}], ``blockhash`` (null
                        confirm = true                                unless a block was mined to confirm them)
devnet_mine             blocks = 1                                    hashes; they pay the faucet and take what waits
devnet_reorg            depth, drop = [txid…], keep = [txid…],        ``disconnected`` and ``connected`` hashes, oldest
                        include = [hex…]                              first: ``depth`` blocks replaced by ``depth + 1``
devnet_setMining        enabled                                       whether the timer was adding blocks before
devnet_setFeeRate       rate (sat/vB; null: too little data)          what estimates answered with before
======================  ============================================  ==================================================

After a reorganisation the transactions of the old blocks wait again, as on any node: but for ``drop``, forgotten with their
descendants, and ``keep``, confirmed in the first new block together with ``include``, which may be a double spend of them.
"""

from typing import Any, Final

from keyquorum_devnet.bitcoin.faucet import Faucet, FaucetEmpty
from keyquorum_devnet.bitcoin.faults import INVALID_ADDRESS_OR_KEY, INVALID_PARAMETER, VERIFY_ERROR, RpcFault
from keyquorum_devnet.bitcoin.kernel import BlockRefused
from keyquorum_devnet.bitcoin.node import Node, UnknownBlock
from keyquorum_devnet.bitcoin.rpc.chain import BLOCKS_MAX
from keyquorum_devnet.bitcoin.rpc.params import Params, hash_of
from keyquorum_devnet.bitcoin.sending import decode
from keyquorum_devnet.bitcoin.transactions import Transaction

NAMED_MAX: Final = 5_000  # transactions named in one call
FEE_RATE_MAX: Final = 1_000_000  # sat/vB


def fund(node: Node, faucet: Faucet, params: Params) -> Any:
    """Send coins of the faucet."""
    script = params.script("address")
    try:
        outpoints = faucet.fund(script, params.integer("value"), params.integer("count", 1))
    except (ValueError, FaucetEmpty) as error:
        raise RpcFault(INVALID_PARAMETER, str(error)) from None
    mined = node.mine(faucet.script) if params.flag("confirm", default=True) else [None]
    return {"outpoints": [outpoint._asdict() for outpoint in outpoints], "blockhash": mined[0]}


def mine(node: Node, faucet: Faucet, params: Params) -> Any:
    """Mine what waits."""
    count = params.integer("blocks", 1)
    if count > BLOCKS_MAX:
        raise RpcFault(INVALID_PARAMETER, f"at most {BLOCKS_MAX} blocks in one call")
    return node.mine(faucet.script, count)


def reorg(node: Node, faucet: Faucet, params: Params) -> Any:
    """Replace the newest blocks."""
    depth = params.integer("depth")
    if depth > BLOCKS_MAX:
        raise RpcFault(INVALID_PARAMETER, f"at most {BLOCKS_MAX} blocks in one call")
    drop = [hash_of(text, "drop") for text in params.texts("drop", NAMED_MAX)]
    keep = {hash_of(text, "keep") for text in params.texts("keep", NAMED_MAX)}
    kept = _kept(node, depth, keep)
    include = [decode(text) for text in params.texts("include", NAMED_MAX)]
    try:
        old, new = node.reorganise(faucet.script, depth, drop=drop, include=[*kept, *include])
    except UnknownBlock as error:
        raise RpcFault(INVALID_PARAMETER, str(error)) from None
    except BlockRefused as refused:
        raise RpcFault(VERIFY_ERROR, f"the new blocks are not valid: {refused}") from None
    return {"disconnected": old, "connected": new}


def set_mining(node: Node, _faucet: Faucet, params: Params) -> Any:
    """Stop or resume the timer that adds blocks."""
    before, node.mining = node.mining, params.flag("enabled", default=True)
    return before


def set_fee_rate(node: Node, _faucet: Faucet, params: Params) -> Any:
    """What fee estimates answer from now on."""
    rate = params.number("rate", 0) if params.has("rate") else None
    if rate is not None and not 0 < rate <= FEE_RATE_MAX:
        raise RpcFault(INVALID_PARAMETER, f"a rate is above 0 and at most {FEE_RATE_MAX} sat/vB")
    before, node.fee_rate = node.fee_rate, rate
    return before


def _kept(node: Node, depth: int, keep: set[str]) -> list[Transaction]:
    """The named transactions of the newest blocks, in their order; :class:`RpcFault` if one is not there."""
    found = [
        transaction
        for block in node.chain.active[-depth:]
        for transaction in block.transactions[1:]
        if transaction.txid in keep
    ]
    missing = keep - {transaction.txid for transaction in found}
    if missing:
        raise RpcFault(INVALID_ADDRESS_OR_KEY, f"not in the newest {depth} blocks: {min(missing)}")
    return found
