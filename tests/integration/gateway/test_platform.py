"""Chains, parties, plugins and health: what the gateway says about itself and its surroundings."""

from support.gateway_cell import ASSET, CHAIN, eventually


async def test_chains_show_codec_pins_and_ceilings(cell, client):
    """What clients need to know, and what a party's operator has to pin."""
    (chain,) = (await client.get("/v1/chains")).body["items"]
    assert chain["codec"] == {
        "name": cell.double.codec.name,
        "version": cell.double.codec.version,
        "sha256": cell.double.codec.sha256.hex(),
    }
    assert (chain["chain"], chain["state"], chain["native_asset"]) == (CHAIN, "ready", ASSET)
    assert (chain["decimals"], chain["fee_ceiling"], chain["aliases"]) == (2, "100", ["toy:alias"])
    assert (await client.get("/v1/chains/toy:alias")).body == chain


async def test_a_chain_whose_node_comes_late_is_used_once_it_is_there(cell):
    """503 until then; the adapter is made anew for each attempt."""
    cell.ledger.start_fails = 1
    async with cell.running() as running, cell.client(running) as client:
        assert (await client.get("/v1/chains")).body["items"][0]["state"] == "starting"
        wallet = await client.wallet()
        balances = f"/v1/accounts/{wallet['accounts'][0]['id']}/balances"
        reply = await client.get(balances)
        assert (reply.status, reply.body["code"]) == (503, "chain-unavailable")
        await eventually(lambda: _ready(client))
        assert (await client.get(balances)).status == 200
        assert cell.ledger.starts == 2


async def _ready(client):
    return (await client.get("/v1/chains")).body["items"][0]["state"] == "ready"


async def test_a_chain_that_cannot_be_made_is_reported_and_the_others_serve(cell):
    """A wrong table, an unknown plugin: the reason is shown, and nothing else suffers."""
    with cell.config_file.open("a") as file:
        file.write('\n[chains."toy:broken"]\nfee_ceiling = "1"\n[chains."moon:base"]\nfee_ceiling = "1"\n')
    async with cell.running() as running, cell.client(running) as client:
        chains = {chain["chain"]: chain for chain in (await client.get("/v1/chains")).body["items"]}
        assert chains[CHAIN]["state"] == "ready"
        assert (chains["toy:broken"]["state"], chains["moon:base"]["state"]) == ("failed", "failed")
        assert "KeyError" in chains["toy:broken"]["detail"]
        assert "0 loaded plugins serve moon" in chains["moon:base"]["detail"]
        reply = await client.post("/v1/wallets", {"user_id": "a", "chains": ["moon:base"]})
        assert (reply.status, reply.body["code"]) == (503, "chain-unavailable")
        await client.wallet()


async def test_plugins_show_what_was_refused_and_how_to_allow_it(cell):
    """Without its name in the allow-list nothing of a distribution is imported."""
    async with cell.running(PLUGINS__ALLOW="[]") as running, cell.client(running) as client:
        items = (await client.get("/v1/plugins")).body["items"]
        assert {(i["group"], i["state"]) for i in items} == {
            ("keyquorum.chains", "refused"),
            ("keyquorum.codecs", "refused"),
        }
        assert {i["allow_line"] for i in items} == {'allow = ["keyquorum-toychain"]'}
        assert (await client.get("/v1/chains")).body["items"][0]["state"] == "failed"


async def test_parties_are_compared_with_the_pinned_roster(cell, client):
    """Links, channels and key-encryption keys, as the coordinator sees them."""
    cell.double.connected.discard("party-2")
    answer = (await client.get("/v1/parties")).body
    assert (answer["cell_id"], answer["roster_matches"]) == ("cell-test", True)
    assert [(p["node_id"], p["connected"], p["in_roster"]) for p in answer["items"]] == [
        ("party-1", True, True),
        ("party-2", False, True),
        ("party-3", True, True),
    ]
    assert answer["items"][0]["channels"] == ["party-3"]


async def test_readiness_is_the_coordinators(cell):
    """Alive without it, ready with it; a chain that is down does not count."""
    cell.ledger.start_fails = 100
    async with cell.running() as running, cell.client(running) as client:
        ready = await client.get("/readyz")
        assert (ready.status, ready.body["checks"]["coordinator"]) == (200, "ok")
        assert ready.body["checks"][f"chain {CHAIN}"] == "starting"
    await cell.stop_coordinator()
    async with cell.running() as running, cell.client(running) as client:
        assert (await client.get("/healthz")).status == 200
        ready = await client.get("/readyz")
        assert (ready.status, ready.body["status"]) == (503, "not-ready")
        reply = await client.get("/v1/parties")
        assert (reply.status, reply.body["code"]) == (503, "coordinator-unavailable")


async def test_the_documentation_loads_nothing_from_elsewhere(client):
    """One page, no script, under a policy that would not let it either."""
    reply = await client.get("/docs")
    page = reply.raw.decode()
    assert reply.headers["Content-Security-Policy"].startswith("default-src 'none'")
    for forbidden in ("<script", "http://", "https://", "@import", "url("):
        assert forbidden not in page
    for path in ("/v1/transactions", "/v1/operations/{operation_id}/events", "Idempotency-Key"):
        assert path in page


async def test_answers_carry_no_version_and_are_not_cached(client):
    """What a scanner reads first."""
    reply = await client.get("/v1/wallets")
    assert reply.headers["Server"] == "keyquorum"
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert (await client.get("/openapi.json")).headers["Cache-Control"] == "public, max-age=60"
