"""PKCS#11 URIs name exactly one token and one key, or nothing."""

import pytest

from keyquorum_core_signer.hsm.ports import KekSetupError
from keyquorum_core_signer.hsm.uri import KeyUri, parse_key_uri


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pkcs11:token=party-1;object=kek", KeyUri("party-1", "kek")),
        ("PKCS11:object=kek;token=My%20HSM", KeyUri("My HSM", "kek")),
        ("pkcs11:token=a;serial=0123;object=b", KeyUri("a", "b", "0123")),
    ],
)
def test_reads_what_it_names(text: str, expected: KeyUri) -> None:
    """Attributes come in any order and percent-encoded, as RFC 7512 says."""
    assert parse_key_uri(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pkcs11:",
        "token=a;object=b",
        "http:token=a;object=b",
        "pkcs11:token=a",
        "pkcs11:object=b",
        "pkcs11:token=;object=b",
        "pkcs11:token=a;object=b;token=c",
        "pkcs11:token=a;object=b;manufacturer=c",
        "pkcs11:token=a;object=b;",
        "pkcs11:token=a;object=b?pin-value=1234",
        "pkcs11:token=a;object=b#x",
        "pkcs11:token=%ff;object=b",
        "pkcs11:token=a%00;object=b",
        "pkcs11:token=a;object=b%3A1",
        "pkcs11:token=a;object=" + "b" * 2000,
    ],
)
def test_refuses_what_it_cannot_match_exactly(text: str) -> None:
    """An attribute that would be ignored, doubled, empty or unprintable is an error, and so is a PIN in the URI."""
    with pytest.raises(KekSetupError):
        parse_key_uri(text)
