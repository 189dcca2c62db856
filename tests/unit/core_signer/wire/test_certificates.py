"""Certificates say exactly what they are for, and a pinned one is checked against its pinned key."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID

from keyquorum_core_signer.wire.certificates import (
    CertificateError,
    ChannelBinding,
    channel_leaf,
    check_channel_leaf,
    check_identity_certificate,
    identity_certificate,
    transport_credentials,
)
from keyquorum_core_signer.wire.identity import IdentityKey

UTC_NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
KEY = IdentityKey.from_seed(b"\x01" * 32)
OTHER = IdentityKey.from_seed(b"\x02" * 32)
BINDING = ChannelBinding("cell", "party-1", "party-2", b"\x09" * 16)


def leaf_der(identity=KEY, binding=BINDING, role="client") -> bytes:
    """A channel leaf as TLS hands it over."""
    pem = channel_leaf(identity, binding, role, UTC_NOW).certificate
    return x509.load_pem_x509_certificate(pem.encode()).public_bytes(Encoding.DER)


def anchor(identity=KEY, node_id="party-1") -> x509.Certificate:
    """The certificate that a leaf is checked against."""
    pem = identity_certificate(identity, node_id, UTC_NOW)
    return check_identity_certificate(pem, node_id, identity.public)


def handmade(*, signer=KEY, key=KEY, name="party-1", ca=True, path_length=0) -> str:
    """An identity certificate that may be wrong in one place."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    public = Ed25519PrivateKey.from_private_bytes(key.expose_seed()).public_key()
    certificate = (
        x509.CertificateBuilder(subject, subject, public, 5)
        .not_valid_before(UTC_NOW)
        .not_valid_after(UTC_NOW + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
        .sign(Ed25519PrivateKey.from_private_bytes(signer.expose_seed()), None)
    )
    return certificate.public_bytes(Encoding.PEM).decode()


def test_identity_certificate_is_of_the_identity_key():
    """What is made is accepted for its node and key, and for no other."""
    pem = identity_certificate(KEY, "party-1", UTC_NOW)
    assert check_identity_certificate(pem, "party-1", KEY.public).public_key().public_bytes_raw() == KEY.public
    with pytest.raises(CertificateError, match="pinned identity key"):
        check_identity_certificate(pem, "party-1", OTHER.public)
    with pytest.raises(CertificateError, match="another node"):
        check_identity_certificate(pem, "party-2", KEY.public)


@pytest.mark.parametrize(
    ("pem", "reason"),
    [
        ("", "exactly one"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "exactly one"),
        (2 * identity_certificate(KEY, "party-1", UTC_NOW), "exactly one"),
        (transport_credentials(["party-1"], UTC_NOW).certificate, "pinned identity key"),
        (handmade(signer=OTHER), "not signed by its own key"),
        (handmade(ca=False, path_length=None), "certifies more, or less"),
        (handmade(path_length=1), "certifies more, or less"),
    ],
    ids=["nothing", "garbage", "two", "another algorithm", "signed by another", "no authority", "may delegate"],
)
def test_wrong_identity_certificate_is_refused(pem, reason):
    """Everything that is not a self-signed authority over leaves, of the pinned key, is refused with its reason."""
    with pytest.raises(CertificateError, match=reason):
        check_identity_certificate(pem, "party-1", KEY.public)


@pytest.mark.parametrize(
    "changed",
    [
        ChannelBinding("other-cell", "party-1", "party-2", b"\x09" * 16),
        ChannelBinding("cell", "party-3", "party-2", b"\x09" * 16),
        ChannelBinding("cell", "party-1", "party-3", b"\x09" * 16),
        ChannelBinding("cell", "party-1", "party-2", b"\x08" * 16),
        ChannelBinding("cell", "party-2", "party-1", b"\x09" * 16),
    ],
    ids=["cell", "client", "server", "channel id", "direction"],
)
def test_leaf_fits_one_channel(changed):
    """A leaf for a channel that differs in one respect is refused."""
    check_channel_leaf(leaf_der(), anchor(), BINDING, "client")
    with pytest.raises(CertificateError, match=r"another channel|pinned identity"):
        check_channel_leaf(leaf_der(binding=changed), anchor(), BINDING, "client")


def test_leaf_fits_one_role():
    """A client's leaf is none for a server, even for the same node."""
    mirrored = ChannelBinding("cell", "party-2", "party-1", b"\x09" * 16)
    check_channel_leaf(leaf_der(binding=mirrored, role="server"), anchor(), mirrored, "server")
    with pytest.raises(CertificateError, match="another channel"):
        check_channel_leaf(leaf_der(), anchor(), mirrored, "server")


def test_leaf_comes_from_the_pinned_identity():
    """Another key's leaf, or bytes that are no certificate, are refused."""
    for der in (leaf_der(identity=OTHER), b"", b"\x30\x00"):
        with pytest.raises(CertificateError, match="pinned identity"):
            check_channel_leaf(der, anchor(), BINDING, "client")


def test_leaf_key_is_fresh_and_short_lived():
    """Two leaves for one channel have two keys, each valid for minutes."""
    first, second = (channel_leaf(KEY, BINDING, "client", UTC_NOW) for _ in range(2))
    assert first.private_key != second.private_key
    leaf = x509.load_pem_x509_certificate(first.certificate.encode())
    assert leaf.not_valid_before_utc <= UTC_NOW <= leaf.not_valid_after_utc
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc <= timedelta(minutes=20)


@pytest.mark.parametrize(
    "fields",
    [
        ("cell:x", "a", "b", bytes(16)),
        ("cell", "a:b", "c", bytes(16)),
        ("cell", "a", "", bytes(16)),
        ("cell", "a", "a", bytes(16)),
        ("cell", "a", "b", bytes(15)),
        ("cell", "é", "b", bytes(16)),
        ("cell", "a" * 65, "b", bytes(16)),
    ],
)
def test_binding_refuses_ambiguous_names(fields):
    """Names that could make two bindings share one text are refused, and so are a node alone and a short id."""
    with pytest.raises(ValueError, match=r"channel|character"):
        ChannelBinding(*fields)


def test_transport_credentials_carry_their_names():
    """A transport certificate is self-signed P-256 with exactly the given names, and its key matches."""
    credentials = transport_credentials(["party-1", "localhost"], UTC_NOW)
    certificate = x509.load_pem_x509_certificate(credentials.certificate.encode())
    key = load_pem_private_key(credentials.private_key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == "secp256r1"
    assert certificate.public_key() == key.public_key()
    assert isinstance(certificate.signature_hash_algorithm, hashes.SHA256)
    certificate.verify_directly_issued_by(certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["party-1", "localhost"]
    for names in ([], ["*.example.org"], ["a b"]):
        with pytest.raises(ValueError, match="name"):
            transport_credentials(names, UTC_NOW)


def test_private_keys_do_not_show():
    """Credentials print without their key."""
    credentials = transport_credentials(["party-1"], UTC_NOW)
    assert "PRIVATE" not in repr(credentials)
    assert "PRIVATE" not in repr(channel_leaf(KEY, BINDING, "client", UTC_NOW))
