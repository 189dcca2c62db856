"""Wallets: their keys, and what proves them."""

import time
from functools import lru_cache
from typing import Final

from aiohttp import web

from keyquorum_gateway.certificates import VerifiedKey
from keyquorum_gateway.chains import DescribedChain
from keyquorum_gateway.config import LimitConfig
from keyquorum_gateway.identifiers import KEY, WALLET, new_identifier
from keyquorum_gateway.intents import AssetLimit, KeyOrder, policy_from_limits
from keyquorum_gateway.models.base import to_base64
from keyquorum_gateway.models.operations import OperationModel
from keyquorum_gateway.models.pages import NoQuery, PageOf, WalletsQuery
from keyquorum_gateway.models.wallets import (
    AddressAttestationModel,
    ClientInitiation,
    CreateWalletRequest,
    KeyCertificateModel,
    LimitModel,
    NodeSignatureModel,
    WalletCertificateModel,
    WalletModel,
)
from keyquorum_gateway.operations.record import OperationKind, WalletPlan
from keyquorum_gateway.problems import Problem
from keyquorum_gateway.routes.answers import answer, operation_answer
from keyquorum_gateway.routes.endpoint import Endpoint, Idempotency, RateClass
from keyquorum_gateway.routes.requests import page_request, parse_body, parse_query, wait_budget_s
from keyquorum_gateway.services import CLAIM, PRINCIPAL, SERVICES, Services
from keyquorum_gateway.state.api_keys import Scope
from keyquorum_gateway.state.wallets import Account, Initiation, Wallet, WalletState
from keyquorum_protos.wallet.v1 import certificate_pb2


async def create_wallet(request: web.Request) -> web.Response:
    """Order the wallet's keys; 202 with the intent to sign where the client initiates."""
    wanted = await parse_body(request, CreateWalletRequest)
    services, principal = request.app[SERVICES], request[PRINCIPAL]
    tenant_id = principal.tenant_id
    client = isinstance(wanted.initiation, ClientInitiation)
    initiator = services.key.public
    if isinstance(wanted.initiation, ClientInitiation):
        initiator = bytes.fromhex(wanted.initiation.public_key)
    _require_root_key(services, tenant_id, initiator, client=client)
    wallet_id = new_identifier(WALLET)
    chains = _chains(services, tenant_id, wallet_id, wanted.chains)
    if client:
        services.engine.require_room_to_wait(tenant_id)
    live = services.engine.open(
        OperationKind.WALLET,
        tenant_id,
        request.get(CLAIM),
        wallet_id=wallet_id,
        client_initiated=client,
        plan=_plan(services, wanted, wallet_id, initiator, chains),
    )
    live.wallet = Wallet(
        id=wallet_id,
        tenant_id=tenant_id,
        user_id=wanted.user_id,
        name=wanted.name,
        state=WalletState.CREATING,
        initiation=Initiation.CLIENT if client else Initiation.GATEWAY,
        initiator_key=initiator,
        chains=tuple(chain.chain for chain in chains),
        operation_id=live.operation.id,
        created_ms=time.time_ns() // 1_000_000,
    )
    services.engine.launch(live)

    def made() -> web.Response:
        return answer(
            _model(services, _wallet(services, wallet_id, tenant_id)), status=201, location=f"/v1/wallets/{wallet_id}"
        )

    return await operation_answer(services.engine, live, wait_budget_s(request), made)


async def list_wallets(request: web.Request) -> web.Response:
    """The tenant's wallets."""
    query = parse_query(request, WalletsQuery)
    services = request.app[SERVICES]
    page = services.wallets.page(request[PRINCIPAL].tenant_id, page_request(query), query.user_id)
    return answer(
        PageOf[WalletModel](
            items=tuple(_model(services, wallet) for wallet in page.items),
            next_page_token=page.next_page_token or None,
        )
    )


async def get_wallet(request: web.Request) -> web.Response:
    """One wallet: who initiates, and what that protects."""
    parse_query(request, NoQuery)
    services = request.app[SERVICES]
    wallet = _wallet(services, request.match_info["wallet_id"], request[PRINCIPAL].tenant_id)
    body = _body(wallet, _keys(services, wallet), services.wallets.accounts_of(wallet.id))
    return web.Response(body=body, content_type="application/json")


async def get_certificate(request: web.Request) -> web.Response:
    """What the parties signed about the wallet, byte for byte."""
    parse_query(request, NoQuery)
    services = request.app[SERVICES]
    wallet = _wallet(services, request.match_info["wallet_id"], request[PRINCIPAL].tenant_id)
    return answer(
        WalletCertificateModel(
            wallet_id=wallet.id,
            cell_id=services.roster.cell_id,
            roster_hash=services.roster.roster_hash.hex(),
            keys=tuple(_certificate(key.id, key.scheme, key.certificate) for key in services.wallets.keys(wallet.id)),
            addresses=tuple(
                _attestation(account.id, account.key_id, account.position, account.attestation)
                for account in services.wallets.accounts_of(wallet.id)
            ),
        )
    )


def _require_root_key(services: Services, tenant_id: str, initiator: bytes, *, client: bool) -> None:
    """Say early what every party would say: a key is ordered by a root key of an enrolled tenant."""
    if not services.roster.has_tenant(tenant_id):
        raise Problem("tenant-not-enrolled", f"the roster has no tenant {tenant_id}")
    if not services.roster.is_root_key(tenant_id, initiator):
        whose = "the client's key" if client else "this gateway's key"
        raise Problem("policy-denied", f"{whose} is not a root key of the tenant in the roster")


def _chains(services: Services, tenant_id: str, wallet_id: str, names: tuple[str, ...]) -> tuple[DescribedChain, ...]:
    """The chains, each once, in the order they were named."""
    asked = (services.chains.find(name, tenant_id, wallet_id=wallet_id).described() for name in names)
    return tuple({chain.chain: chain for chain in asked}.values())


def _plan(
    services: Services,
    wanted: CreateWalletRequest,
    wallet_id: str,
    initiator: bytes,
    chains: tuple[DescribedChain, ...],
) -> WalletPlan:
    """One key per scheme. Limits that are not given are the configured ones of the chains that were named, and no others."""
    if wanted.policy.allow_raw and not services.config.wallets.allow_raw:
        raise Problem("raw-not-allowed", "this gateway makes no keys that sign raw messages")
    schemes = dict.fromkeys([*(chain.codec.codec.scheme for chain in chains), *wanted.schemes])
    nodes = services.roster.nodes
    threshold = services.config.wallets.threshold or len(nodes) // 2 + 1
    if wanted.policy.limits is not None:
        limits = {scheme: [_limit(services, limit) for limit in wanted.policy.limits] for scheme in schemes}
    else:
        limits = {
            scheme: [
                _limit(services, limit) for c in chains if c.codec.codec.scheme == scheme for limit in c.config.limits
            ]
            for scheme in schemes
        }
    for scheme in schemes:
        _require_one_chain(services, chains, [limit.asset for limit in limits[scheme]])
    keys = tuple(
        KeyOrder(
            key_id=new_identifier(KEY),
            wallet_id=wallet_id,
            user_id=wanted.user_id,
            scheme=scheme,
            threshold=threshold,
            node_ids=tuple(node.node_id for node in nodes),
            policy=policy_from_limits(initiator, limits[scheme], allow_raw=wanted.policy.allow_raw),
        )
        for scheme in schemes
    )
    return WalletPlan(keys, tuple(chain.chain for chain in chains))


def _require_one_chain(services: Services, chains: tuple[DescribedChain, ...], assets: list[str]) -> None:
    """Refuse a key for two chains whose payloads do not say which one they are for: one would be valid on the other."""
    for codec in services.plugins.codecs.values():
        if codec.codec.payload_names_chain:
            continue
        prefix = f"{codec.codec.namespace}:"
        named = {chain.chain for chain in chains if chain.chain.startswith(prefix)}
        named |= {asset.partition("/")[0] for asset in assets if asset.startswith(prefix)}
        if len(named) > 1:
            raise Problem("one-chain-per-key", f"{' and '.join(sorted(named))}: make a wallet for each")


def _limit(services: Services, limit: LimitModel | LimitConfig) -> AssetLimit:
    """The limit on an asset in the spelling of effects: one that no effect ever matches would allow nothing."""
    chain, asset = limit.asset.partition("/")[0], limit.asset
    for codec in services.plugins.codecs.values():
        if chain.startswith(f"{codec.codec.namespace}:"):
            asset = codec.codec.canonical_asset(asset, chain)
    return AssetLimit(asset, int(limit.per_transaction), int(limit.per_window), limit.window_s)


def _wallet(services: Services, wallet_id: str, tenant_id: str) -> Wallet:
    wallet = services.wallets.wallet(wallet_id, tenant_id)
    if wallet is None:
        raise Problem("not-found", "the tenant has no such wallet")
    return wallet


def _keys(services: Services, wallet: Wallet) -> tuple[VerifiedKey, ...]:
    return tuple(services.accounts.certified(key) for key in services.wallets.keys(wallet.id))


def _model(services: Services, wallet: Wallet) -> WalletModel:
    return WalletModel.of(wallet, _keys(services, wallet), services.wallets.accounts_of(wallet.id))


@lru_cache(maxsize=4096)
def _body(wallet: Wallet, keys: tuple[VerifiedKey, ...], accounts: tuple[Account, ...]) -> bytes:
    """A wallet as JSON, written once for as long as nothing about it changes."""
    return WalletModel.of(wallet, keys, accounts).model_dump_json().encode()


def _certificate(key_id: str, scheme: str, signed: bytes) -> KeyCertificateModel:
    envelope = certificate_pb2.SignedKeyCertificate.FromString(signed)
    public_key = certificate_pb2.KeyCertificate.FromString(envelope.certificate).public_key
    return KeyCertificateModel.model_validate(
        {
            "key_id": key_id,
            "scheme": scheme,
            "public_key": public_key.hex(),
            "certificate": to_base64(envelope.certificate),
            "signatures": _signatures(envelope.signatures),
        }
    )


def _attestation(account_id: str, key_id: str, position: int, signed: bytes) -> AddressAttestationModel:
    envelope = certificate_pb2.SignedAddressAttestation.FromString(signed)
    attestation = certificate_pb2.AddressAttestation.FromString(envelope.attestation)
    return AddressAttestationModel(
        account_id=account_id,
        key_id=key_id,
        chain=attestation.chain,
        index=position,
        address=attestation.address,
        attestation=to_base64(envelope.attestation),
        signatures=_signatures(envelope.signatures),
    )


def _signatures(signatures: object) -> tuple[NodeSignatureModel, ...]:
    entries: list[certificate_pb2.NodeSignature] = list(signatures)  # type: ignore[call-overload]
    return tuple(NodeSignatureModel(node_id=each.node_id, signature=each.signature.hex()) for each in entries)


ENDPOINTS: Final = (
    Endpoint(
        "POST",
        "/v1/wallets",
        create_wallet,
        summary="Create a wallet",
        description=(
            "Makes one key per scheme that the chains need, by a key generation among all parties, and an attested account"
            " on each chain. With `initiation.type` = `client` the answer is 202 and an operation in `awaiting_initiator`"
            " that carries the intent to sign."
        ),
        tag="wallets",
        scope=Scope.ADMIN,
        rate=RateClass.CREATE,
        idempotency=Idempotency.REQUIRED,
        body=CreateWalletRequest,
        responses={201: WalletModel, 202: OperationModel},
        problems=(403, 409, 422, 429, 502, 503, 504),
        waits=True,
    ),
    Endpoint(
        "GET",
        "/v1/wallets",
        list_wallets,
        summary="List wallets",
        tag="wallets",
        scope=Scope.READ,
        rate=RateClass.READ,
        query=WalletsQuery,
        responses={200: PageOf[WalletModel]},
    ),
    Endpoint(
        "GET",
        "/v1/wallets/{wallet_id}",
        get_wallet,
        summary="Get a wallet",
        description="Says whose signature the parties want under every intent of the wallet, and what that protects.",
        tag="wallets",
        scope=Scope.READ,
        rate=RateClass.READ,
        query=NoQuery,
        responses={200: WalletModel},
        problems=(404,),
    ),
    Endpoint(
        "GET",
        "/v1/wallets/{wallet_id}/certificate",
        get_certificate,
        summary="Get a wallet's certificates and attestations",
        description="The exact bytes that the parties signed. `keyquorum verify wallet` checks them against a roster file.",
        tag="wallets",
        scope=Scope.READ,
        rate=RateClass.READ,
        query=NoQuery,
        responses={200: WalletCertificateModel},
        problems=(404,),
    ),
)
