"""Signatures over messages."""

import base64
from typing import Final

from aiohttp import web

from keyquorum_gateway.certificates import VerifiedKey
from keyquorum_gateway.chains import DescribedChain
from keyquorum_gateway.effects import approve_message, approve_typed_data
from keyquorum_gateway.models.operations import OperationModel, SignatureModel
from keyquorum_gateway.models.transactions import CreateSignatureRequest
from keyquorum_gateway.operations.record import OperationKind, SignaturePlan
from keyquorum_gateway.problems import FieldError, Problem
from keyquorum_gateway.routes.answers import answer, operation_answer
from keyquorum_gateway.routes.endpoint import Endpoint, Idempotency, RateClass
from keyquorum_gateway.routes.requests import parse_body, wait_budget_s
from keyquorum_gateway.routes.resumption import resumable_ceremonies, resumed_operation
from keyquorum_gateway.services import CLAIM, PRINCIPAL, SERVICES
from keyquorum_gateway.state.api_keys import Scope
from keyquorum_gateway.state.wallets import Account, Initiation
from keyquorum_plugin_api.codec import SignerAccount

_DIGEST_BYTES: Final = 32


async def create_signature(request: web.Request) -> web.Response:
    """Have a message signed; 202 with the intent to sign where the client initiates."""
    wanted = await parse_body(request, CreateSignatureRequest)
    services, tenant_id = request.app[SERVICES], request[PRINCIPAL].tenant_id
    account = services.wallets.account(wanted.account_id, tenant_id)
    wallet = services.wallets.wallet(account.wallet_id, tenant_id) if account else None
    key = services.wallets.key(account.key_id) if account else None
    if account is None or wallet is None or key is None:
        raise Problem("not-found", "the tenant has no such account")
    chain = services.chains.find(account.chain, tenant_id, wallet_id=wallet.id)  # raw bytes may be a transaction of it
    if wanted.raw is not None:
        plan = _raw(account, services.accounts.certified(key), base64.b64decode(wanted.raw))
    else:
        plan = _explained(chain.described(), account, wanted)
    earlier = resumed_operation(request)
    ceremonies = resumable_ceremonies(earlier)
    if earlier is not None and ceremonies and isinstance(earlier.plan, SignaturePlan):
        plan = earlier.plan
    client = wallet.initiation is Initiation.CLIENT
    if client:
        services.engine.require_room_to_wait(tenant_id)
    live = services.engine.open(
        OperationKind.SIGNATURE,
        tenant_id,
        request.get(CLAIM),
        wallet_id=wallet.id,
        account_id=account.id,
        client_initiated=client,
        plan=plan,
        ceremonies=ceremonies,
    )
    live.wallet, live.account = wallet, account
    services.engine.launch(live)

    def made() -> web.Response:
        result = live.operation.result
        if result is None:
            raise Problem("internal", operation_id=live.operation.id)
        location = f"/v1/operations/{live.operation.id}"
        return answer(SignatureModel.of(live.operation.id, result), status=201, location=location)

    return await operation_answer(services.engine, live, wait_budget_s(request), made)


def _raw(account: Account, key: VerifiedKey, message: bytes) -> SignaturePlan:
    """Bytes that no codec explains: only where the certified policy of the key allows them."""
    if not key.policy.allow_raw:
        raise Problem("raw-not-allowed", "the key's certified policy has allow_raw = false")
    if key.scheme != "eddsa_ed25519" and len(message) != _DIGEST_BYTES:
        detail = f"{key.scheme} signs a digest of {_DIGEST_BYTES} bytes"
        raise Problem("validation-failed", detail, errors=[FieldError("/raw", "not-a-digest", detail)])
    return SignaturePlan(account.id, message)


def _explained(chain: DescribedChain, account: Account, wanted: CreateSignatureRequest) -> SignaturePlan:
    """The chain's own format for messages or documents, approved by decoding it again."""
    signer = SignerAccount(account.address, account.public_key, account.path)
    codec = chain.codec.codec
    if wanted.typed_data is not None:
        approved = approve_typed_data(codec, codec.build_typed_data(signer, chain.chain, wanted.typed_data), signer)
    else:
        message = wanted.message or ""
        approved = approve_message(codec, codec.build_message(signer, chain.chain, message), signer, message)
    requests = approved.decoded.requests
    if len(requests) != 1:
        raise Problem("unsupported-operation", "a message with several signatures is not offered")
    return SignaturePlan(account.id, requests[0].message, approved.unsigned, chain.codec.ref)


ENDPOINTS: Final = (
    Endpoint(
        "POST",
        "/v1/signatures",
        create_signature,
        summary="Sign a message",
        description=(
            "Signs `message` in the chain's own off-chain format, which can never be a transaction; or the document"
            " `typed_data`, whose permits count against the key's limits; or `raw` bytes, if the key's certified policy has"
            " `allow_raw`. The signature is verified before it is released."
        ),
        tag="signatures",
        scope=Scope.TRANSACT,
        rate=RateClass.WRITE,
        idempotency=Idempotency.REQUIRED,
        body=CreateSignatureRequest,
        responses={201: SignatureModel, 202: OperationModel},
        problems=(403, 404, 409, 422, 429, 502, 503, 504),
        waits=True,
    ),
)
