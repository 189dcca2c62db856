"""JSON-RPC methods that read the ledger."""

from typing import Any

from solders.signature import Signature
from solders.transaction import VersionedTransaction

from keyquorum_devnet.solana.blocks import SLOTS_PER_EPOCH, Block, Commitment
from keyquorum_devnet.solana.faults import MIN_CONTEXT_SLOT_NOT_REACHED, RpcFault, invalid_params
from keyquorum_devnet.solana.genesis import GENESIS_HASH
from keyquorum_devnet.solana.ledger import Ledger
from keyquorum_devnet.solana.params import Config, Params
from keyquorum_devnet.solana.shapes import API_VERSION, account_json, in_context, status_json, transaction_json

ACCOUNT_DATA_MAX = 10 * 1024 * 1024  # bytes that an account may have
ACCOUNT_ENCODINGS = ("base58", "base64", "jsonParsed")
FEATURE_SET = 3294202862


def get_health(_ledger: Ledger, _params: Params) -> Any:
    """``ok``: there is one node and it is never behind."""
    return "ok"


def get_version(_ledger: Ledger, _params: Params) -> Any:
    """What this is."""
    return {"feature-set": FEATURE_SET, "solana-core": API_VERSION}


def get_genesis_hash(_ledger: Ledger, _params: Params) -> Any:
    """The chain's identity."""
    return GENESIS_HASH


def get_slot(ledger: Ledger, params: Params) -> Any:
    """The newest slot."""
    return view(ledger, params.config(0)).slot


def get_block_height(ledger: Ledger, params: Params) -> Any:
    """The newest block's height."""
    return view(ledger, params.config(0)).height


def get_epoch_info(ledger: Ledger, params: Params) -> Any:
    """Slot, height and epoch in one consistent view."""
    block = view(ledger, params.config(0))
    return {
        "absoluteSlot": block.slot,
        "blockHeight": block.height,
        "epoch": block.slot // SLOTS_PER_EPOCH,
        "slotIndex": block.slot % SLOTS_PER_EPOCH,
        "slotsInEpoch": SLOTS_PER_EPOCH,
        "transactionCount": ledger.transaction_count,
    }


def get_latest_blockhash(ledger: Ledger, params: Params) -> Any:
    """A blockhash to name in a transaction, and until when it may be."""
    block = view(ledger, params.config(0))
    value = {"blockhash": str(block.blockhash), "lastValidBlockHeight": block.last_valid_block_height}
    return in_context(block, value)


def is_blockhash_valid(ledger: Ledger, params: Params) -> Any:
    """Whether a transaction may still name a blockhash."""
    block = view(ledger, params.config(1))
    return in_context(block, ledger.blocks.accepts(params.blockhash(0), at=block))


def get_balance(ledger: Ledger, params: Params) -> Any:
    """Lamports of an address."""
    block = view(ledger, params.config(1))
    return in_context(block, ledger.balance(params.pubkey(0)))


def get_account_info(ledger: Ledger, params: Params) -> Any:
    """An account."""
    config = params.config(1)
    encoding = config.choice("encoding", "base58", *ACCOUNT_ENCODINGS)
    account = account_json(ledger.svm.get_account(params.pubkey(0)), encoding, config.data_slice())
    return in_context(view(ledger, config), account)


def get_multiple_accounts(ledger: Ledger, params: Params) -> Any:
    """Up to 100 accounts."""
    config = params.config(1)
    addresses = params.pubkeys(0)
    if len(addresses) > 100:
        raise invalid_params("Too many inputs provided; max 100")
    encoding = config.choice("encoding", "base64", *ACCOUNT_ENCODINGS)
    part = config.data_slice()
    accounts = [account_json(ledger.svm.get_account(address), encoding, part) for address in addresses]
    return in_context(view(ledger, config), accounts)


def get_minimum_balance_for_rent_exemption(ledger: Ledger, params: Params) -> Any:
    """Lamports that an account with so many bytes of data must hold."""
    size = params.integer(0)
    if size > ACCOUNT_DATA_MAX:
        raise invalid_params("an account has at most 10 MiB")
    return ledger.svm.minimum_balance_for_rent_exemption(size)


def get_fee_for_message(ledger: Ledger, params: Params) -> Any:
    """Lamports that a message would cost; null where its blockhash is not valid."""
    block = view(ledger, params.config(1))
    message = params.message(0)
    if not ledger.blocks.accepts(message.recent_blockhash, at=block):
        return in_context(block, None)
    unsigned = [Signature.default()] * message.header.num_required_signatures
    transaction = VersionedTransaction.populate(message, unsigned)
    outcome = ledger.simulate(transaction, verify_signatures=False, any_blockhash=True)
    return in_context(block, outcome.fee)


def get_recent_prioritization_fees(ledger: Ledger, params: Params) -> Any:
    """The least compute-unit price that got a transaction into each of the last 150 slots."""
    prices = ledger.recent_prices(params.pubkeys(0))
    return [{"prioritizationFee": price, "slot": slot} for slot, price in sorted(prices.items())]


def get_signature_statuses(ledger: Ledger, params: Params) -> Any:
    """Where transactions stand; null for those never included."""
    history = params.config(1).flag("searchTransactionHistory")
    tip = ledger.blocks.tip
    records = [ledger.record(signature, history=history) for signature in params.signatures(0)]
    return in_context(
        tip,
        [None if record is None else status_json(record, tip, ledger.commitment_of(record)) for record in records],
    )


def get_transaction(ledger: Ledger, params: Params) -> Any:
    """An included transaction; null until it has the commitment asked for."""
    config = params.config(1)
    encoding = config.choice("encoding", "json", "json", "base58", "base64")
    least = config.commitment()
    record = ledger.record(params.signature(0))
    if record is None or record.slot > ledger.blocks.at(least).slot:
        return None
    return transaction_json(record, encoding, config.integer("maxSupportedTransactionVersion"))


def view(ledger: Ledger, config: Config) -> Block:
    """The block that a call asks to be answered at."""
    block = ledger.blocks.at(config.commitment(default=Commitment.FINALIZED))
    least = config.integer("minContextSlot")
    if least is not None and block.slot < least:
        raise RpcFault(
            MIN_CONTEXT_SLOT_NOT_REACHED, "Minimum context slot has not been reached", {"contextSlot": block.slot}
        )
    return block
