"""Everything that a request can need, in one typed place: made in the composition root, read by routes and middleware."""

from dataclasses import dataclass

from aiohttp import web

from keyquorum_gateway.accounts import AccountBook
from keyquorum_gateway.authentication import ApiKeys
from keyquorum_gateway.chains import Chains
from keyquorum_gateway.config import GatewayConfig
from keyquorum_gateway.flags.chain_flags import ChainFlags
from keyquorum_gateway.identity import InitiatorKey
from keyquorum_gateway.operations.engine import OperationEngine
from keyquorum_gateway.plugins import Plugins
from keyquorum_gateway.rates import RateLimits
from keyquorum_gateway.readiness import Readiness
from keyquorum_gateway.roster import Roster
from keyquorum_gateway.signer_client import SignerClient
from keyquorum_gateway.state.api_keys import Principal
from keyquorum_gateway.state.database import Database
from keyquorum_gateway.state.idempotency import Claim, Idempotency
from keyquorum_gateway.state.operations import StoredOperations
from keyquorum_gateway.state.transactions import Transactions
from keyquorum_gateway.state.wallets import Wallets
from keyquorum_gateway.streams import EventStreams
from keyquorum_gateway.telemetry import Metrics


class Headers(dict[str, str]):
    """Headers for whatever the answer will be: also for one that is prepared before the middleware sees it."""


@dataclass(frozen=True, slots=True)
class Services:
    """What lives as long as the process serves."""

    config: GatewayConfig
    roster: Roster
    key: InitiatorKey
    database: Database
    api_keys: ApiKeys
    rates: RateLimits
    idempotency: Idempotency
    plugins: Plugins
    chains: Chains
    flags: ChainFlags
    client: SignerClient
    readiness: Readiness
    engine: OperationEngine
    wallets: Wallets
    accounts: AccountBook
    transactions: Transactions
    operations: StoredOperations
    streams: EventStreams


METRICS: web.AppKey[Metrics] = web.AppKey("metrics", Metrics)
SERVICES: web.AppKey[Services] = web.AppKey("services", Services)

TRACE_ID: web.RequestKey[str] = web.RequestKey("trace_id", str)
PRINCIPAL: web.RequestKey[Principal] = web.RequestKey("principal", Principal)
CLAIM: web.RequestKey[Claim] = web.RequestKey("claim", Claim)
EXTRA_HEADERS: web.RequestKey[Headers] = web.RequestKey("extra_headers", Headers)
