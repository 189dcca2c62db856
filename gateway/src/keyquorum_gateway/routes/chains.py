"""Chains: what is served and for whom, and transactions by the chain's own id.

Bytes that were signed elsewhere are something new: the chain has to be open for the caller. Looking at what is on the
chain stays possible for whoever may know of the chain, unless it is killed.
"""

import base64
from dataclasses import asdict
from functools import lru_cache
from typing import Final, NamedTuple

from aiohttp import web

from keyquorum_gateway.adapter_calls import READ_S, SUBMIT_S, adapter_call
from keyquorum_gateway.chains import Chain, ChainState, ReadyChain
from keyquorum_gateway.flags.chain_flags import FlagState
from keyquorum_gateway.flags.rollout import At
from keyquorum_gateway.models.pages import NoQuery
from keyquorum_gateway.models.platform import ChainFlagsModel, ChainModel, ChainsModel, CodecModel
from keyquorum_gateway.models.transactions import ChainTransactionModel, SubmitRequest
from keyquorum_gateway.plugins import LoadedCodec
from keyquorum_gateway.problems import Problem
from keyquorum_gateway.routes.answers import answer
from keyquorum_gateway.routes.endpoint import Endpoint, Idempotency, RateClass
from keyquorum_gateway.routes.requests import parse_body, parse_query
from keyquorum_gateway.services import PRINCIPAL, SERVICES
from keyquorum_gateway.state.api_keys import Scope
from keyquorum_plugin_api.chain import ChainInfo
from keyquorum_plugin_api.codec import SignedTransaction


class Facts(NamedTuple):
    """All that is shown of a chain: equal facts are the same JSON."""

    chain: str
    state: ChainState
    detail: str
    info: ChainInfo | None
    codec: LoadedCodec | None
    fee_ceiling: str
    flags: FlagState


async def list_chains(request: web.Request) -> web.Response:
    """The chains that the caller's tenant may know of, and whether it may use them."""
    parse_query(request, NoQuery)
    chains = request.app[SERVICES].chains.visible(request[PRINCIPAL].tenant_id)
    facts = tuple(_facts(request, chain) for chain in chains)
    return web.Response(body=_chains_body(facts), content_type="application/json")


async def get_chain(request: web.Request) -> web.Response:
    """One chain."""
    parse_query(request, NoQuery)
    return answer(_model(_facts(request, _shown(request))))


async def submit_chain_transaction(request: web.Request) -> web.Response:
    """Broadcast bytes that were signed earlier; bytes that the chain knows already are a success."""
    wanted = await parse_body(request, SubmitRequest)
    chain = _find(request).ready()
    signed = SignedTransaction(chain.chain, base64.b64decode(wanted.raw), wanted.txid)
    async with adapter_call(chain.chain, "submit", SUBMIT_S):
        txid = await chain.adapter.submit(signed)
    return answer(await _status(chain, txid), status=201, location=f"/v1/chains/{chain.chain}/transactions/{txid}")


async def get_chain_transaction(request: web.Request) -> web.Response:
    """Where any transaction of the chain stands."""
    parse_query(request, NoQuery)
    txid = request.match_info["txid"]
    if not (txid.isascii() and txid.isalnum() and len(txid) <= 128):
        raise Problem("not-found", "not a transaction id")
    return answer(await _status(_find(request, at="read").ready(), txid))


async def _status(chain: ReadyChain, txid: str) -> ChainTransactionModel:
    async with adapter_call(chain.chain, "get_status", READ_S):
        return ChainTransactionModel.of(chain.chain, await chain.adapter.get_status(txid))


def _shown(request: web.Request) -> Chain:
    name = request.match_info["chain"]
    return request.app[SERVICES].chains.shown(name, request[PRINCIPAL].tenant_id, status=404)


def _find(request: web.Request, *, at: At = "build") -> Chain:
    name = _shown(request).chain
    return request.app[SERVICES].chains.find(name, request[PRINCIPAL].tenant_id, at=at)


def _facts(request: web.Request, chain: Chain) -> Facts:
    flags = request.app[SERVICES].flags.state(chain.chain, request[PRINCIPAL].tenant_id)
    return Facts(chain.chain, chain.state, chain.detail, chain.info, chain.codec, chain.config.fee_ceiling, flags)


@lru_cache(maxsize=256)
def _chains_body(chains: tuple[Facts, ...]) -> bytes:
    """Chains as JSON, written once for as long as nothing about them changes."""
    return ChainsModel(items=tuple(map(_model, chains))).model_dump_json().encode()


def _model(facts: Facts) -> ChainModel:
    info, codec = facts.info, facts.codec
    pin = CodecModel(name=codec.ref.name, version=codec.ref.version, sha256=codec.ref.sha256.hex()) if codec else None
    return ChainModel(
        chain=facts.chain,
        state=facts.state.value,
        detail=facts.detail,
        name=info.name if info else None,
        aliases=info.aliases if info else (),
        native_asset=info.native_asset if info else None,
        symbol=info.symbol if info else None,
        decimals=info.decimals if info else None,
        scheme=codec.codec.scheme if codec else None,
        capabilities=tuple(sorted(info.capabilities)) if info else (),
        fee_ceiling=facts.fee_ceiling,
        codec=pin,
        flags=ChainFlagsModel.model_validate({**asdict(facts.flags), "reason": facts.flags.reason.value}),
    )


ENDPOINTS: Final = (
    Endpoint(
        "GET",
        "/v1/chains",
        list_chains,
        summary="List chains",
        tag="chains",
        scope=Scope.READ,
        rate=RateClass.READ,
        query=NoQuery,
        responses={200: ChainsModel},
    ),
    Endpoint(
        "GET",
        "/v1/chains/{chain}",
        get_chain,
        summary="Get a chain",
        tag="chains",
        scope=Scope.READ,
        rate=RateClass.READ,
        query=NoQuery,
        responses={200: ChainModel},
        problems=(403, 404),
    ),
    Endpoint(
        "POST",
        "/v1/chains/{chain}/transactions",
        submit_chain_transaction,
        summary="Broadcast signed bytes",
        description="For transactions that were made with `submit: false`, or signed elsewhere. Idempotent by its bytes.",
        tag="chains",
        scope=Scope.TRANSACT,
        rate=RateClass.WRITE,
        idempotency=Idempotency.REQUIRED,
        body=SubmitRequest,
        responses={201: ChainTransactionModel},
        problems=(403, 404, 409, 422, 502, 503),
    ),
    Endpoint(
        "GET",
        "/v1/chains/{chain}/transactions/{txid}",
        get_chain_transaction,
        summary="Get a transaction by its chain's id",
        tag="chains",
        scope=Scope.READ,
        rate=RateClass.READ,
        query=NoQuery,
        responses={200: ChainTransactionModel},
        problems=(403, 404, 422, 502, 503),
    ),
)
