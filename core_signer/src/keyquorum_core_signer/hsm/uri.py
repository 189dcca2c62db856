"""PKCS#11 URIs (RFC 7512), as far as one is needed to name a key-encryption key.

``pkcs11:token=TOKEN;object=LABEL``, with ``;serial=…`` where two tokens have the same label. Everything else that the RFC
allows is refused: an attribute that is silently not matched would select another key than the operator meant, and a PIN
never stands in a URI.
"""

from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from keyquorum_core_signer.hsm.ports import KekSetupError

URI_CHARS_MAX = 1024
_KNOWN = frozenset({"token", "object", "serial"})


@dataclass(frozen=True, slots=True)
class KeyUri:
    """Which token and which key on it; ``serial`` is None where the token's label is enough."""

    token: str
    object: str
    serial: str | None = None


def parse_key_uri(text: str) -> KeyUri:
    """The token and key that ``text`` names; raises KekSetupError."""
    scheme, _, path = text.partition(":")
    if scheme.lower() != "pkcs11" or len(text) > URI_CHARS_MAX:
        raise KekSetupError("not a PKCS#11 URI")
    if "?" in path or "#" in path:
        raise KekSetupError("a PKCS#11 URI of a key has no query: the module and the PIN file are set on their own")
    found: dict[str, str] = {}
    for pair in path.split(";"):
        name, separator, value = pair.partition("=")
        if not separator or name not in _KNOWN or name in found:
            raise KekSetupError(f"a PKCS#11 URI of a key names token, object and serial, each once; not {name!r}")
        found[name] = _decoded(name, value)
    if not found.get("token") or not found.get("object"):
        raise KekSetupError("a PKCS#11 URI of a key names a token and an object")
    return KeyUri(found["token"], found["object"], found.get("serial"))


def _decoded(name: str, value: str) -> str:
    try:
        text = unquote_to_bytes(value).decode()
    except UnicodeDecodeError:
        text = ""
    if not text or not text.isprintable() or ":" in text:  # a KEK id is kind:label:generation
        raise KekSetupError(f"a PKCS#11 URI's {name} is printable, not empty and has no colon")
    return text
