"""The keys that this party may use: certified by every node of the pinned roster, and their accounts."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from keyquorum_core_signer.codecs.errors import CodecError, CodecRejected
from keyquorum_core_signer.groups.ciphersuite import InvalidEncoding
from keyquorum_core_signer.groups.derivation import UnusableIndex
from keyquorum_core_signer.groups.suites import suite_for
from keyquorum_core_signer.intents.certificate import KeyCertificate, assemble_certificate, verify_certificate
from keyquorum_core_signer.intents.effects import OwnAccount
from keyquorum_core_signer.intents.errors import IntentError
from keyquorum_core_signer.intents.roster import Roster
from keyquorum_core_signer.party.refusal import INTENT_INVALID, INTERNAL, KEY_NOT_FOUND, Refusal
from keyquorum_core_signer.protocols.keys import PublicKeyPackage, derive
from keyquorum_core_signer.protocols.rounds import PartyId
from keyquorum_core_signer.store.commands import KeyState
from keyquorum_core_signer.store.ports import KeyRecord, ShareStore

K = TypeVar("K")
V = TypeVar("V")

KEYS_MAX: Final = 4096  # certificates kept parsed: about 4 KiB each
ACCOUNTS_MAX: Final = 16384  # addresses kept: under 1 KiB each


class AddressDeriver(Protocol):
    """The one thing that an account needs of a codec."""

    @property
    def identifier(self) -> str:
        """Tells codecs and versions apart."""

    async def derive_address(self, public_key: bytes, chain: str) -> str:
        """The address of a public key."""


@dataclass(frozen=True, slots=True)
class ActiveKey:
    """A key whose certificate this party has verified."""

    certificate: KeyCertificate
    public: PublicKeyPackage


class Keyring:
    """Reads keys from the store, believes only what every party signed, and remembers what it has verified."""

    def __init__(self, store: ShareStore, roster: Roster) -> None:
        self._store = store
        self._roster = roster
        self._keys: OrderedDict[tuple[str, int, bytes], ActiveKey] = OrderedDict()
        self._accounts: OrderedDict[tuple[str, str, tuple[int, ...], str, bytes], OwnAccount] = OrderedDict()

    async def active(self, key_id: str) -> ActiveKey:
        """An active key; :class:`Refusal` if there is none of that id."""
        record = await self._store.get_key(key_id)
        if record is None or record.state is KeyState.DELETED:
            raise Refusal(KEY_NOT_FOUND, "this party holds no share of the key")
        if record.state is not KeyState.ACTIVE:
            raise Refusal(KEY_NOT_FOUND, "not every party has certified the key yet", rule="prepared", retriable=True)
        place = (record.key_id, record.epoch, record.statement)
        key = self._keys.get(place)
        if key is None:
            key = self._verify(record)
            _remember(self._keys, place, key, KEYS_MAX)
        return key

    async def account(self, key: ActiveKey, path: tuple[int, ...], chain: str, codec: AddressDeriver) -> OwnAccount:
        """The account at ``path`` below ``key`` on ``chain``, its address derived by our own codec."""
        public_key = self.public_key(key, path)
        place = (codec.identifier, chain, path, key.certificate.key_id, public_key)
        account = self._accounts.get(place)
        if account is None:
            try:
                address = await codec.derive_address(public_key, chain)
            except CodecRejected as error:
                raise Refusal(INTENT_INVALID, error.detail, rule="codec") from None
            except CodecError:
                raise Refusal(INTERNAL, "the codec failed", rule="codec") from None
            account = OwnAccount(address, public_key, path)
            _remember(self._accounts, place, account, ACCOUNTS_MAX)
        return account

    def public_key(self, key: ActiveKey, path: tuple[int, ...]) -> bytes:
        """The public key at ``path``; :class:`Refusal` for a path that has no child."""
        if not path:
            return key.certificate.public_key
        try:
            _, child = derive(suite_for(key.certificate.scheme), key.public, path)
        except UnusableIndex as error:
            raise Refusal(INTENT_INVALID, str(error), rule="path") from None
        return child.public_key.to_bytes()

    def _verify(self, record: KeyRecord) -> ActiveKey:
        signatures = {signature.node_id: signature.signature for signature in record.signatures}
        try:
            certificate = verify_certificate(assemble_certificate(record.statement, signatures), self._roster)
            return ActiveKey(certificate, public_package(certificate))
        except (IntentError, InvalidEncoding):
            raise Refusal(INTERNAL, "the stored key certificate does not verify") from None


def public_package(certificate: KeyCertificate) -> PublicKeyPackage:
    """The public side of a certified key; :class:`InvalidEncoding` for points that are none."""
    decode_point = suite_for(certificate.scheme).group.decode_point
    shares = zip(certificate.indices, certificate.public_shares, strict=True)
    return PublicKeyPackage(
        public_key=decode_point(certificate.public_key),
        chain_code=certificate.chain_code,
        public_shares=tuple((PartyId(index), decode_point(share)) for index, share in shares),
        threshold=certificate.threshold,
    )


def _remember(cache: OrderedDict[K, V], key: K, value: V, size_max: int) -> None:
    cache[key] = value
    if len(cache) > size_max:
        cache.popitem(last=False)
