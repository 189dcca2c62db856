"""One trace from the REST request to the coordinator; metrics; logs without secrets."""

import asyncio
import json
import os
import socket
import sys
from pathlib import Path

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from keyquorum_gateway.services import METRICS
from support.fake_distributions import TOY_SITE
from support.gateway_cell import RECIPIENT, Client, eventually

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


async def test_a_callers_trace_reaches_the_coordinator(cell, client):
    """W3C traceparent in, in every gRPC call's metadata, and out."""
    account = (await client.wallet())["accounts"][0]
    cell.double.traceparents.clear()
    reply = await client.post(
        "/v1/signatures", {"account_id": account["id"], "message": "x"}, traceparent=f"00-{TRACE}-00f067aa0ba902b7-01"
    )
    assert reply.headers["Traceparent"].split("-")[1] == TRACE
    assert {value.split("-")[1] for value in cell.double.traceparents} == {TRACE}
    operation = (await client.get(f"/v1/operations/{reply.body['operation_id']}")).body
    assert operation["trace_id"] == TRACE


async def test_spans_of_one_request_make_one_tree(cell, tmp_path):
    """Request, operation, call: written as JSON lines, each with its parent."""
    spans = tmp_path / "spans.jsonl"
    async with cell.running(TELEMETRY__SPAN_FILE=str(spans)) as running, cell.client(running) as client:
        account = (await client.wallet())["accounts"][0]
        cell.ledger.balances[account["address"]] = 1000
        body = {"account_id": account["id"], "destination": RECIPIENT, "amount": "100"}
        reply = await client.post("/v1/transactions", body)
        trace = reply.headers["Traceparent"].split("-")[1]
    found = [json.loads(line) for line in spans.read_text().splitlines()]
    mine = {span["name"]: span for span in found if span["trace_id"] == trace}
    request, operation, call = (
        mine[name] for name in ("POST /v1/transactions", "operation transaction", "coordinator sign")
    )
    assert (request["kind"], request["parent_span_id"]) == ("server", "")
    assert operation["parent_span_id"] == request["span_id"]
    assert (call["kind"], call["parent_span_id"]) == ("client", operation["span_id"])
    assert request["attributes"]["http.response.status_code"] == 201
    assert all(span["end_ns"] >= span["start_ns"] for span in found)
    assert account["address"] not in spans.read_text()


async def test_the_metrics_tell_requests_ceremonies_and_refusals(cell):
    """Under the names of docs/metrics.md."""
    async with cell.running(TELEMETRY__METRICS_PUBLIC="true") as running, cell.client(running) as client:
        account = (await client.wallet())["accounts"][0]
        await client.post("/v1/signatures", {"account_id": account["id"], "message": "x"})
        cell.double.behaviour.signature = lambda signature: bytes(64)
        await client.post("/v1/signatures", {"account_id": account["id"], "message": "x"})
        await client.get("/nothing")
        client.key = ""
        await eventually(lambda: not running.services.engine.live_count)
        text = (await client.get("/metrics")).raw.decode()
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["keyquorum_gateway_request_seconds_count", "/v1/signatures", "201", "POST"] == 1
    assert samples["keyquorum_gateway_request_seconds_count", "404", "unmatched", "unmatched"] == 1
    assert samples["keyquorum_gateway_ceremony_seconds_count", "complete", "eddsa_ed25519", "sign"] == 2
    assert samples["keyquorum_gateway_operations_total", "", "signature", "succeeded"] == 1
    assert samples["keyquorum_gateway_operations_total", "failed", "protocol-abort", "signature"] == 1
    assert samples["keyquorum_gateway_refusals_total", "signature"] == 1
    assert samples[("keyquorum_gateway_parties_connected",)] == 3
    assert samples[("keyquorum_gateway_operations_live",)] == 0


async def test_every_series_is_documented(gateway):
    """docs/metrics.md has each name."""
    text = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text()
    names = {family.name for family in gateway.app[METRICS].registry.collect()}
    ours = {name for name in names if name.startswith("keyquorum_")}
    assert len(ours) >= 10
    assert {name for name in ours if name not in text} == set()


async def test_logs_hold_no_key_and_no_full_address(cell):
    """Of a whole process, at its most talkative."""
    code = (
        f"import sys; sys.path.insert(0, {str(TOY_SITE)!r})\n"
        "import toychain.adapter\nfrom toychain.ledger import Ledger\n"
        "class Every(dict):\n    def __missing__(self, name):\n        return self.setdefault(name, Ledger())\n"
        "toychain.adapter.LEDGERS = Every()\n"
        "from keyquorum_gateway.serve import main\nmain()"
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = {
        **os.environ,
        "KEYQUORUM_GATEWAY__SERVER__LISTEN": f"127.0.0.1:{port}",
        "KEYQUORUM_GATEWAY__COORDINATOR__ADDRESS": f"127.0.0.1:{cell.port}",
        "KEYQUORUM_GATEWAY__LOG__LEVEL": "debug",
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, "--config", str(cell.config_file)), env=environ, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with aiohttp.ClientSession() as session:
            client = Client(session, f"http://127.0.0.1:{port}", cell.api_key())

            async def up():
                try:
                    return (await client.get("/healthz")).status == 200
                except aiohttp.ClientError:
                    return False

            await eventually(up, 30)
            account = (await client.wallet())["accounts"][0]
            cell.double.behaviour.failure = ("internal", False)
            await client.post("/v1/signatures", {"account_id": account["id"], "message": "x"})
            await client.get(f"/v1/wallets?{client.key}=1")
    finally:
        process.terminate()
        _, errors = await asyncio.wait_for(process.communicate(), 20)
    log = errors.decode()
    assert "gateway.ready" in log
    for secret in (client.key, account["address"], (cell.folder / "pepper").read_text()):
        assert secret not in log
