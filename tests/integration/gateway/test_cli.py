"""``keyquorum``, against a gateway that serves: tables, JSON, readable errors, and verification that believes nobody."""

import asyncio
import json
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from keyquorum_core_signer.intents.roster import Node, Roster
from keyquorum_core_signer.wire.certificates import identity_certificate
from keyquorum_core_signer.wire.identity import IdentityKey
from keyquorum_gateway.cli import main
from keyquorum_gateway.identity import verify as signed_by
from keyquorum_gateway.state import api_keys
from support.fake_distributions import TOY_SITE
from support.gateway_cell import CHAIN, RECIPIENT


@pytest.fixture
def run(cell, gateway, client):
    """Run a command as a user does, with the environment set up."""
    key_file = cell.folder / "api-key"
    key_file.write_text(client.key + "\n")
    environ = {"KEYQUORUM_URL": gateway.url, "KEYQUORUM_API_KEY_FILE": str(key_file), "COLUMNS": "250"}

    async def invoke(*arguments, **extra):
        return await asyncio.to_thread(CliRunner().invoke, main, list(arguments), env={**environ, **extra})

    return invoke


@pytest.fixture(autouse=True)
def _toy_codec_installed(monkeypatch):
    """Where whoever verifies would have it."""
    monkeypatch.syspath_prepend(str(TOY_SITE))


@pytest.mark.parametrize("command", ["plugins", "chains", "parties", "operations list", "wallets list"])
async def test_lists_are_tables_or_json(client, run, command):
    """The JSON is the API's own; the table has what matters of it."""
    wallet = await client.wallet()
    as_json = await run(*command.split(), "--json")
    assert as_json.exit_code == 0, as_json.output
    items = json.loads(as_json.output)["items"]
    assert items
    table = await run(*command.split())
    assert table.exit_code == 0, table.output
    expected = {
        "plugins": "keyquorum-toychain",
        "chains": CHAIN,
        "parties": "party-2",
        "operations list": wallet["operation_id"],
        "wallets list": wallet["accounts"][0]["address"],
    }
    assert expected[command] in table.output


async def test_a_refused_plugin_shows_its_line(cell, run):
    """Ready to paste into the configuration."""
    async with cell.running(PLUGINS__ALLOW='["other"]', STATE__FILE=str(cell.folder / "b.db")) as running:
        key = (cell.folder / "api-key").read_text().strip()
        digest = api_keys.digest(bytes.fromhex((cell.folder / "pepper").read_text()), key)
        await running.services.database.write(
            lambda c: api_keys.add(c, tenant_id="default", name="", scopes=list(api_keys.Scope), key_digest=digest)
        )
        result = await run("plugins", "--url", running.url)
    assert 'add under [plugins]: allow = ["keyquorum-toychain", "other"]' in result.output, result.output


async def test_an_operation_can_be_shown_and_watched(cell, client, run):
    """To its end; a failed one ends the command with 1."""
    wallet = await client.wallet()
    shown = await run("operations", "show", wallet["operation_id"])
    assert "succeeded" in shown.output
    watched = await run("operations", "watch", wallet["operation_id"])
    assert watched.exit_code == 0
    assert [line.split()[2] for line in watched.output.splitlines()][-1] == "succeeded"
    assert "round 2" in watched.output
    lines = (await run("operations", "watch", wallet["operation_id"], "--json")).output.splitlines()
    assert [json.loads(line)["sequence"] for line in lines] == list(range(1, len(lines) + 1))
    cell.double.behaviour.failure = ("protocol-abort", False)
    body = {"account_id": wallet["accounts"][0]["id"], "message": "x"}
    reply = await client.post("/v1/signatures", body)
    failed = await run("operations", "watch", reply.body["operation_id"])
    assert failed.exit_code == 1
    assert "protocol-abort" in failed.output


async def test_a_wallet_can_be_created_and_shown(run):
    """With its address, its limits, and who initiates."""
    made = await run("wallets", "create", "--user", "alice", "--chain", CHAIN, "--json")
    assert made.exit_code == 0, made.output
    wallet = json.loads(made.output)
    shown = (await run("wallets", "show", wallet["id"])).output
    for fact in (wallet["accounts"][0]["address"], "1000000 at once", "gateway", "party-1, party-2, party-3"):
        assert fact in shown


async def test_a_wallet_is_verified_against_a_roster_of_ones_own(cell, client, run):
    """Key, policy and every address: certified, attested, derived again."""
    wallet = await client.wallet()
    await client.post(f"/v1/wallets/{wallet['id']}/accounts", {"chain": CHAIN})
    result = await run("verify", "wallet", wallet["id"], "--roster", str(cell.folder / "roster.toml"), "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.output)
    assert answer["verified"] is True
    assert [check["what"] for check in answer["checks"]] == ["key", "policy", "address", "address"]
    assert wallet["accounts"][0]["address"] in result.output
    table = await run("verify", "wallet", wallet["id"], "--roster", str(cell.folder / "roster.toml"))
    assert "attested by party-1, party-2, party-3" in table.output


def other_roster(roster):
    """The same names with another party's key."""
    stranger = IdentityKey.generate()
    first, *others = roster.nodes
    certificate = identity_certificate(stranger, first.node_id, datetime.now(UTC))
    swapped = Node(first.node_id, first.index, stranger.public, certificate, first.transport_certificate, first.address)
    return Roster(roster.cell_id, (swapped, *others), roster.coordinators, roster.gateways, roster.tenants)


async def test_a_wallet_of_another_roster_is_not_proven(cell, client, run):
    """The verifier's roster decides, not the gateway's."""
    wallet = await client.wallet()
    (cell.folder / "mine.toml").write_text(other_roster(cell.roster).dump())
    result = await run("verify", "wallet", wallet["id"], "--roster", str(cell.folder / "mine.toml"))
    assert result.exit_code == 1
    assert "NOT PROVEN" in result.output


LIES = {
    "another address": lambda b: b["addresses"][0].update(address=RECIPIENT),
    "another public key": lambda b: b["keys"][0].update(certificate=b["keys"][0]["certificate"][:-8] + "AAAAAAA="),
    "a signature less": lambda b: b["keys"][0]["signatures"].pop(),
    "a signature twice": lambda b: b["addresses"][0].update(signatures=b["addresses"][0]["signatures"][:1] * 3),
    "no key": lambda b: b.update(keys=[]),
    "no base64": lambda b: b["keys"][0].update(certificate="@"),
    "nothing": lambda b: b.clear(),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
async def test_a_gateway_that_lies_is_found_out(cell, client, run, monkeypatch, lie):
    """Whatever it changes in its answer, the verdict is not "verified"."""
    wallet = await client.wallet()
    honest = json.loads((await client.get(f"/v1/wallets/{wallet['id']}/certificate")).raw)
    lie(honest)

    async def lying(self, path, query=None):
        return honest

    monkeypatch.setattr("keyquorum_gateway.cli.connection.Gateway.get", lying)
    result = await run("verify", "wallet", wallet["id"], "--roster", str(cell.folder / "roster.toml"))
    assert result.exit_code == 1
    assert "NOT PROVEN" in result.output


async def test_another_wallets_proof_is_none(cell, client, run, monkeypatch):
    """A true bundle about something else."""
    wallets = [await client.wallet() for _ in range(2)]
    other = (await client.get(f"/v1/wallets/{wallets[1]['id']}/certificate")).body

    async def swapped(self, path, query=None):
        return other

    monkeypatch.setattr("keyquorum_gateway.cli.connection.Gateway.get", swapped)
    result = await run("verify", "wallet", wallets[0]["id"], "--roster", str(cell.folder / "roster.toml"))
    assert (result.exit_code, "another wallet's" in result.output) == (1, True)


async def test_errors_are_readable(cell, run):
    """The problem's title, code and detail; no traceback."""
    missing = await run("wallets", "show", "wal_" + "0" * 32)
    assert missing.exit_code == 1
    assert "There is no such resource (not-found, 404): the tenant has no such wallet" in missing.output
    bad = await run("wallets", "create", "--user", "a b", "--chain", "x")
    assert "/user_id" in bad.output
    away = await run("chains", KEYQUORUM_URL="http://127.0.0.1:1")
    assert "no answer from http://127.0.0.1:1" in away.output
    key = await run("chains", KEYQUORUM_API_KEY_FILE=str(cell.folder / "pepper"))
    assert "invalid-api-key" in key.output
    for result in (missing, bad, away, key):
        assert "Traceback" not in result.output


async def test_api_keys_are_made_listed_and_revoked_offline(cell, gateway, client, run, monkeypatch):
    """In the gateway's database, while it runs; the key itself is shown once."""
    monkeypatch.setattr("keyquorum_gateway.authentication.API_KEY_CACHE_S", 0)
    config = ("--config", str(cell.config_file))
    out = cell.folder / "new-key"
    made = await run("keys", "create", *config, "--tenant", "default", "--scope", "read", "--out", str(out), "--json")
    assert made.exit_code == 0, made.output
    key_id = json.loads(made.output)["id"]
    assert out.stat().st_mode & 0o777 == 0o600
    client.key = out.read_text().strip()
    assert (await client.get("/v1/wallets")).status == 200
    listed = await run("keys", "list", *config)
    assert key_id in listed.output
    assert client.key not in listed.output
    again = await run("keys", "create", *config, "--tenant", "default", "--scope", "read", "--out", str(out))
    assert again.exit_code == 1
    assert (await run("keys", "revoke", *config, key_id)).exit_code == 0
    assert (await run("keys", "revoke", *config, key_id)).exit_code == 1
    assert (await client.get("/v1/wallets")).status == 401
    stranger = await run("keys", "create", *config, "--tenant", "nobody", "--scope", "read")
    assert (stranger.exit_code, "has no tenant nobody" in stranger.output) == (1, True)
    printed = await run("keys", "create", *config, "--tenant", "default", "--scope", "read")
    assert printed.stdout.strip().startswith("kq_")


async def test_every_command_explains_itself(run):
    """--help, at every level."""
    for command in ("", "wallets", "wallets create", "verify wallet", "keys create", "operations watch", "plugins"):
        result = await run(*command.split(), "--help")
        assert (result.exit_code, "Usage:" in result.output) == (0, True)


def test_the_verifiers_signature_check_is_independent():
    """Over OpenSSL, where the parties sign with libsodium: both agree on the rule for tagged bytes."""
    key = IdentityKey.generate()
    signature = key.sign("keyquorum/address/v1", b"data")
    assert signed_by(key.public, "keyquorum/address/v1", b"data", signature)
    assert not signed_by(key.public, "keyquorum/intent/v1", b"data", signature)
