"""X.509 certificates of three kinds, all self-made: there is no certificate authority to trust.

=========== ============ ================ ====================================================================
kind        key          signed by        says
=========== ============ ================ ====================================================================
identity    Ed25519      itself           "this identity key may certify the channels of node *N*"; pinned in
                                          every roster, so it has no expiry of its own: the roster replaces it
channel     Ed25519,     the identity     "this key is node *N*, in this role, on this one channel"; minutes
leaf        one channel  key
transport   P-256        itself           "this key answers gRPC under these names"; pinned like the identity
=========== ============ ================ ====================================================================

A channel leaf names its channel whole (cell, both ends, channel id, role), so that a leaf, and with it a handshake,
fits exactly one place. That is the channel binding: nothing has to be exported from TLS and compared afterwards.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from keyquorum_core_signer.wire.identity import IdentityKey

Role: TypeAlias = Literal["client", "server"]

CHANNEL_ID_BYTES: Final = 16
CLOCK_SKEW_MAX: Final = timedelta(minutes=10)
"""How far the clocks of two nodes may be apart. A leaf is only looked at during its handshake, which takes milliseconds,
so this is also half of its lifetime."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NO_EXPIRY = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)  # RFC 5280, 4.1.2.5: no well-defined expiration
_PURPOSE: Final[dict[str, ObjectIdentifier]] = {
    "client": ExtendedKeyUsageOID.CLIENT_AUTH,
    "server": ExtendedKeyUsageOID.SERVER_AUTH,
}


class CertificateError(ValueError):
    """Proves that a certificate is not the one that its place asks for; says nothing about who put it there."""


@dataclass(frozen=True, slots=True)
class ChannelBinding:
    """The one place that a channel fits: its cell, its two ends, and 16 random bytes that the client chose.

    Names are 1 to 64 characters of ``A-Za-z0-9._-``; raises ValueError for others, and for a node talking to itself.
    """

    cell_id: str
    client: str
    server: str
    channel_id: bytes

    def __post_init__(self) -> None:
        if not all(_NAME.fullmatch(name) for name in (self.cell_id, self.client, self.server)):
            raise ValueError("a cell or node id has a character that names do not have")
        if self.client == self.server:
            raise ValueError("a channel has two different ends")
        if len(self.channel_id) != CHANNEL_ID_BYTES:
            raise ValueError(f"a channel id has {CHANNEL_ID_BYTES} bytes")

    def node(self, role: Role) -> str:
        """The node at that end."""
        return self.client if role == "client" else self.server

    def urn(self, role: Role) -> str:
        """What the leaf of that end is for; injective, because no name holds a colon."""
        return f"urn:keyquorum:channel:{self.cell_id}:{self.client}:{self.server}:{self.channel_id.hex()}:{role}"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A certificate with its private key, both PEM."""

    certificate: str
    private_key: bytes = field(repr=False)


def identity_certificate(identity: IdentityKey, node_id: str, utc: datetime) -> str:
    """Make the self-signed certificate, PEM, that anchors the channels of ``node_id``."""
    key = _private_key(identity)
    name = _common_name(node_id)
    builder = _builder(name, name, key.public_key(), utc - CLOCK_SKEW_MAX, _NO_EXPIRY)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(certify=True), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return _pem(builder.sign(key, None))


def check_identity_certificate(pem: str, node_id: str, identity_key: bytes) -> x509.Certificate:
    """Parse ``pem`` if it is what :func:`identity_certificate` makes for that node and key; else CertificateError."""
    try:
        (certificate,) = x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        raise CertificateError("an identity certificate is exactly one PEM certificate") from None
    key = certificate.public_key()
    if not isinstance(key, Ed25519PublicKey) or key.public_bytes_raw() != identity_key:
        raise CertificateError("the identity certificate is not one of the pinned identity key")
    if certificate.subject != _common_name(node_id):
        raise CertificateError("the identity certificate is for another node")
    try:
        certificate.verify_directly_issued_by(certificate)
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        raise CertificateError("the identity certificate is not signed by its own key") from None
    if constraints != x509.BasicConstraints(ca=True, path_length=0):
        raise CertificateError("the identity certificate certifies more, or less, than channel leaves")
    return certificate


def channel_leaf(identity: IdentityKey, binding: ChannelBinding, role: Role, utc: datetime) -> Credentials:
    """Make a fresh key for one end of one channel, and have the identity key certify it for nothing else."""
    issuer = _private_key(identity)
    key = Ed25519PrivateKey.generate()
    issuer_name = _common_name(binding.node(role))
    nobody = x509.Name([])  # RFC 5280, 4.1.2.6: then the alternative name says all, and is critical
    builder = _builder(nobody, issuer_name, key.public_key(), utc - CLOCK_SKEW_MAX, utc + CLOCK_SKEW_MAX)
    urn = x509.UniformResourceIdentifier(binding.urn(role))
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(certify=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([_PURPOSE[role]]), critical=True)
    builder = builder.add_extension(x509.SubjectAlternativeName([urn]), critical=True)
    builder = builder.add_extension(authority, critical=False)
    return Credentials(_pem(builder.sign(issuer, None)), _pem_key(key))


def check_channel_leaf(der: bytes, issuer: x509.Certificate, binding: ChannelBinding, role: Role) -> None:
    """Raise CertificateError unless ``der`` is a leaf that ``issuer`` gave to that end of exactly that channel.

    Chain, lifetime and purpose were checked by TLS; the issuer is checked again because all depends on it.
    """
    try:
        leaf = x509.load_der_x509_certificate(der)
        leaf.verify_directly_issued_by(issuer)
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except Exception:  # noqa: BLE001 - a peer's bytes: the parser has more exceptions than it names, and all say this
        raise CertificateError("the channel certificate is not from the pinned identity") from None
    if list(names) != [x509.UniformResourceIdentifier(binding.urn(role))]:
        raise CertificateError("the channel certificate is for another channel, node or role")


def transport_credentials(names: Sequence[str], utc: datetime) -> Credentials:
    """Make a P-256 key and a self-signed certificate for gRPC over mutual TLS, under the given DNS names."""
    if not names or not all(_NAME.fullmatch(name) for name in names):
        raise ValueError("a transport certificate has at least one name, of the form that names have")
    key = ec.generate_private_key(ec.SECP256R1())
    name = _common_name(names[0])
    purposes = x509.ExtendedKeyUsage([_PURPOSE["client"], _PURPOSE["server"]])
    builder = _builder(name, name, key.public_key(), utc - CLOCK_SKEW_MAX, _NO_EXPIRY)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(certify=False), critical=True)
    builder = builder.add_extension(purposes, critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
    return Credentials(_pem(builder.sign(key, hashes.SHA256())), _pem_key(key))


def _private_key(identity: IdentityKey) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(identity.expose_seed())


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: Ed25519PublicKey | ec.EllipticCurvePublicKey,
    since: datetime,
    until: datetime,
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number())
    return builder.not_valid_before(since).not_valid_after(until)


def _key_usage(*, certify: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certify,
        key_cert_sign=certify,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def _pem_key(key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
