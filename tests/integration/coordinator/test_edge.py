"""The gateways' side: who may call, what is refused early, and what is listed."""

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from integration.coordinator.harness import GatewayClient, connect, gateway_of, refusal, running, states
from keyquorum_core_signer.config import CoordinatorConfig
from keyquorum_core_signer.coordinator.serve import SERVICES, CannotStart, start_coordinator
from keyquorum_core_signer.intents.certificate import verify_certificate
from keyquorum_core_signer.telemetry import start_telemetry
from keyquorum_core_signer.wire.certificates import transport_credentials
from keyquorum_core_signer.wire.identity import INTENT_TAG, IdentityKey
from keyquorum_protos.signer.v1 import intent_pb2, signer_pb2
from keyquorum_protos.wallet.v1 import wallet_pb2


async def collect(call):
    return [event async for response in call for event in response.events]


async def test_a_foreign_certificate_is_refused_in_the_handshake(cell, coordinator):
    """Whoever is not pinned gets no answer, whatever name it gives itself."""
    for name in ("gateway-1", "gateway-2"):
        stranger = transport_credentials([name], datetime.now(UTC))
        async with connect(coordinator.port, cell.coordinator.certificate, stranger) as channel:
            client = GatewayClient(cell, channel)
            code, _, _ = await refusal(client.signer.ListParties(signer_pb2.ListPartiesRequest(), timeout=5))
            assert code is grpc.StatusCode.UNAVAILABLE


async def test_a_party_is_no_gateway(cell, coordinator):
    """A certificate that is pinned for another role does not open this door."""
    async with connect(coordinator.port, cell.coordinator.certificate, cell.transports["party-1"]) as channel:
        client = GatewayClient(cell, channel)
        code, _, _ = await refusal(client.signer.ListParties(signer_pb2.ListPartiesRequest(), timeout=5))
        assert code is grpc.StatusCode.UNAVAILABLE


async def test_a_client_without_a_certificate_is_refused(cell, coordinator):
    """Server authentication alone is not enough."""
    credentials = grpc.ssl_channel_credentials(cell.coordinator.certificate.encode())
    options = [("grpc.ssl_target_name_override", "coordinator-1")]
    async with grpc.aio.secure_channel(f"127.0.0.1:{coordinator.port}", credentials, options) as channel:
        client = GatewayClient(cell, channel)
        code, _, _ = await refusal(client.signer.ListParties(signer_pb2.ListPartiesRequest(), timeout=5))
        assert code is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"",
        lambda data: b"not a protobuf at all",
        lambda data: data + b"\x00",
        lambda data: data[:-1],
        lambda data: data + bytes([0xFA, 0x01, 0x01, 0x00]),
    ],
    ids=["empty", "nonsense", "trailing byte", "cut", "unknown field"],
)
async def test_bytes_that_are_no_intent_are_refused(cell, gateway, change):
    """Nothing of them is recorded, and no party hears of them."""
    data = change(cell.intent(cell.sign("key_1")))
    code, reason, retriable = await refusal(gateway.sign(data))
    assert (code, reason, retriable) == (grpc.StatusCode.INVALID_ARGUMENT, "intent-invalid", False)
    listed = await gateway.signer.ListOperations(signer_pb2.ListOperationsRequest())
    assert not listed.latest


@pytest.mark.parametrize("forgery", ["other key", "other bytes", "garbage", "absent"])
async def test_an_authorization_that_does_not_hold_is_refused(cell, gateway, forgery):
    """The initiator's signature is looked at before anybody is asked."""
    data = cell.intent(cell.sign("key_1"))
    mallory = IdentityKey.generate()
    authorization = {
        "other key": intent_pb2.Authorization(public_key=mallory.public, signature=mallory.sign(INTENT_TAG, data)),
        "other bytes": cell.authorize(data + b"x"),
        "garbage": intent_pb2.Authorization(public_key=cell.root.public, signature=bytes(64)),
        "absent": intent_pb2.Authorization(),
    }[forgery]
    call = gateway.signer.Sign(signer_pb2.SignRequest(intent=data, authorization=authorization))
    code, reason, _ = await refusal(collect(call))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "intent-invalid")


@pytest.mark.parametrize(
    "changes",
    [{"cell_id": "cell-other"}, {"roster_hash": bytes(32)}, {"valid_until_ms": int(time.time() * 1000) - 1}],
    ids=["another cell", "another roster", "expired"],
)
async def test_an_intent_that_no_party_would_take_is_refused(cell, gateway, changes):
    """Another cell's, another roster's and an expired intent are answered at once."""
    code, reason, _ = await refusal(gateway.sign(cell.intent(cell.sign("key_1"), **changes)))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "intent-invalid")


async def test_an_intent_comes_to_its_own_method(cell, gateway):
    """A signing intent makes no key, and the other way round."""
    code, reason, _ = await refusal(gateway.create(cell.intent(cell.sign("key_1"))))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "intent-invalid")
    code, reason, _ = await refusal(gateway.sign(cell.intent(cell.create("key_1"))))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "intent-invalid")


async def test_an_unknown_key_fails_the_operation(cell, gateway):
    """The operation is recorded and ends at once; no party is asked."""
    events = await gateway.sign(cell.intent(cell.sign("key_unknown")))
    assert states(events) == ["KEY_SHARE", "FAILED"]
    assert (events[-1].error.code, events[-1].error.retriable) == ("key-not-found", False)


async def test_another_scheme_than_the_keys_is_refused(cell, gateway):
    """The key's certificate says what it signs with."""
    await gateway.make_key()
    command = replace(cell.sign("key_1"), scheme="ecdsa_secp256k1", messages=())
    command = replace(command, messages=(type(cell.sign("key_1").messages[0])(bytes(32)),))
    events = await gateway.sign(cell.intent(command))
    assert (states(events)[-1], events[-1].error.code) == ("FAILED", "intent-invalid")


async def test_an_oversized_request_is_refused(cell, gateway):
    """gRPC drops it before it is parsed."""
    request = signer_pb2.SignRequest(intent=bytes(5 * 1024 * 1024))
    code, _, _ = await refusal(collect(gateway.signer.Sign(request, timeout=10)))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_operations_are_bounded(cell):
    """Beyond the configured number nothing is started, and the caller is told to come again."""
    async with running(cell, limits={"operations": 2}) as coordinator, gateway_of(cell, coordinator) as gateway:
        await gateway.make_key()
        for party in cell.parties.values():
            party.script.think_s = 0.3
        orders = [asyncio.create_task(gateway.sign(cell.intent(cell.sign("key_1")))) for _ in range(2)]
        await asyncio.sleep(0.2)
        code, reason, retriable = await refusal(gateway.sign(cell.intent(cell.sign("key_1"))))
        assert (code, reason, retriable) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", True)
        assert {states(await order)[-1] for order in orders} == {"COMPLETE"}
        assert states(await gateway.sign(cell.intent(cell.sign("key_1"))))[-1] == "COMPLETE"


async def test_streams_are_bounded(cell):
    """So are those who watch, even if they watch the same operation."""
    async with running(cell, limits={"followers": 2}) as coordinator, gateway_of(cell, coordinator) as gateway:
        await gateway.make_key()
        for party in cell.parties.values():
            party.script.think_s = 0.3
        data = cell.intent(cell.sign("key_1"))
        watchers = [asyncio.create_task(gateway.sign(data)) for _ in range(2)]
        await asyncio.sleep(0.2)
        code, reason, _ = await refusal(gateway.sign(data))
        assert (code, reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "busy")
        assert {states(await watcher)[-1] for watcher in watchers} == {"COMPLETE"}


async def test_operations_can_be_looked_at(cell, gateway):
    """One with its history, all in pages newest first; what is not known is not found."""
    await gateway.make_key()
    orders = [await gateway.sign(cell.intent(cell.sign("key_1", bytes([i])))) for i in range(5)]
    found = await gateway.signer.GetOperation(signer_pb2.GetOperationRequest(operation_id=orders[2][0].operation_id))
    assert list(found.events) == orders[2]
    ids, token = [], ""
    while True:
        page = await gateway.signer.ListOperations(signer_pb2.ListOperationsRequest(limit=2, page_token=token))
        assert len(page.latest) <= 2
        ids += [event.operation_id for event in page.latest]
        token = page.next_page_token
        if not token:
            break
    assert ids[:5] == [events[0].operation_id for events in reversed(orders)]
    assert len(ids) == 6
    code, reason, _ = await refusal(
        gateway.signer.GetOperation(signer_pb2.GetOperationRequest(operation_id="op_unknown"))
    )
    assert (code, reason) == (grpc.StatusCode.NOT_FOUND, "operation-not-found")


@pytest.mark.parametrize(
    "request_", [{"limit": 101}, {"page_token": "x"}, {"page_token": "9" * 30}, {"page_token": "-1"}]
)
async def test_pages_have_limits(gateway, request_):
    """A page of more than a hundred, or a token that is not ours, is refused."""
    code, _, _ = await refusal(gateway.signer.ListOperations(signer_pb2.ListOperationsRequest(**request_)))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    code, _, _ = await refusal(gateway.wallets.ListKeys(wallet_pb2.ListKeysRequest(**request_)))
    assert code is grpc.StatusCode.INVALID_ARGUMENT


async def test_keys_can_be_listed(cell, gateway):
    """All keys in pages, oldest first, as the parties signed them."""
    for number in range(3):
        await gateway.make_key(f"key_{number}")
    names, token = [], ""
    while True:
        page = await gateway.wallets.ListKeys(wallet_pb2.ListKeysRequest(limit=2, page_token=token))
        names += [verify_certificate(signed, cell.roster).key_id for signed in page.certificates]
        token = page.next_page_token
        if not token:
            break
    assert names == ["key_0", "key_1", "key_2"]
    code, reason, _ = await refusal(gateway.wallets.GetKey(wallet_pb2.GetKeyRequest(key_id="key_9")))
    assert (code, reason) == (grpc.StatusCode.NOT_FOUND, "key-not-found")


async def test_parties_are_listed_as_the_coordinator_sees_them(cell, gateway):
    """Who is connected, since when, with which channels; and the roster that is served."""
    await cell.parties["party-3"].kill()
    async with asyncio.timeout(5):
        while True:
            listed = await gateway.signer.ListParties(signer_pb2.ListPartiesRequest())
            if [party.connected for party in listed.parties] == [True, True, False]:
                break
            await asyncio.sleep(0.01)
    assert listed.roster_hash == cell.roster.roster_hash
    assert listed.cell_id == cell.roster.cell_id
    assert [party.node_id for party in listed.parties] == list(cell.node_ids)
    assert [party.index for party in listed.parties] == [1, 2, 3]
    assert [party.identity_key for party in listed.parties] == [node.identity_key for node in cell.roster.nodes]
    assert listed.parties[0].version == "scripted"
    assert listed.parties[0].kek_kind == "soft"
    assert abs(listed.parties[0].since_ms / 1000 - time.time()) < 60


async def test_health_tells_when_it_stops(cell):
    """SERVING while it serves, for the process and for each service; NOT_SERVING once it drains."""
    async with running(cell) as coordinator, gateway_of(cell, coordinator) as gateway:
        stub = health_pb2_grpc.HealthStub(gateway.channel)
        for name in ("", *SERVICES):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=""))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        stopping = asyncio.create_task(coordinator.stop())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        await stopping


@pytest.mark.parametrize("enabled", [False, True])
async def test_reflection_is_a_switch(cell, enabled):
    """Off unless configured."""
    async with running(cell, reflection=enabled) as coordinator, gateway_of(cell, coordinator) as gateway:
        stub = reflection_pb2_grpc.ServerReflectionStub(gateway.channel)
        call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        if enabled:
            answer = await call.read()
            names = {service.name for service in answer.list_services_response.service}
            assert set(SERVICES) <= names
        else:
            code, _, _ = await refusal(call.read())
            assert code is grpc.StatusCode.UNIMPLEMENTED


async def test_a_stopping_coordinator_takes_nothing_new(cell, coordinator, gateway):
    """While it drains, new intents are turned away as retriable; what runs may still be followed."""
    await gateway.make_key()
    for party in cell.parties.values():
        party.script.think_s = 0.2
    data = cell.intent(cell.sign("key_1"))
    order = asyncio.create_task(gateway.sign(data))
    await asyncio.sleep(0.1)
    stopping = asyncio.create_task(coordinator.stop())
    await asyncio.sleep(0.05)
    code, reason, retriable = await refusal(gateway.sign(cell.intent(cell.sign("key_1"))))
    assert (code, reason, retriable) == (grpc.StatusCode.UNAVAILABLE, "coordinator-unavailable", True)
    assert await gateway.sign(data) == await order
    await stopping


@pytest.mark.parametrize("wrong", ["no such coordinator", "another certificate", "no key", "no roster", "taken port"])
async def test_a_coordinator_that_cannot_start_says_why(cell, wrong):
    """Each in one line for the operator; nothing is left open."""
    changes = {}
    if wrong == "no such coordinator":
        changes["coordinator_id"] = "coordinator-9"
    elif wrong == "another certificate":
        (cell.folder / "coordinator.pem").write_text(cell.gateway.certificate)
    elif wrong == "no key":
        (cell.folder / "coordinator.key").unlink()
    elif wrong == "no roster":
        (cell.folder / "roster.toml").unlink()
    else:
        changes["listen"] = cell.roster.nodes[0].address
    telemetry = start_telemetry("keyquorum-coordinator", "coordinator-1", log_level="error")
    config: CoordinatorConfig = cell.config(**changes)
    for _ in range(2):  # the second try finds no lock of the first
        with pytest.raises(CannotStart) as caught:
            await start_coordinator(config, telemetry)
        assert len(str(caught.value).splitlines()) == 1
    telemetry.shutdown()


async def test_two_coordinators_do_not_share_a_log(cell, coordinator):
    """The second one does not start."""
    telemetry = start_telemetry("keyquorum-coordinator", "coordinator-1", log_level="error")
    with pytest.raises(CannotStart, match="another coordinator runs on this operation log"):
        await start_coordinator(cell.config(), telemetry)
    telemetry.shutdown()
