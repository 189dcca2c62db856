"""Parties and plugins: what the operators see."""

from typing import Final

from aiohttp import web

from keyquorum_gateway.models.base import timestamp
from keyquorum_gateway.models.pages import NoQuery
from keyquorum_gateway.models.platform import CodecModel, PartiesModel, PartyModel, PluginModel, PluginsModel
from keyquorum_gateway.plugins import PluginReport
from keyquorum_gateway.roster import Roster
from keyquorum_gateway.routes.answers import answer
from keyquorum_gateway.routes.endpoint import Endpoint, RateClass
from keyquorum_gateway.routes.requests import parse_query
from keyquorum_gateway.services import SERVICES
from keyquorum_gateway.signer_client import PartyView
from keyquorum_gateway.state.api_keys import Scope


async def list_parties(request: web.Request) -> web.Response:
    """The parties as the coordinator sees them, compared with the pinned roster."""
    parse_query(request, NoQuery)
    services = request.app[SERVICES]
    view = await services.readiness.parties()
    return answer(
        PartiesModel(
            cell_id=services.roster.cell_id,
            roster_hash=services.roster.roster_hash.hex(),
            roster_matches=services.readiness.matches(view),
            items=tuple(_party(party, services.roster) for party in view.parties),
        )
    )


async def list_plugins(request: web.Request) -> web.Response:
    """Every installed plugin: loaded, refused with the line that would allow it, or failed with the reason."""
    parse_query(request, NoQuery)
    return answer(PluginsModel(items=tuple(_plugin(report) for report in request.app[SERVICES].plugins.reports)))


def _party(party: PartyView, roster: Roster) -> PartyModel:
    return PartyModel(
        node_id=party.node_id,
        index=party.index,
        connected=party.connected,
        since=timestamp(party.since_ms) if party.since_ms else None,
        version=party.version,
        kek_kind=party.kek_kind,
        channels=party.channels,
        codecs=tuple(CodecModel(name=c.name, version=c.version, sha256=c.sha256.hex()) for c in party.codecs),
        in_roster=roster.pins(party.node_id, party.index, party.identity_key),
    )


def _plugin(report: PluginReport) -> PluginModel:
    return PluginModel(
        distribution=report.distribution,
        version=report.version,
        group=report.group,
        name=report.name,
        state=report.state.value,
        detail=report.detail,
        allow_line=report.allow_line,
        namespaces=report.namespaces,
    )


ENDPOINTS: Final = (
    Endpoint(
        "GET",
        "/v1/parties",
        list_parties,
        summary="List parties",
        tag="platform",
        scope=Scope.READ,
        rate=RateClass.READ,
        query=NoQuery,
        responses={200: PartiesModel},
        problems=(502, 503, 504),
    ),
    Endpoint(
        "GET",
        "/v1/plugins",
        list_plugins,
        summary="List plugins",
        tag="platform",
        scope=Scope.ADMIN,
        rate=RateClass.READ,
        query=NoQuery,
        responses={200: PluginsModel},
    ),
)
