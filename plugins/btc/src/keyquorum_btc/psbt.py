"""BIP174 payloads (version 0), in exactly one encoding per :class:`~keyquorum_btc.spending.Spend`.

The global map holds the unsigned transaction; each input's map the spent output (PSBT_IN_WITNESS_UTXO) and the internal
key (PSBT_IN_TAP_INTERNAL_KEY, BIP371); the outputs' maps are empty. BIP341 signatures commit to the amounts and scripts
of all spent outputs, so that one that lies about them is worth nothing.

embit writes it and reads the transaction in it. Its reader of PSBTs is not used: it reserves memory for as many entries
as a length field claims.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from embit.ec import PublicKey
from embit.psbt import PSBT
from embit.script import Script
from embit.transaction import Transaction, TransactionOutput

from keyquorum_btc.coin import Coin
from keyquorum_btc.limits import PAYLOAD_BYTES_MAX
from keyquorum_btc.spending import Output, Spend
from keyquorum_plugin_api.errors import ChainError, InvalidPayload

MAGIC: Final = b"psbt\xff"
FOREIGN_BYTES_MAX: Final = 256 * 1024  # of PSBTs made elsewhere, which may carry whole previous transactions

_UNSIGNED_TX: Final = b"\x00"
_WITNESS_UTXO: Final = b"\x01"
_TAP_INTERNAL_KEY: Final = b"\x17"
_COMPACT_2: Final = 0xFD  # from here on, a compact size is 2, 4 or 8 bytes that follow
_NOT_OURS: Final = "not a PSBT in the one form that is signed"

# What a PSBT made elsewhere may say besides: where keys come from, and what is true of every PSBT that is signed here.
_GLOBAL_VERSION: Final = (b"\xfb", bytes(4))
_SIGHASH_DEFAULT: Final = (b"\x03", bytes(4))
_GLOBAL_ORIGINS: Final = frozenset({0x01})  # extended public keys
_INPUT_ORIGINS: Final = frozenset({0x00, 0x06, 0x16})  # previous transaction, BIP32 derivations
_OUTPUT_ORIGINS: Final = frozenset({0x02, 0x05, 0x07})  # BIP32 derivations, internal key


def write(spend: Spend) -> bytes:
    """The payload of a transaction."""
    made = PSBT(spend.transaction())
    internal_key = PublicKey.from_xonly(spend.internal_key)
    for scope, coin in zip(made.inputs, spend.coins, strict=True):
        scope.witness_utxo = TransactionOutput(coin.amount, Script(spend.source_script))
        scope.taproot_internal_key = internal_key
    return bytes(made.serialize())


def read(payload: bytes) -> Spend:
    """The transaction of a payload; :class:`InvalidPayload` unless :func:`write` gives the same bytes for it."""
    if not isinstance(payload, bytes) or len(payload) > PAYLOAD_BYTES_MAX:
        raise InvalidPayload(_NOT_OURS)
    with _refusing():
        packet = _Packet.parse(payload)
        keys = {scope[_TAP_INTERNAL_KEY] for scope in packet.inputs}
        if len(keys) != 1:
            raise InvalidPayload("the coins of one transaction belong to one key")
        found = packet.spend(keys.pop())
        same = write(found) == payload
    if not same:
        raise InvalidPayload(_NOT_OURS)
    return found


def adopt(foreign: bytes, internal_key: bytes) -> bytes:
    """The payload that signs the transaction of a PSBT made elsewhere; :class:`InvalidPayload` if there is none.

    Its transaction must be one of ours to the byte, spending coins of ``internal_key`` (x-only), none of them signed.
    What it says about origins of keys is left out; whatever else it says is refused.
    """
    if not isinstance(foreign, bytes) or len(foreign) > FOREIGN_BYTES_MAX:
        raise InvalidPayload("the PSBT is too long")
    with _refusing():
        packet = _Packet.parse(foreign)
        packet.require_nothing_else(internal_key)
        found = packet.spend(internal_key)
        locks = {TransactionOutput.parse(scope[_WITNESS_UTXO]).script_pubkey.data for scope in packet.inputs}
        same = found.unsigned_bytes == packet.transaction and locks == {found.source_script}
    if not same:
        raise InvalidPayload(_NOT_OURS)
    return write(found)


@dataclass(frozen=True, slots=True)
class _Packet:
    """A PSBT as maps of keys to values, whatever they mean."""

    globals: dict[bytes, bytes]
    made: Transaction
    inputs: tuple[dict[bytes, bytes], ...]
    outputs: tuple[dict[bytes, bytes], ...]

    @classmethod
    def parse(cls, payload: bytes) -> "_Packet":
        cursor = _Cursor(payload)
        if cursor.take(len(MAGIC)) != MAGIC:
            raise InvalidPayload("not a PSBT")
        found = cursor.map()
        made = Transaction.parse(found[_UNSIGNED_TX])
        inputs = tuple(cursor.map() for _ in made.vin)
        outputs = tuple(cursor.map() for _ in made.vout)
        if not cursor.at_end():
            raise InvalidPayload("something follows the PSBT")
        return cls(found, made, inputs, outputs)

    @property
    def transaction(self) -> bytes:
        return self.globals[_UNSIGNED_TX]

    def spend(self, internal_key: bytes) -> Spend:
        spent = (TransactionOutput.parse(scope[_WITNESS_UTXO]) for scope in self.inputs)
        coins = tuple(Coin(v.txid.hex(), v.vout, out.value) for v, out in zip(self.made.vin, spent, strict=True))
        return Spend(internal_key, coins, tuple(Output(v.script_pubkey.data, v.value) for v in self.made.vout))

    def require_nothing_else(self, internal_key: bytes) -> None:
        """Refuse what could mean that another signature is wanted than ours would be."""
        ours = {_UNSIGNED_TX, _WITNESS_UTXO}
        understood = {_GLOBAL_VERSION, _SIGHASH_DEFAULT, (_TAP_INTERNAL_KEY, internal_key)}
        scopes = [(self.globals, _GLOBAL_ORIGINS), *((scope, _INPUT_ORIGINS) for scope in self.inputs)]
        scopes += [(scope, _OUTPUT_ORIGINS) for scope in self.outputs]
        for scope, origins in scopes:
            for key, value in scope.items():
                if key not in ours and (key, value) not in understood and key[0] not in origins:
                    raise InvalidPayload(f"the PSBT has a field of type 0x{key[0]:02x}, which is not signed blindly")


class _Cursor:
    """Reads BIP174's key-value maps; takes no more memory than the bytes themselves."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, length: int) -> bytes:
        end = self._at + length
        if end > len(self._data):
            raise InvalidPayload("the PSBT is cut short")
        taken, self._at = self._data[self._at : end], end
        return taken

    def at_end(self) -> bool:
        return self._at == len(self._data)

    def map(self) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        while key := self._string():
            if key in found:
                raise InvalidPayload("a field of the PSBT appears twice")
            found[key] = self._string()
        return found

    def _string(self) -> bytes:
        first = self.take(1)[0]
        length = first if first < _COMPACT_2 else int.from_bytes(self.take(1 << (first - _COMPACT_2 + 1)), "little")
        return self.take(length)


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except ChainError as error:
        raise InvalidPayload(error.detail) from None
    except Exception:  # noqa: BLE001 - whatever a library makes of bytes that it does not understand
        raise InvalidPayload(_NOT_OURS) from None
