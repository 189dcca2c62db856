"""gRPC over mutual TLS with nothing but pinned self-signed certificates."""

from datetime import UTC, datetime

import grpc
import pytest

from keyquorum_core_signer.wire.certificates import Credentials, transport_credentials

SERVER, CLIENT, STRANGER = (
    transport_credentials([name], datetime.now(UTC)) for name in ("party-1", "coordinator-1", "x")
)
METHOD = "/toy/Echo"


class Echo(grpc.GenericRpcHandler):
    """One method that answers with who called."""

    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(self.answer)

    async def answer(self, request, context):
        (peer,) = context.auth_context()["x509_common_name"]
        return peer + b" " + request


async def call(client: Credentials, pinned: str, name: str = "party-1") -> bytes:
    """Serve as party-1 to coordinator-1, and call as ``client``, pinning ``pinned`` under ``name``."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Echo(),))
    pair = (SERVER.private_key, SERVER.certificate.encode())
    credentials = grpc.ssl_server_credentials([pair], CLIENT.certificate.encode(), require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    credentials = grpc.ssl_channel_credentials(pinned.encode(), client.private_key, client.certificate.encode())
    options = [("grpc.ssl_target_name_override", name)]
    try:
        async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options) as channel:
            return await channel.unary_unary(METHOD)(b"hello", timeout=5)
    finally:
        await server.stop(None)


async def test_pinned_peers_talk():
    """Each side accepts exactly the certificate that it pins, under its name."""
    assert await call(CLIENT, SERVER.certificate) == b"coordinator-1 hello"


@pytest.mark.parametrize(
    ("client", "pinned", "name"),
    [
        (STRANGER, SERVER.certificate, "party-1"),
        (CLIENT, STRANGER.certificate, "party-1"),
        (CLIENT, SERVER.certificate, "party-2"),
        (transport_credentials(["coordinator-1"], datetime.now(UTC)), SERVER.certificate, "party-1"),
    ],
    ids=["unknown client", "unknown server", "another name", "same name, another key"],
)
async def test_everybody_else_is_refused(client, pinned, name):
    """A certificate that is not the pinned one opens no connection."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(client, pinned, name)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
