"""Transactions: money leaves by these and by nothing else."""

import base64
import time
from dataclasses import replace
from typing import Final

from aiohttp import web

from keyquorum_gateway.chains import DescribedChain
from keyquorum_gateway.identifiers import TRANSACTION, new_identifier
from keyquorum_gateway.models.operations import OperationModel
from keyquorum_gateway.models.pages import NoQuery, PageOf, TransactionsQuery
from keyquorum_gateway.models.transactions import (
    CreateTransactionRequest,
    ReplaceTransactionRequest,
    TransactionModel,
)
from keyquorum_gateway.operations.engine import LiveOperation
from keyquorum_gateway.operations.record import Operation, OperationKind
from keyquorum_gateway.problems import FieldError, Problem
from keyquorum_gateway.routes.answers import answer, operation_answer
from keyquorum_gateway.routes.endpoint import Endpoint, Idempotency, RateClass
from keyquorum_gateway.routes.requests import page_request, parse_body, parse_query, wait_budget_s
from keyquorum_gateway.routes.resumption import resumable_ceremonies, resumed_operation
from keyquorum_gateway.services import CLAIM, PRINCIPAL, SERVICES, Services
from keyquorum_gateway.state.api_keys import Scope
from keyquorum_gateway.state.transactions import ExternalIdTaken, Purpose, Transaction, TransactionState, Transfer
from keyquorum_gateway.state.wallets import Account, Initiation, Wallet
from keyquorum_plugin_api.codec import UnsignedTransaction

_TRIES_MAX: Final = 16


async def create_transaction(request: web.Request) -> web.Response:
    """Build, have it signed, broadcast; 202 with the intent to sign where the client initiates."""
    wanted = await parse_body(request, CreateTransactionRequest)
    services, tenant_id = request.app[SERVICES], request[PRINCIPAL].tenant_id
    account = services.wallets.account(wanted.account_id, tenant_id)
    wallet = services.wallets.wallet(account.wallet_id, tenant_id) if account else None
    if account is None or wallet is None:
        raise Problem("not-found", "the tenant has no such account")
    chain = services.chains.find(account.chain, tenant_id, wallet_id=wallet.id).described()
    transfer = _transfer(services, wanted, chain, account)
    return await launch_transaction(request, wallet, account, transfer, external_id=wanted.external_id)


async def replace_transaction(request: web.Request) -> web.Response:
    """Build another transaction in the place of one that is not included yet, and go on as with any."""
    wanted = await parse_body(request, ReplaceTransactionRequest)
    services, tenant_id = request.app[SERVICES], request[PRINCIPAL].tenant_id
    replaced = services.transactions.get(request.match_info["transaction_id"], tenant_id)
    account = services.wallets.account(replaced.account_id, tenant_id) if replaced else None
    wallet = services.wallets.wallet(account.wallet_id, tenant_id) if account else None
    if replaced is None or account is None or wallet is None:
        raise Problem("not-found", "the tenant has no such transaction")
    chain = services.chains.find(account.chain, tenant_id, wallet_id=wallet.id, at="broadcast").described()
    earlier = resumed_operation(request)
    _require_replaceable(services, replaced, earlier.transaction_id if earlier else "")
    purpose = Purpose(wanted.purpose)
    transfer = replace(replaced.transfer, submit=True, options=dict(wanted.options), payload=b"")
    if purpose is Purpose.CANCELLATION:
        transfer = Transfer(account.chain, chain.info.native_asset, 0, account.address, options=dict(wanted.options))
    return await launch_transaction(
        request, wallet, account, transfer, external_id=wanted.external_id, purpose=purpose, replaces=replaced.id
    )


async def launch_transaction(
    request: web.Request,
    wallet: Wallet,
    account: Account,
    transfer: Transfer,
    *,
    external_id: str | None,
    purpose: Purpose = Purpose.TRANSFER,
    replaces: str = "",
) -> web.Response:
    """Start the operation of a transaction, or go on with that of an earlier try; answer within the wait budget."""
    services, tenant_id = request.app[SERVICES], wallet.tenant_id
    earlier = resumed_operation(request)
    transaction = services.transactions.get(earlier.transaction_id, tenant_id) if earlier else None
    if transaction is None:
        _require_unused(services, tenant_id, external_id)
    client = wallet.initiation is Initiation.CLIENT
    if client:
        services.engine.require_room_to_wait(tenant_id)
    transaction_id = transaction.id if transaction else new_identifier(TRANSACTION)
    ceremonies = resumable_ceremonies(earlier)
    shown = _shown(earlier, transaction, resumes=bool(ceremonies))
    live = services.engine.open(
        OperationKind.TRANSACTION,
        tenant_id,
        request.get(CLAIM),
        wallet_id=wallet.id,
        account_id=account.id,
        transaction_id=transaction_id,
        client_initiated=client,
        ceremonies=ceremonies,
    )
    live.wallet, live.account = wallet, account
    begun = _begin(transaction, live, account, transfer, external_id)
    live.transaction = replace(begun, purpose=purpose, replaces=replaces, shown=shown)
    services.engine.launch(live)

    def made() -> web.Response:
        if live.transaction is None:
            raise Problem("internal", operation_id=live.operation.id)
        location = f"/v1/transactions/{transaction_id}"
        return answer(TransactionModel.of(live.transaction), status=201, location=location)

    return await operation_answer(services.engine, live, wait_budget_s(request), made)


async def list_transactions(request: web.Request) -> web.Response:
    """The tenant's transactions."""
    query = parse_query(request, TransactionsQuery)
    stored = request.app[SERVICES].transactions
    page = stored.page(request[PRINCIPAL].tenant_id, page_request(query), query.account_id)
    return answer(
        PageOf[TransactionModel](
            items=tuple(TransactionModel.of(each, stored.replacement(each.id)) for each in page.items),
            next_page_token=page.next_page_token or None,
        )
    )


async def get_transaction(request: web.Request) -> web.Response:
    """One transaction, as far as it is known."""
    parse_query(request, NoQuery)
    stored = request.app[SERVICES].transactions
    transaction = stored.get(request.match_info["transaction_id"], request[PRINCIPAL].tenant_id)
    if transaction is None:
        raise Problem("not-found", "the tenant has no such transaction")
    return answer(TransactionModel.of(transaction, stored.replacement(transaction.id)))


def _transfer(
    services: Services, wanted: CreateTransactionRequest, chain: DescribedChain, account: Account
) -> Transfer:
    """The transfer in its canonical spelling."""
    if wanted.fee_account_id is not None:
        payer = services.wallets.account(wanted.fee_account_id, account.tenant_id)
        if payer is None or (payer.key_id, payer.chain) != (account.key_id, account.chain) or payer.id == account.id:
            detail = "not another account of the wallet on this chain"
            error = FieldError("/fee_account_id", "not-a-fee-account", detail)
            raise Problem("validation-failed", detail, errors=[error])
    return Transfer(
        chain=chain.chain,
        asset=chain.codec.codec.canonical_asset(wanted.asset or chain.info.native_asset, chain.chain),
        amount=int(wanted.amount),
        destination=chain.codec.codec.validate_address(wanted.destination, chain.chain),
        memo=wanted.memo,
        submit=wanted.submit,
        options=dict(wanted.options),
        fee_account_id=wanted.fee_account_id or "",
        payload=base64.b64decode(wanted.payload) if wanted.payload else b"",
    )


def _require_replaceable(services: Services, replaced: Transaction, resumed_id: str) -> None:
    """Only what was broadcast, is not included and has nothing in its place yet; the newest in a chain of replacements."""
    if replaced.state is not TransactionState.SUBMITTED or replaced.unsigned is None or replaced.confirmations:
        raise Problem("not-replaceable", f"the transaction is {replaced.state.value}")
    other = services.transactions.replacement(replaced.id)
    if other is not None and other.state is TransactionState.FAILED and not other.reversible:
        other = None  # the node refused it; what comes next has to exclude it all the same
    running = services.engine.live_transactions()
    other = next((each for each in running if each.replaces == replaced.id and each.id != resumed_id), other)
    if other is not None and other.id != resumed_id:
        detail = f"transaction {other.id} is in its place"
        raise Problem("already-replaced", detail, extensions={"transaction_id": other.id})


def _require_unused(services: Services, tenant_id: str, external_id: str | None) -> None:
    taken = services.transactions.by_external_id(tenant_id, external_id) if external_id else None
    if taken is not None:
        detail = ExternalIdTaken(taken.id).detail
        raise Problem("external-id-taken", detail, extensions={"transaction_id": taken.id})


def _shown(
    earlier: Operation | None, transaction: Transaction | None, *, resumes: bool
) -> tuple[UnsignedTransaction, ...]:
    """The payloads of earlier tries that parties may have signed and that the next one has to exclude. Their intents have
    expired; what was signed has not, and whoever holds it can broadcast it."""
    if earlier is None or transaction is None:
        return ()
    last = transaction.unsigned
    if resumes or last is None or not any(ceremony.sent for ceremony in earlier.ceremonies):
        return transaction.shown
    if len(transaction.shown) >= _TRIES_MAX:
        raise Problem("outcome-unknown", "too many earlier tries may have been signed", operation_id=earlier.id)
    return (*transaction.shown, last)


def _begin(
    earlier: Transaction | None,
    live: LiveOperation,
    account: Account,
    transfer: Transfer,
    external_id: str | None,
) -> Transaction:
    """A new transaction; or the earlier one, whose payload is kept exactly as long as its intent can still be carried out."""
    now_ms = time.time_ns() // 1_000_000
    resumes = earlier is not None and bool(live.operation.ceremonies)
    return Transaction(
        id=live.operation.transaction_id,
        tenant_id=account.tenant_id,
        account_id=account.id,
        operation_id=live.operation.id,
        external_id=external_id,
        state=TransactionState.SIGNING if resumes else TransactionState.BUILDING,
        transfer=transfer,
        created_ms=earlier.created_ms if earlier else now_ms,
        updated_ms=now_ms,
        unsigned=earlier.unsigned if earlier and resumes else None,
        fee=earlier.fee if earlier and resumes else 0,
        fee_asset=earlier.fee_asset if earlier and resumes else "",
    )


ENDPOINTS: Final = (
    Endpoint(
        "POST",
        "/v1/transactions",
        create_transaction,
        summary="Move an amount to an address",
        description=(
            "Builds the transaction, checks with the codec that it does what was asked and nothing else, has it signed by"
            " the parties and broadcasts it. The signed bytes are stored before they are broadcast. With `submit: false`"
            " they are returned instead. For a client-initiated wallet the answer is 202 and the intent to sign."
        ),
        tag="transactions",
        scope=Scope.TRANSACT,
        rate=RateClass.WRITE,
        idempotency=Idempotency.REQUIRED,
        body=CreateTransactionRequest,
        responses={201: TransactionModel, 202: OperationModel},
        problems=(403, 404, 409, 422, 429, 502, 503, 504),
        waits=True,
    ),
    Endpoint(
        "POST",
        "/v1/transactions/{transaction_id}/replacements",
        replace_transaction,
        summary="Speed up or cancel a transaction",
        description=(
            "Puts a new transaction in the place of one that was broadcast and is not included: the same transfer for a"
            " higher fee, or nothing at all. The codec shows that the chain can include only one of both; which one it"
            " was, their states tell."
        ),
        tag="transactions",
        scope=Scope.TRANSACT,
        rate=RateClass.WRITE,
        idempotency=Idempotency.REQUIRED,
        body=ReplaceTransactionRequest,
        responses={201: TransactionModel, 202: OperationModel},
        problems=(403, 404, 409, 422, 429, 502, 503, 504),
        waits=True,
    ),
    Endpoint(
        "GET",
        "/v1/transactions",
        list_transactions,
        summary="List transactions",
        tag="transactions",
        scope=Scope.READ,
        rate=RateClass.READ,
        query=TransactionsQuery,
        responses={200: PageOf[TransactionModel]},
    ),
    Endpoint(
        "GET",
        "/v1/transactions/{transaction_id}",
        get_transaction,
        summary="Get a transaction",
        tag="transactions",
        scope=Scope.READ,
        rate=RateClass.READ,
        query=NoQuery,
        responses={200: TransactionModel},
        problems=(404,),
    ),
)
