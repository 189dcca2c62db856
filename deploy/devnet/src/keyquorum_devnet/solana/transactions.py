"""JSON-RPC methods that simulate and send transactions, and the controls that only a development chain has."""

from typing import Any

from solders.compute_budget import set_compute_unit_limit
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import Message
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from keyquorum_devnet.solana import tokens
from keyquorum_devnet.solana.blocks import Commitment
from keyquorum_devnet.solana.faults import (
    PREFLIGHT_FAILURE,
    SIGNATURE_VERIFICATION_FAILURE,
    RpcFault,
    error_text,
    invalid_params,
)
from keyquorum_devnet.solana.ledger import Ledger
from keyquorum_devnet.solana.params import Params
from keyquorum_devnet.solana.shapes import in_context, simulation_json

FAUCET_UNITS = 100_000  # compute units; each gift asks for one more than the last, so that no two are the same message
DECIMALS_MAX = 18
ADVANCE_SLOTS_MAX = 100_000


def simulate_transaction(ledger: Ledger, params: Params) -> Any:
    """Execute a transaction without effect."""
    config = params.config(1)
    transaction = params.transaction(0, config.choice("encoding", "base58", "base58", "base64"))
    verify = config.flag("sigVerify")
    replace = config.flag("replaceRecentBlockhash")
    if verify and replace:
        raise invalid_params("sigVerify may not be used with replaceRecentBlockhash")
    if verify:
        _verify(transaction)
    block = ledger.blocks.at(config.commitment())
    outcome = ledger.simulate(transaction, verify_signatures=verify, at=block, any_blockhash=replace)
    return in_context(block, simulation_json(outcome, block if replace else None))


def send_transaction(ledger: Ledger, params: Params) -> Any:
    """Send a transaction; its id. Without preflight, a transaction that cannot be included is lost silently."""
    config = params.config(1)
    transaction = params.transaction(0, config.choice("encoding", "base58", "base58", "base64"))
    if not config.flag("skipPreflight"):
        _verify(transaction)
        block = ledger.blocks.at(config.commitment("preflightCommitment"))
        outcome = ledger.simulate(transaction, verify_signatures=True, at=block)
        if outcome.error is not None:
            raise RpcFault(
                PREFLIGHT_FAILURE,
                f"Transaction simulation failed: {error_text(outcome.error)}",
                simulation_json(outcome),
            )
    ledger.send(transaction)
    return str(transaction.signatures[0])


def request_airdrop(ledger: Ledger, params: Params) -> Any:
    """Move lamports from the faucet; the transaction's id."""
    moved = TransferParams(from_pubkey=ledger.faucet.pubkey(), to_pubkey=params.pubkey(0), lamports=params.integer(1))
    return _from_faucet(ledger, [transfer(moved)])


def create_mint(ledger: Ledger, params: Params) -> Any:
    """Control: make a token; its mint. Parameters: decimals (default 6), and ``{"program": "spl-token-2022"}`` for a token of
    the newer program."""
    decimals = params.integer(0, default=6)
    if decimals > DECIMALS_MAX:
        raise invalid_params(f"at most {DECIMALS_MAX} decimals")
    program = tokens.PROGRAMS[params.config(1).choice("program", "spl-token", *tokens.PROGRAMS)]
    mint, faucet = Keypair(), ledger.faucet.pubkey()
    rent = ledger.svm.minimum_balance_for_rent_exemption(tokens.MINT_BYTES)
    _from_faucet(ledger, tokens.make_mint(faucet, mint.pubkey(), program, decimals, rent), mint)
    return str(mint.pubkey())


def mint_tokens(ledger: Ledger, params: Params) -> Any:
    """Control: give an owner minor units of a token that ``devnet_createMint`` made; the transaction's id."""
    mint, owner, amount = params.pubkey(0), params.pubkey(1), params.integer(2)
    account, decimals = ledger.svm.get_account(mint), tokens.decimals_of(ledger.svm, mint)
    if account is None or decimals is None:
        raise invalid_params("there is no such mint")
    made = tokens.make_tokens(ledger.faucet.pubkey(), owner, account.owner, mint, amount=amount, decimals=decimals)
    return _from_faucet(ledger, made)


def advance_slots(ledger: Ledger, params: Params) -> Any:
    """Control: let time pass by some slots (default 1) at once; the newest slot."""
    slots = params.integer(0, default=1)
    if not 1 <= slots <= ADVANCE_SLOTS_MAX:
        raise invalid_params(f"between 1 and {ADVANCE_SLOTS_MAX} slots")
    ledger.advance(slots)
    return ledger.blocks.tip.slot


def drop_transactions(ledger: Ledger, params: Params) -> Any:
    """Control: lose the next transactions after they were accepted, as leaders under load do; how many will be."""
    ledger.drop_next = params.integer(0)
    return ledger.drop_next


def _verify(transaction: VersionedTransaction) -> None:
    if not all(transaction.verify_with_results()):
        raise RpcFault(SIGNATURE_VERIFICATION_FAILURE, "Transaction signature verification failure")


def _from_faucet(ledger: Ledger, instructions: list[Instruction], *signers: Keypair) -> str:
    limit = set_compute_unit_limit(FAUCET_UNITS + ledger.next_airdrop())
    blockhash = ledger.blocks.at(Commitment.CONFIRMED).blockhash
    message = Message.new_with_blockhash([limit, *instructions], ledger.faucet.pubkey(), blockhash)
    transaction = VersionedTransaction(message, [ledger.faucet, *signers])
    outcome = ledger.simulate(transaction, verify_signatures=True)
    if outcome.error is not None:
        raise invalid_params(f"airdrop refused: {error_text(outcome.error)}")
    ledger.send(transaction)
    return str(transaction.signatures[0])
