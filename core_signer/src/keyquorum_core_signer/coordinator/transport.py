"""gRPC over mutual TLS, both ways: to the parties that we dial, and for the gateways that call us.

Certificates are self-signed and pinned, so each peer's certificate is the only root that is accepted for it. Towards
gateways all pinned certificates are roots at once; because a root may sign others if it says so, the presented
certificate is compared with the pins as well (:class:`GatewayPins`).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from keyquorum_core_signer.coordinator.limits import (
    FRAME_BYTES_MAX,
    KEEPALIVE_ALLOWED_MS,
    KEEPALIVE_MS,
    KEEPALIVE_TIMEOUT_MS,
    REQUEST_BYTES_MAX,
)
from keyquorum_core_signer.intents.roster import Gateway, Node

LINK_OPTIONS: Final = (
    ("grpc.max_receive_message_length", FRAME_BYTES_MAX),
    ("grpc.max_send_message_length", FRAME_BYTES_MAX),
    ("grpc.keepalive_time_ms", KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
)
SERVER_OPTIONS: Final = (
    ("grpc.max_receive_message_length", REQUEST_BYTES_MAX),
    ("grpc.max_send_message_length", REQUEST_BYTES_MAX),
    ("grpc.http2.min_ping_interval_without_data_ms", KEEPALIVE_ALLOWED_MS),
    ("grpc.so_reuseport", 0),
)


def dialer(certificate: bytes, private_key: bytes) -> Callable[[Node], grpc.aio.Channel]:
    """Dials parties as ourselves (PEM), each under its own pinned certificate and its node id as the expected name."""

    def dial(node: Node) -> grpc.aio.Channel:
        credentials = grpc.ssl_channel_credentials(node.transport_certificate.encode(), private_key, certificate)
        options = [*LINK_OPTIONS, ("grpc.ssl_target_name_override", node.node_id)]
        return grpc.aio.secure_channel(node.address, credentials, options)

    return dial


def server_credentials(gateways: Sequence[Gateway], certificate: bytes, private_key: bytes) -> grpc.ServerCredentials:
    """Credentials that refuse, in the handshake, whoever does not present a pinned gateway's certificate."""
    roots = "".join(gateway.transport_certificate for gateway in gateways).encode()
    return grpc.ssl_server_credentials([(private_key, certificate)], roots, require_client_auth=True)


class GatewayPins:
    """Tells which pinned gateway a call comes from."""

    def __init__(self, gateways: Iterable[Gateway]) -> None:
        self._by_certificate = {
            _canonical(gateway.transport_certificate.encode()): gateway.gateway_id for gateway in gateways
        }

    def identify(self, context: "grpc.aio.ServicerContext[Any, Any]") -> str | None:
        """The gateway id, or None where the peer's certificate is not one of the pinned ones."""
        presented = next(iter(context.auth_context().get("x509_pem_cert", ())), b"")
        return self._by_certificate.get(bytes(presented))


def _canonical(pem: bytes) -> bytes:
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.PEM)
