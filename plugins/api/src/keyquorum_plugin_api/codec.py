"""The pure half of a chain plugin: bytes in, bytes out; no I/O, no clock, no randomness.

The codec decides what a payload *does*, so each party runs it too, in a confined interpreter of its own, pinned by hash:
its package is the one top-level package of its distribution, and its module imports nothing that does input or output.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, Literal

from keyquorum_plugin_api.errors import Unsupported

Scheme = Literal["ecdsa_secp256k1", "schnorr_bip340", "eddsa_ed25519"]


class EffectKind(StrEnum):
    """What a payload can do; the list is closed. What a codec cannot name, it refuses to decode."""

    TRANSFER = "transfer"
    CHANGE = "change"
    FEE = "fee"
    APPROVE = "approve"
    PERMIT = "permit"
    DELEGATE = "delegate"
    MESSAGE = "message"


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing that happens when the payload lands. ``amount`` is in minor units of ``asset`` (CAIP-19).

    A TRANSFER has all fields, ``detail`` being its memo. A FEE has no destination and states the most that may be taken;
    its detail may name, as ``name=value``, an option of the adapter under which the payload was built and without which it
    would live longer or otherwise: the host refuses one that nobody asked for. A MESSAGE has its text in ``detail``, perhaps a source, and nothing else.
    """

    kind: EffectKind
    asset: str = ""
    amount: int = 0
    source: str = ""
    destination: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class SigningRequest:
    """One signature that a payload needs.

    ``message`` is what the scheme signs: a 32-byte digest for ECDSA and BIP340, the whole message for Ed25519.
    ``signer`` is the address whose key signs; ``path`` the non-hardened path of that key below the wallet's.
    """

    scheme: Scheme
    message: bytes
    signer: str
    path: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class SignerAccount:
    """An account of the wallet: the address, the derived public key, and the path that leads to it."""

    address: str
    public_key: bytes
    path: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TransferIntent:
    """What a client wants: move ``amount`` minor units of ``asset`` (CAIP-19) to ``destination``.

    ``fee_payer`` is another account of the same key that pays the network instead of ``source``, where a chain knows
    such a thing; a codec of another chain refuses it with ``Unsupported``.
    """

    chain: str  # CAIP-2
    source: SignerAccount
    destination: str
    asset: str
    amount: int
    memo: str = ""  # appears as the ``detail`` of the transfer's effect
    fee_payer: SignerAccount | None = None


@dataclass(frozen=True, slots=True)
class UnsignedTransaction:
    """What a codec built: the payload, the signatures it needs, and what it does."""

    chain: str  # CAIP-2
    payload: bytes
    requests: tuple[SigningRequest, ...]
    effects: tuple[Effect, ...]
    expires: Mapping[str, int] = field(default_factory=dict)  # chain-specific, such as {"last_valid_block_height": 150}


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """Bytes ready to broadcast, and the id that the chain will know them by."""

    chain: str
    raw: bytes
    txid: str


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a payload is, according to the codec alone."""

    requests: tuple[SigningRequest, ...]
    effects: tuple[Effect, ...]


class Codec(ABC):
    """A chain's pure codec. Stateless; constructed without arguments; every method is deterministic.

    Every method may raise a :class:`~keyquorum_plugin_api.errors.ChainError`; any other exception is a bug of the codec.
    """

    name: ClassVar[str]  # the entry-point name
    namespace: ClassVar[str]  # CAIP-2 namespace, such as "solana"
    scheme: ClassVar[Scheme]  # what accounts of this codec sign with

    # Whether a payload is valid on the one chain only that ``decode`` is told. Where it is not (a Solana message names
    # no cluster), the caller's word is all there is for the chain, and a key must never sign for two chains.
    payload_names_chain: ClassVar[bool] = True

    @abstractmethod
    def derive_address(self, public_key: bytes, chain: str) -> str:
        """The address of a public key (32 bytes for Ed25519, 33 compressed for secp256k1) on a CAIP-2 chain."""

    @abstractmethod
    def validate_address(self, address: str, chain: str) -> str:
        """The address in its canonical spelling, or :class:`InvalidAddress`."""

    def canonical_asset(self, asset: str, chain: str) -> str:
        """The CAIP-19 id in the one spelling that effects use; ``UnsupportedAsset`` for what the codec cannot move.

        A chain whose ids have one spelling only need not override it: what does not exist, ``build`` refuses.
        """
        return asset

    @abstractmethod
    def build(self, intent: TransferIntent, metadata: Mapping[str, str]) -> UnsignedTransaction:
        """The payload for an intent. ``metadata`` is what the adapter learnt online, in the codec's own keys.

        Metadata comes from nodes: each value is validated, a missing or unknown key refused.
        """

    @abstractmethod
    def build_message(self, account: SignerAccount, chain: str, message: str) -> UnsignedTransaction:
        """A payload that signs a human-readable message in the chain's own off-chain format: no value can move."""

    def build_typed_data(self, account: SignerAccount, chain: str, document: str) -> UnsignedTransaction:
        """A payload that signs a structured document (JSON, such as EIP-712's) in the chain's own format.

        Its effects say what the document allows (``PERMIT``, …). One that the codec cannot name is refused.
        """
        raise Unsupported(f"{self.name} knows no structured documents")

    @abstractmethod
    def decode(self, payload: bytes, chain: str, accounts: Sequence[SignerAccount]) -> Decoded:
        """What a payload does, given the accounts that the key owns; :class:`InvalidPayload` if any part has no name.

        Must be total: every byte of the payload is accounted for, and ``decode(build(i, m).payload)`` gives back the
        requests and effects of ``build(i, m)``. The surest way is to read the fields, write them again and compare.
        A payload that an account outside ``accounts`` signs or pays for is refused.
        """

    def excludes(self, payload: bytes, other: bytes, chain: str) -> bool:
        """Whether the chain can include at most one of two payloads, whatever happens: they spend the same coin, use the
        same nonce. What cannot be shown from the bytes alone is False. Replacements and cancellations rest on it.
        """
        return False

    @abstractmethod
    def combine(self, unsigned: UnsignedTransaction, signatures: Sequence[bytes]) -> SignedTransaction:
        """Signed bytes from signatures in the order of ``unsigned.requests`` (64 bytes each; 65 with recovery id for
        ECDSA); :class:`SignatureInvalid` unless each verifies.

        ``unsigned`` is believed for its payload only: where the payload does not do what the rest says,
        :class:`InvalidPayload`.
        """
