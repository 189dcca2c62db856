"""JSON-RPC methods about what happened to an address, and about tokens."""

from typing import Any

from solders.account import Account

from keyquorum_devnet.solana import tokens
from keyquorum_devnet.solana.faults import invalid_params
from keyquorum_devnet.solana.ledger import Ledger
from keyquorum_devnet.solana.params import Params
from keyquorum_devnet.solana.queries import view
from keyquorum_devnet.solana.shapes import account_json, in_context, signature_json, token_amount_json

SIGNATURES_MAX = 1_000  # in one answer, the validator's own limit


def get_first_available_block(ledger: Ledger, _params: Params) -> Any:
    """The oldest slot of which every transaction is remembered."""
    return ledger.first_slot


def get_signatures_for_address(ledger: Ledger, params: Params) -> Any:
    """Transactions that name an address, newest first: from the one before ``before`` down to the one after ``until``."""
    config = params.config(1)
    before, until = config.signature("before"), config.signature("until")
    limit = config.integer("limit")
    if limit is None:
        limit = SIGNATURES_MAX
    if not 1 <= limit <= SIGNATURES_MAX:
        raise invalid_params(f"a limit between 1 and {SIGNATURES_MAX}")
    newest = view(ledger, config).slot
    found: list[dict[str, Any]] = []
    begun = before is None
    for record in ledger.history(params.pubkey(0)):
        if record.signature == until or len(found) == limit:
            break
        if begun and record.slot <= newest:
            found.append(signature_json(record, ledger.commitment_of(record)))
        begun = begun or record.signature == before
    return found


def get_token_accounts_by_owner(ledger: Ledger, params: Params) -> Any:
    """Accounts in which an owner holds tokens, of one mint or of one token program."""
    owner, wanted, config = params.pubkey(0), params.config(1), params.config(2)
    mint, program = wanted.pubkey("mint"), wanted.pubkey("programId")
    if (mint is None) == (program is None):
        raise invalid_params("either a mint or a programId")
    encoding = config.choice("encoding", "base64", "base58", "base64", "jsonParsed")
    part = config.data_slice()

    def is_wanted(account: Account) -> bool:
        held, holder, _amount = tokens.holding(account)
        return holder == owner and (mint is None or held == mint)

    programs = [program] if program is not None else list(tokens.PROGRAMS.values())
    if any(one not in tokens.PROGRAMS.values() for one in programs):
        raise invalid_params("unrecognized Token program id")
    found = [
        {"account": account_json(account, encoding, part), "pubkey": str(address)}
        for one in programs
        for address, account in ledger.svm.get_program_accounts(one)
        if tokens.is_token_account(account) and is_wanted(account)
    ]
    return in_context(view(ledger, config), found)


def get_token_account_balance(ledger: Ledger, params: Params) -> Any:
    """What a token account holds."""
    account = ledger.svm.get_account(params.pubkey(0))
    if account is None or not tokens.is_token_account(account):
        raise invalid_params("could not find account")
    mint, _owner, amount = tokens.holding(account)
    decimals = tokens.decimals_of(ledger.svm, mint) or 0
    return in_context(view(ledger, params.config(1)), token_amount_json(amount, decimals))


def get_token_supply(ledger: Ledger, params: Params) -> Any:
    """How much there is of a token."""
    mint = params.pubkey(0)
    account, decimals = ledger.svm.get_account(mint), tokens.decimals_of(ledger.svm, mint)
    if account is None or decimals is None:
        raise invalid_params("could not find mint")
    supply = int.from_bytes(bytes(account.data[36:44]), "little")
    return in_context(view(ledger, params.config(1)), token_amount_json(supply, decimals))
