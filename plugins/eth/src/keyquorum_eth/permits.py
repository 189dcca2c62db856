"""The structured documents that have a name here: signatures that let somebody else spend a token.

* ERC-2612 ``Permit``, and the older one of DAI, whose allowance is everything or nothing; the token is the verifying contract;
* Permit2's ``PermitSingle`` (an allowance) and ``PermitTransferFrom`` (one transfer, by whoever is named as the spender), whose
  verifying contract is Permit2 itself, at the one address that it has on every chain.

Each is recognised by all of its types, field by field. Whatever else a document says is not signed: nobody could tell an
approver, or a policy, what it allows.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from keyquorum_eth.addresses import checksummed
from keyquorum_eth.eip712 import DOMAIN, Fields, StructuredDocument
from keyquorum_eth.limits import U256_MAX
from keyquorum_eth.readable import require_readable
from keyquorum_plugin_api.errors import InvalidPayload

PERMIT2 = bytes.fromhex("000000000022d473030f116ddee9f6b43ac78ba3")
_DOMAIN_TEXT_BYTES_MAX = 64

_ERC2612: Fields = (
    ("owner", "address"),
    ("spender", "address"),
    ("value", "uint256"),
    ("nonce", "uint256"),
    ("deadline", "uint256"),
)
_DAI: Fields = (
    ("holder", "address"),
    ("spender", "address"),
    ("nonce", "uint256"),
    ("expiry", "uint256"),
    ("allowed", "bool"),
)
_PERMIT_SINGLE: Mapping[str, Fields] = {
    "PermitSingle": (("details", "PermitDetails"), ("spender", "address"), ("sigDeadline", "uint256")),
    "PermitDetails": (("token", "address"), ("amount", "uint160"), ("expiration", "uint48"), ("nonce", "uint48")),
}
_PERMIT_TRANSFER: Mapping[str, Fields] = {
    "PermitTransferFrom": (
        ("permitted", "TokenPermissions"),
        ("spender", "address"),
        ("nonce", "uint256"),
        ("deadline", "uint256"),
    ),
    "TokenPermissions": (("token", "address"), ("amount", "uint256")),
}


@dataclass(frozen=True, slots=True)
class Permit:
    """``spender`` may take up to ``amount`` minor units of ``token`` (20 bytes each) from the signer until ``until``."""

    kind: str
    owner: bytes | None  # None where the document leaves it to the signature
    token: bytes
    spender: bytes
    amount: int
    until: int  # Unix seconds, until which it can be used
    nonce: int

    @property
    def detail(self) -> str:
        """For people."""
        return f"{self.kind}, until {self.until}, nonce {self.nonce}"


def permit_of(document: StructuredDocument, chain_id: int) -> Permit:
    """What a document allows on a chain; :class:`InvalidPayload` for one without a name."""
    domain = document.domain
    if domain.get("chainId") != chain_id:
        raise InvalidPayload("the document is for another chain, or for every one")
    if "verifyingContract" not in domain or "salt" in domain:
        raise InvalidPayload("the document's domain names no contract, or is salted")
    for text in ("name", "version"):
        if text in domain:
            require_readable(domain[text], _DOMAIN_TEXT_BYTES_MAX)
    structs = {name: fields for name, fields in document.types.items() if name != DOMAIN}
    message, contract = document.message, domain["verifyingContract"]
    if structs == {"Permit": _ERC2612}:
        owner, spender, until = message["owner"], message["spender"], message["deadline"]
        return Permit("ERC-2612", owner, contract, spender, message["value"], until, message["nonce"])
    if structs == {"Permit": _DAI}:
        amount = U256_MAX if message["allowed"] else 0
        owner, spender, until = message["holder"], message["spender"], message["expiry"]
        return Permit("DAI", owner, contract, spender, amount, until or U256_MAX, message["nonce"])
    if structs == _PERMIT_SINGLE and _is_permit2(document):
        details = message["details"]
        until = max(message["sigDeadline"], details["expiration"])
        return Permit("Permit2", None, details["token"], message["spender"], details["amount"], until, details["nonce"])
    if structs == _PERMIT_TRANSFER and _is_permit2(document):
        permitted, until = message["permitted"], message["deadline"]
        return Permit(
            "Permit2 transfer",
            None,
            permitted["token"],
            message["spender"],
            permitted["amount"],
            until,
            message["nonce"],
        )
    raise InvalidPayload(f"a document of the type {document.primary_type} has no name here: what it allows is unknown")


def _is_permit2(document: StructuredDocument) -> bool:
    domain = document.domain
    if domain["verifyingContract"] != PERMIT2 or domain.get("name") != "Permit2" or "version" in domain:
        raise InvalidPayload(f"a document of Permit2 is for the contract {checksummed(PERMIT2)} alone")
    return True
