"""The toy chain's pure codec."""

import hashlib
import json
from collections.abc import Mapping, Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from keyquorum_plugin_api.codec import (
    Codec,
    Decoded,
    Effect,
    EffectKind,
    SignedTransaction,
    SignerAccount,
    SigningRequest,
    TransferIntent,
    UnsignedTransaction,
)
from keyquorum_plugin_api.errors import InvalidAddress, InvalidPayload, SignatureInvalid

FEE = 5


def address_of(public_key: bytes) -> str:
    """The toy address of a key."""
    return "toy1" + hashlib.sha256(public_key).hexdigest()[:40]


class ToyCodec(Codec):
    """A payload is JSON that lists its effects and names its signer's key and path."""

    name = "toy"
    namespace = "toy"
    scheme = "eddsa_ed25519"

    def derive_address(self, public_key: bytes, chain: str) -> str:
        """The address of a key."""
        if len(public_key) != 32:
            raise InvalidAddress("a toy key has 32 bytes")
        return address_of(public_key)

    def validate_address(self, address: str, chain: str) -> str:
        """Lower case is canonical."""
        canonical = address.lower()
        if not canonical.startswith("toy1") or len(canonical) != 44:
            raise InvalidAddress("not a toy address")
        return canonical

    def canonical_asset(self, asset: str, chain: str) -> str:
        """Lower case."""
        return asset.lower()

    def build(self, intent: TransferIntent, metadata: Mapping[str, str]) -> UnsignedTransaction:
        """A transfer."""
        source = intent.source
        transfer = {
            "kind": "transfer",
            "asset": intent.asset,
            "amount": intent.amount,
            "source": source.address,
            "destination": intent.destination,
            "detail": intent.memo,
        }
        fee = {
            "kind": "fee",
            "asset": f"{intent.chain}/slip44:1",
            "amount": int(metadata.get("fee", FEE)),
            "source": (intent.fee_payer or source).address,
        }
        return self.unsigned(intent.chain, source, [transfer, fee], metadata.get("nonce", "0"))

    def build_cancellation(self, source: SignerAccount, chain: str, metadata: Mapping[str, str]) -> UnsignedTransaction:
        """Nothing but a fee."""
        fee = {"kind": "fee", "asset": f"{chain}/slip44:1", "amount": int(metadata["fee"]), "source": source.address}
        return self.unsigned(chain, source, [fee], metadata["nonce"])

    def build_typed_data(self, account: SignerAccount, chain: str, document: str) -> UnsignedTransaction:
        """A document is a list of effects."""
        return self.unsigned(chain, account, json.loads(document), "document")

    def excludes(self, payload: bytes, other: bytes, chain: str) -> bool:
        """The nonce of one account can be used once."""
        first, second = json.loads(payload), json.loads(other)
        return all(first[name] == second[name] for name in ("chain", "nonce", "public_key"))

    def build_message(self, account: SignerAccount, chain: str, message: str) -> UnsignedTransaction:
        """A message."""
        return self.unsigned(
            chain, account, [{"kind": "message", "source": account.address, "detail": message}], "message"
        )

    def unsigned(self, chain: str, account: SignerAccount, effects: list[dict], nonce: str) -> UnsignedTransaction:
        """Any payload: what a hostile adapter uses too."""
        payload = json.dumps(
            {
                "chain": chain,
                "nonce": nonce,
                "effects": effects,
                "public_key": account.public_key.hex(),
                "path": list(account.path),
            },
            sort_keys=True,
        ).encode()
        decoded = self.decode(payload, chain, [account])
        return UnsignedTransaction(chain, payload, decoded.requests, decoded.effects, {"height": 100})

    def decode(self, payload: bytes, chain: str, accounts: Sequence[SignerAccount]) -> Decoded:
        """What the payload says of itself."""
        try:
            document = json.loads(payload)
            effects = tuple(
                Effect(EffectKind(each.pop("kind")), **each) for each in (dict(e) for e in document["effects"])
            )
            account = SignerAccount(
                address_of(bytes.fromhex(document["public_key"])),
                bytes.fromhex(document["public_key"]),
                tuple(document["path"]),
            )
        except (ValueError, KeyError, TypeError):
            raise InvalidPayload("not a toy payload") from None
        if document["chain"] != chain or account not in accounts:
            raise InvalidPayload("for another chain or account")
        return Decoded((SigningRequest(self.scheme, payload, account.address, account.path),), effects)

    def combine(self, unsigned: UnsignedTransaction, signatures: Sequence[bytes]) -> SignedTransaction:
        """Payload and signature."""
        public_key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(json.loads(unsigned.payload)["public_key"]))
        try:
            (signature,) = signatures
            public_key.verify(signature, unsigned.payload)
        except (InvalidSignature, ValueError):
            raise SignatureInvalid("the signature does not verify") from None
        raw = signature + unsigned.payload
        return SignedTransaction(unsigned.chain, raw, hashlib.sha256(raw).hexdigest())
