"""A node's public card: what its operator gives to the others, signed by the identity key that the fingerprint names.

Whoever has compared the fingerprint can believe everything else on the card.
"""

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, cast, get_args

from keyquorum_core_signer.intents.errors import RosterError
from keyquorum_core_signer.intents.tables import parse_toml
from keyquorum_core_signer.wire.codec import plain
from keyquorum_core_signer.wire.identity import IdentityKey, verify

Role = Literal["party", "coordinator", "gateway"]

CARD_TAG: Final = "keyquorum/card/v1"
CARD_VERSION: Final = 1

_GROUP: Final = 4
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ADDRESS: Final = re.compile(r"[A-Za-z0-9.:\[\]-]{3,261}")


@dataclass(frozen=True, slots=True)
class Card:
    """Who a node is and how to reach it; the address and the identity certificate are a party's alone."""

    role: Role
    node_id: str
    identity_key: bytes
    transport_certificate: str
    address: str = ""
    identity_certificate: str = ""
    signature: bytes = b""

    @property
    def fingerprint(self) -> str:
        """What operators compare by voice."""
        return fingerprint(self.identity_key)

    def signed(self, identity: IdentityKey) -> "Card":
        """The same card with the identity's signature."""
        return replace(self, signature=identity.sign(CARD_TAG, self._statement()))

    def dump(self) -> str:
        """The card as TOML; its strings were checked to need no escaping."""
        lines = [
            "# A node's public card. Compare its fingerprint with its operator before you believe it:",
            f"# {self.fingerprint}",
            f"version = {CARD_VERSION}",
            f'role = "{self.role}"',
            f'node_id = "{self.node_id}"',
            f'identity_key = "{self.identity_key.hex()}"',
        ]
        if self.role == "party":
            lines.append(f'address = "{self.address}"')
            lines.append(f'identity_certificate = """\n{self.identity_certificate}"""')
        lines.append(f'transport_certificate = """\n{self.transport_certificate}"""')
        lines.append(f'signature = "{self.signature.hex()}"')
        return "\n".join(lines) + "\n"

    @classmethod
    def load(cls, path: Path) -> "Card":
        """Read a card whose signature verifies; raises RosterError."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise RosterError(f"{path}: {error.strerror}") from None
        try:
            return cls._parse(data)
        except RosterError as error:
            raise RosterError(f"{path}: {error.detail}") from None

    @classmethod
    def _parse(cls, data: bytes) -> "Card":
        table = parse_toml(data, "card")
        if table.integer("version") != CARD_VERSION:
            raise RosterError(f"card.version: only {CARD_VERSION} is known")
        role = table.text("role")
        if role not in get_args(Role):
            raise RosterError("card.role: not a role")
        is_party = role == "party"
        card = cls(
            role=cast("Role", role),
            node_id=table.text("node_id"),
            identity_key=table.key_bytes("identity_key"),
            transport_certificate=table.certificate("transport_certificate"),
            address=table.text("address") if is_party else "",
            identity_certificate=table.certificate("identity_certificate") if is_party else "",
            signature=table.key_bytes("signature"),
        )
        table.finish()
        if not _NAME.fullmatch(card.node_id):
            raise RosterError("card.node_id: not a name")
        if is_party and not _ADDRESS.fullmatch(card.address):
            raise RosterError("card.address: not host:port")
        if not verify(card.identity_key, CARD_TAG, card._statement(), card.signature):
            raise RosterError("the card is not signed by the identity key that it names")
        return card

    def _statement(self) -> bytes:
        return plain.encode(
            (
                CARD_VERSION,
                self.role,
                self.node_id,
                self.identity_key,
                self.transport_certificate,
                self.address,
                self.identity_certificate,
            )
        )


def fingerprint(identity_key: bytes) -> str:
    """SHA-256 of an identity key, in groups that can be read aloud."""
    text = hashlib.sha256(identity_key).hexdigest()
    return " ".join(text[at : at + _GROUP] for at in range(0, len(text), _GROUP))


def same_fingerprint(one: str, other: str) -> bool:
    """Whether two fingerprints are the same, however they are spaced or capitalised. Both must be whole."""
    return _digits(one) == _digits(other) and len(_digits(one)) == hashlib.sha256().digest_size * 2


def _digits(text: str) -> str:
    return re.sub(r"[\s:-]", "", text).lower()
