"""Accounts: attested addresses, and their balances."""

from functools import lru_cache
from typing import Final

from aiohttp import web

from keyquorum_gateway.adapter_calls import READ_S, adapter_call
from keyquorum_gateway.models.accounts import AccountModel, BalanceModel, BalancesModel, CreateAccountRequest
from keyquorum_gateway.models.pages import NoQuery, PageOf, PageQuery
from keyquorum_gateway.problems import Problem
from keyquorum_gateway.routes.answers import answer
from keyquorum_gateway.routes.endpoint import Endpoint, Idempotency, RateClass
from keyquorum_gateway.routes.requests import page_request, parse_body, parse_query
from keyquorum_gateway.services import PRINCIPAL, SERVICES, Services
from keyquorum_gateway.state.api_keys import Scope
from keyquorum_gateway.state.wallets import Account, Wallet, WalletState


async def create_account(request: web.Request) -> web.Response:
    """Have the parties attest an address; an account that exists already is returned with 200."""
    wanted = await parse_body(request, CreateAccountRequest)
    services, tenant_id = request.app[SERVICES], request[PRINCIPAL].tenant_id
    wallet = _wallet(services, request.match_info["wallet_id"], tenant_id)
    if wallet.state is not WalletState.ACTIVE:
        raise Problem("wallet-not-active", f"the wallet is {wallet.state.value}")
    chain = services.chains.find(wanted.chain, tenant_id, wallet_id=wallet.id).described()
    index = services.wallets.next_position(wallet.id, chain.chain) if wanted.index is None else wanted.index
    existing = services.wallets.account_at(wallet.id, chain.chain, index)
    account = existing or await services.accounts.open(wallet, chain, index)
    return answer(AccountModel.of(account), status=200 if existing else 201, location=f"/v1/accounts/{account.id}")


async def list_wallet_accounts(request: web.Request) -> web.Response:
    """The accounts of one wallet."""
    services, tenant_id = request.app[SERVICES], request[PRINCIPAL].tenant_id
    return _page(request, _wallet(services, request.match_info["wallet_id"], tenant_id).id)


async def list_accounts(request: web.Request) -> web.Response:
    """The tenant's accounts."""
    return _page(request, None)


async def get_account(request: web.Request) -> web.Response:
    """One account."""
    parse_query(request, NoQuery)
    return web.Response(body=_account_body(_account(request)), content_type="application/json")


async def get_balances(request: web.Request) -> web.Response:
    """What the chain's node says that the address holds."""
    parse_query(request, NoQuery)
    account = _account(request)
    chain = request.app[SERVICES].chains.find(account.chain, account.tenant_id, at="read").ready()
    async with adapter_call(chain.chain, "get_balances", READ_S):
        balances = await chain.adapter.get_balances(account.address)
    return answer(
        BalancesModel(
            account_id=account.id,
            chain=account.chain,
            address=account.address,
            balances=tuple(BalanceModel.of(balance) for balance in balances),
        )
    )


@lru_cache(maxsize=4096)
def _account_body(account: Account) -> bytes:
    """An account as JSON. It never changes once it is made, so it is written once."""
    return AccountModel.of(account).model_dump_json().encode()


def _page(request: web.Request, wallet_id: str | None) -> web.Response:
    query = parse_query(request, PageQuery)
    page = request.app[SERVICES].wallets.account_page(request[PRINCIPAL].tenant_id, page_request(query), wallet_id)
    return answer(
        PageOf[AccountModel](
            items=tuple(AccountModel.of(account) for account in page.items),
            next_page_token=page.next_page_token or None,
        )
    )


def _wallet(services: Services, wallet_id: str, tenant_id: str) -> Wallet:
    wallet = services.wallets.wallet(wallet_id, tenant_id)
    if wallet is None:
        raise Problem("not-found", "the tenant has no such wallet")
    return wallet


def _account(request: web.Request) -> Account:
    account = request.app[SERVICES].wallets.account(request.match_info["account_id"], request[PRINCIPAL].tenant_id)
    if account is None:
        raise Problem("not-found", "the tenant has no such account")
    return account


ENDPOINTS: Final = (
    Endpoint(
        "POST",
        "/v1/wallets/{wallet_id}/accounts",
        create_account,
        summary="Create an account",
        description=(
            "At least t parties derive the address, each with the codec that its operator pinned, and sign it; the gateway"
            " derives it too. Index 0 is the wallet's key itself, index i its child at path [i]."
        ),
        tag="accounts",
        scope=Scope.TRANSACT,
        rate=RateClass.CREATE,
        idempotency=Idempotency.ACCEPTED,
        body=CreateAccountRequest,
        responses={200: AccountModel, 201: AccountModel},
        problems=(403, 404, 409, 422, 429, 502, 503, 504),
    ),
    Endpoint(
        "GET",
        "/v1/wallets/{wallet_id}/accounts",
        list_wallet_accounts,
        summary="List a wallet's accounts",
        tag="accounts",
        scope=Scope.READ,
        rate=RateClass.READ,
        query=PageQuery,
        responses={200: PageOf[AccountModel]},
        problems=(404,),
    ),
    Endpoint(
        "GET",
        "/v1/accounts",
        list_accounts,
        summary="List accounts",
        tag="accounts",
        scope=Scope.READ,
        rate=RateClass.READ,
        query=PageQuery,
        responses={200: PageOf[AccountModel]},
    ),
    Endpoint(
        "GET",
        "/v1/accounts/{account_id}",
        get_account,
        summary="Get an account",
        tag="accounts",
        scope=Scope.READ,
        rate=RateClass.READ,
        query=NoQuery,
        responses={200: AccountModel},
        problems=(404,),
    ),
    Endpoint(
        "GET",
        "/v1/accounts/{account_id}/balances",
        get_balances,
        summary="Get an account's balances",
        tag="accounts",
        scope=Scope.READ,
        rate=RateClass.READ,
        query=NoQuery,
        responses={200: BalancesModel},
        problems=(403, 404, 502, 503),
    ),
)
