"""Transactions, PSBTs and keys of Bitcoin, written from the BIPs with integers and hashes alone: a second opinion."""

import hashlib
from dataclasses import dataclass, field, replace

from coincurve import PrivateKey

from keyquorum_plugin_api.codec import SignerAccount
from keyquorum_plugin_api.testing import LocalAccount

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
REPLACEABLE = 0xFFFFFFFD


def tagged(tag: str, data: bytes) -> bytes:
    """BIP340's tagged hash."""
    prefix = hashlib.sha256(tag.encode()).digest()
    return hashlib.sha256(prefix + prefix + data).digest()


def double_sha256(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def compact(number: int) -> bytes:
    """A compact size."""
    if number < 0xFD:
        return bytes([number])
    return b"\xfd" + number.to_bytes(2, "little") if number < 1 << 16 else b"\xfe" + number.to_bytes(4, "little")


def string(data: bytes) -> bytes:
    """Length and bytes."""
    return compact(len(data)) + data


@dataclass(frozen=True)
class TaprootKey:
    """A secret key, its internal key P and its output key Q (BIP341, no script)."""

    secret: bytes

    @property
    def public_key(self) -> bytes:
        return PrivateKey(self.secret).public_key.format()

    @property
    def internal(self) -> bytes:
        return self.public_key[1:]

    @property
    def tweaked(self) -> PrivateKey:
        even = self.public_key[0] == 2
        secret = int.from_bytes(self.secret, "big")
        tweak = int.from_bytes(tagged("TapTweak", self.internal), "big")
        return PrivateKey((((secret if even else ORDER - secret) + tweak) % ORDER).to_bytes(32, "big"))

    @property
    def script(self) -> bytes:
        return b"\x51\x20" + self.tweaked.public_key.format()[1:]

    def sign(self, message: bytes) -> bytes:
        return self.tweaked.sign_schnorr(message, bytes(32))


def taproot_key(seed: bytes, index: int) -> TaprootKey:
    """The same key for the same seed and index."""
    return TaprootKey(hashlib.sha256(b"%s/%d" % (seed, index)).digest())


def local_account(key: TaprootKey, address: str, index: int) -> LocalAccount:
    """An account as the suites want it."""
    return LocalAccount(
        SignerAccount(address, key.public_key, (index,)), lambda request: key.sign(bytes(request.message))
    )


@dataclass(frozen=True)
class Packet:
    """A PSBT in its parts; every one of them can be made wrong."""

    inputs: tuple[tuple[bytes, int, bytes, int], ...]  # txid as explorers show it, vout, scriptSig, sequence
    outputs: tuple[tuple[int, bytes], ...]  # amount, script
    input_maps: tuple[tuple[tuple[bytes, bytes], ...], ...]
    output_maps: tuple[tuple[tuple[bytes, bytes], ...], ...] | None = None  # None: one empty map per output
    global_map: tuple[tuple[bytes, bytes], ...] = ()  # behind the transaction
    version: int = 2
    locktime: int = 0
    magic: bytes = b"psbt\xff"
    tail: bytes = b""
    transaction: bytes | None = field(default=None)

    def unsigned(self) -> bytes:
        if self.transaction is not None:
            return self.transaction
        vin = b"".join(
            txid[::-1] + vout.to_bytes(4, "little") + string(script) + sequence.to_bytes(4, "little")
            for txid, vout, script, sequence in self.inputs
        )
        vout = b"".join(amount.to_bytes(8, "little") + string(script) for amount, script in self.outputs)
        counts = compact(len(self.inputs)), compact(len(self.outputs))
        version, locktime = self.version.to_bytes(4, "little"), self.locktime.to_bytes(4, "little")
        return version + counts[0] + vin + counts[1] + vout + locktime

    def signed(self, signatures: list[bytes]) -> bytes:
        """The network serialization (BIP144), with one signature per input as its witness."""
        body = self.unsigned()
        witnesses = b"".join(b"\x01" + string(signature) for signature in signatures)
        return body[:4] + b"\x00\x01" + body[4:-4] + witnesses + body[-4:]

    def encode(self) -> bytes:
        maps = [((b"\x00", self.unsigned()), *self.global_map), *self.input_maps]
        maps += self.output_maps if self.output_maps is not None else [()] * len(self.outputs)
        body = b"".join(b"".join(string(key) + string(value) for key, value in each) + b"\x00" for each in maps)
        return self.magic + body + self.tail

    def sighash(self, index: int) -> bytes:
        """BIP341's, for SIGHASH_DEFAULT, of what the witness UTXOs say is spent."""
        spent = [dict(each)[b"\x01"] for each in self.input_maps]

        def of(parts: list[bytes]) -> bytes:
            return hashlib.sha256(b"".join(parts)).digest()

        message = (
            b"\x00\x00"
            + self.version.to_bytes(4, "little")
            + self.locktime.to_bytes(4, "little")
            + of([txid[::-1] + vout.to_bytes(4, "little") for txid, vout, _, _ in self.inputs])
            + of([each[:8] for each in spent])
            + of([each[8:] for each in spent])
            + of([sequence.to_bytes(4, "little") for *_, sequence in self.inputs])
            + of([amount.to_bytes(8, "little") + string(script) for amount, script in self.outputs])
            + b"\x00"
            + index.to_bytes(4, "little")
        )
        return tagged("TapSighash", message)

    def but(self, **changes: object) -> "Packet":
        return replace(self, **changes)  # type: ignore[arg-type]


def coin_map(amount: int, key: TaprootKey) -> tuple[tuple[bytes, bytes], ...]:
    """An input's map as it is signed: the coin, and the internal key."""
    return ((b"\x01", amount.to_bytes(8, "little") + string(key.script)), (b"\x17", key.internal))


def packet(key: TaprootKey, coins: list[tuple[bytes, int, int]], outputs: list[tuple[int, bytes]]) -> Packet:
    """An honest PSBT of coins (txid, vout, amount) of one key."""
    return Packet(
        inputs=tuple((txid, vout, b"", REPLACEABLE) for txid, vout, _ in coins),
        outputs=tuple(outputs),
        input_maps=tuple(coin_map(amount, key) for *_, amount in coins),
    )
