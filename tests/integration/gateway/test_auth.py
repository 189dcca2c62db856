"""API keys: who is let in, to what, and until when."""

import sqlite3

import pytest

from keyquorum_gateway.routes.endpoint import ENDPOINTS
from keyquorum_gateway.state import api_keys
from keyquorum_gateway.state.api_keys import Scope
from keyquorum_gateway.state.database import connect
from support.gateway_cell import CHAIN


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "authentication-required"),
        ("", "authentication-required"),
        ("Bearer", "authentication-required"),
        ("Basic a3E6", "authentication-required"),
        ("Bearer nonsense", "invalid-api-key"),
        ("Bearer kq_" + "A" * 43, "invalid-api-key"),
        ("Bearer kq_" + "A" * 4000, "invalid-api-key"),
    ],
)
async def test_without_a_good_key_there_is_nothing(client, header, code):
    """401 with a challenge, on every route that needs a key."""
    headers = {} if header is None else {"Authorization": header}
    client.key = ""
    for method, path in (("GET", "/v1/wallets"), ("POST", "/v1/transactions"), ("GET", "/v1/operations/x/events")):
        reply = await client.request(method, path, headers=headers)
        assert (reply.status, reply.body["code"]) == (401, code)
        assert reply.headers["WWW-Authenticate"].startswith("Bearer")


async def test_every_route_under_v1_needs_a_scope(gateway):
    """A route without one would be public."""
    for endpoint in gateway.app[ENDPOINTS].values():
        assert (endpoint.scope is not None) == endpoint.path.startswith("/v1/"), endpoint.path
        assert (endpoint.rate is not None) == endpoint.path.startswith("/v1/"), endpoint.path


async def test_each_scope_opens_its_own_routes_and_no_others(cell, gateway):
    """Scopes do not imply each other."""
    routes = [e for e in gateway.app[ENDPOINTS].values() if e.scope is not None]
    for scope in Scope:
        async with cell.client(gateway, scopes=(scope,)) as client:
            for route in routes:
                path = route.path.format(
                    wallet_id="wal_x",
                    account_id="acc_x",
                    transaction_id="txn_x",
                    operation_id="op_x",
                    chain=CHAIN,
                    txid="aa",
                )
                reply = await client.request(route.method, path)
                denied = reply.status == 403 and reply.body["code"] == "insufficient-scope"
                assert denied is (route.scope is not scope), (scope, route.path, reply.body)


async def test_a_revoked_key_stops_working(cell, gateway, client, monkeypatch):
    """At once where nobody remembers it, within a second where it was just used."""
    monkeypatch.setattr("keyquorum_gateway.authentication.API_KEY_CACHE_S", 0)
    assert (await client.get("/v1/wallets")).status == 200
    connection = connect(cell.folder / "gateway.db")
    (row,) = connection.execute(api_keys.LIST)
    with connection:
        assert api_keys.revoke(connection, row[0])
        assert not api_keys.revoke(connection, row[0])
    connection.close()
    assert (await client.get("/v1/wallets")).status == 401


async def test_a_key_made_while_the_gateway_runs_works_at_once(cell, gateway, client):
    """The database is asked about keys that are not known yet."""
    client.key = cell.api_key(scopes=(Scope.READ,))
    assert (await client.get("/v1/wallets")).status == 200


async def test_the_database_holds_no_key(cell, gateway, client):
    """Only an HMAC under a pepper that is elsewhere."""
    stored = b"".join(path.read_bytes() for path in cell.folder.glob("gateway.db*"))
    assert client.key.encode() not in stored
    assert client.key.removeprefix("kq_").encode() not in stored
    with sqlite3.connect(f"file:{cell.folder}/gateway.db?mode=ro", uri=True) as connection:
        (digest,) = connection.execute("SELECT digest FROM api_keys").fetchone()
    pepper = bytes.fromhex((cell.folder / "pepper").read_text())
    assert digest == api_keys.digest(pepper, client.key)
    assert digest != api_keys.digest(bytes(32), client.key)


async def test_the_public_routes_need_no_key(client):
    """Health, the document and its page."""
    client.key = ""
    for path in ("/healthz", "/readyz", "/openapi.json", "/docs"):
        assert (await client.get(path)).status == 200, path
    assert (await client.get("/metrics")).status == 401
