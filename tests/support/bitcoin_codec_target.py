"""Bitcoin's codec for the conformance suite, and payloads that it must refuse."""

import hashlib
from collections.abc import Mapping

from keyquorum_btc.addresses import address_of
from keyquorum_btc.codec import BitcoinCodec
from keyquorum_btc.coin import Coin, format_coins
from keyquorum_btc.network import MAINNET, REGTEST
from keyquorum_plugin_api.testing import LocalAccount
from support.bitcoin_by_hand import Packet, TaprootKey, coin_map, compact, local_account, packet, string, taproot_key

AMOUNT = 50_000
FEE = 1_234
COIN_AMOUNTS = (30_000, 40_000)
CHANGE = sum(COIN_AMOUNTS) - AMOUNT - FEE
MEMO = "invoice 7 · Zürich"


def txid(number: int) -> str:
    """A transaction id, as good as any."""
    return hashlib.sha256(b"coin %d" % number).hexdigest()


COINS = tuple(sorted(Coin(txid(number), number, amount) for number, amount in enumerate(COIN_AMOUNTS)))


def bitcoin_account(seed: bytes, index: int, chain: str = REGTEST.chain) -> LocalAccount:
    """An account whose key libsecp256k1 holds, tweaked by integers."""
    key = taproot_key(seed, index)
    return local_account(key, address_of(key.public_key, chain), index)


def honest(us: TaprootKey, friend: TaprootKey) -> Packet:
    """What the codec builds for the target's transfer without a memo."""
    coins = [(bytes.fromhex(coin.txid), coin.vout, coin.amount) for coin in COINS]
    return packet(us, coins, sorted([(AMOUNT, friend.script), (CHANGE, us.script)]))


def hostile_packets(us: TaprootKey, friend: TaprootKey, thief: TaprootKey) -> dict[str, bytes]:
    """Each is the honest payload but for one thing."""
    good = honest(us, friend)
    (change, own), (paid, theirs) = good.outputs
    first, second = good.inputs
    map_1, map_2 = good.input_maps
    encoded = good.encode()

    def outputs(*made: tuple[int, bytes]) -> bytes:
        return good.but(outputs=made).encode()

    def first_input(*, sequence: int = first[3], script_sig: bytes = b"", vout: int = first[1]) -> bytes:
        return good.but(inputs=((first[0], vout, script_sig, sequence), second)).encode()

    def first_map(*entries: tuple[bytes, bytes]) -> bytes:
        return good.but(input_maps=(entries, map_2)).encode()

    def memo(script: bytes, amount: int = 0) -> bytes:
        return outputs((change, own), (paid, theirs), (amount, script))

    many = [(bytes.fromhex(txid(number)), 0, 10_000) for number in range(17)]
    coin_1, internal = map_1
    partial = b"\x02" + us.public_key
    rich = 21_000_000 * 10**8
    return {
        "change redirected to a second stranger": outputs((change, thief.script), (paid, theirs)),
        "a third output to a stranger": outputs((change - 1000, own), (1000, thief.script), (paid, theirs)),
        "the destination paid twice": outputs((change - 1000, own), (1000, theirs), (paid, theirs)),
        "change twice": outputs((change - 1000, own), (1000, own), (paid, theirs)),
        "no outputs": outputs(),
        "nothing but a memo": outputs((0, b"\x6a\x02hi")),
        "a cancellation with a memo": outputs((change, own), (0, b"\x6a\x02hi")),
        "a zero output": outputs((change, own), (0, theirs)),
        "a dust output": outputs((change, own), (329, theirs)),
        "dust change": outputs((329, own), (paid, theirs)),
        "outputs above inputs": outputs((change + 2_000, own), (paid, theirs)),
        "no fee": outputs((change + 1_234, own), (paid, theirs)),
        "a fee above the cap": good.but(
            inputs=(first,), input_maps=(coin_map(10**9, us),), outputs=((paid, theirs),)
        ).encode(),
        "an amount above all coins": outputs((change, own), (rich + 1, theirs)),
        "an amount of 2^64 - 1": outputs((change, own), (2**64 - 1, theirs)),
        "coins above all coins": good.but(
            input_maps=(coin_map(rich, us), map_2), outputs=((rich - 30_000, own), (paid, theirs))
        ).encode(),
        "a coin above all coins": good.but(
            inputs=(first,), input_maps=(coin_map(rich + 1, us),), outputs=((rich, own),)
        ).encode(),
        "an output of witness version 2": outputs((change, own), (paid, b"\x52\x20" + bytes(range(32)))),
        "an output of witness version 16": outputs((change, own), (paid, b"\x60\x02\x75\x1e")),
        "a short witness program of version 1": outputs((change, own), (paid, b"\x51\x02\x4e\x73")),
        "a P2TR key off the curve": outputs((change, own), (paid, b"\x51\x20" + b"\xff" * 32)),
        "a bare public key": outputs((change, own), (paid, b"\x21" + thief.public_key + b"\xac")),
        "anyone can spend": outputs((change, own), (paid, b"\x51")),
        "an empty script": outputs((change, own), (paid, b"")),
        "two memos": outputs((change, own), (paid, theirs), (0, b"\x6a\x01a"), (0, b"\x6a\x01b")),
        "a memo of 81 bytes": memo(b"\x6a\x4c\x51" + b"a" * 81),
        "an empty memo": memo(b"\x6a"),
        "an empty push as memo": memo(b"\x6a\x00"),
        "a memo in two pushes": memo(b"\x6a\x01a\x20" + b"b" * 32),
        "a memo in a long push": memo(b"\x6a\x4c\x01a"),
        "a memo in the longest push": memo(b"\x6a\x4d" + b"  " + b"b" * 78),
        "a memo that is not UTF-8": memo(b"\x6a\x02\xff\xfe"),
        "a memo that reorders itself": memo(b"\x6a\x03\xe2\x80\xae"),
        "a memo that holds coins": memo(b"\x6a\x02hi", 100),
        "another version": good.but(version=1).encode(),
        "an absurd version": good.but(version=2**32 - 1).encode(),
        "a lock until a height": good.but(locktime=900_000).encode(),
        "a lock until a time": good.but(locktime=2**32 - 1).encode(),
        "a final sequence": first_input(sequence=0xFFFFFFFF),
        "a sequence that signals no replacement": first_input(sequence=0xFFFFFFFE),
        "a relative lock": first_input(sequence=144),
        "sequence zero": first_input(sequence=0),
        "a script signature": first_input(script_sig=b"\x51"),
        "an output index beyond a block": first_input(vout=100_000),
        "a coinbase's input": good.but(inputs=((bytes(32), 0xFFFFFFFF, b"", first[3]), second)).encode(),
        "a coin twice": good.but(inputs=(first, first), input_maps=(map_1, map_1)).encode(),
        "a coin twice with two amounts": good.but(
            inputs=(first, first), input_maps=(map_1, coin_map(COIN_AMOUNTS[1] + 1, us))
        ).encode(),
        "no inputs": good.but(inputs=(), input_maps=()).encode(),
        "17 inputs": packet(us, many, [(160_000, theirs)]).encode(),
        "another's coin": good.but(input_maps=(map_1, coin_map(COIN_AMOUNTS[1], thief))).encode(),
        "a coin of another account of the key": good.but(
            input_maps=(map_1, coin_map(COIN_AMOUNTS[1], friend)), outputs=((change, own), (paid, thief.script))
        ).encode(),
        "only another's coins": packet(thief, [(first[0], 0, 90_000)], [(paid, theirs)]).encode(),
        "another's script under our key": first_map((b"\x01", coin_1[1][:8] + string(thief.script)), internal),
        "another's key under our script": first_map(coin_1, (b"\x17", thief.internal)),
        "an untweaked script": first_map((b"\x01", coin_1[1][:8] + string(b"\x51\x20" + us.internal)), internal),
        "a coin of P2WPKH": first_map((b"\x01", coin_1[1][:8] + string(b"\x00\x14" + bytes(20))), internal),
        "a coin's amount with a tail": first_map((b"\x01", coin_1[1] + b"\x00"), internal),
        "no spent output": first_map(internal),
        "no internal key": first_map(coin_1),
        "fields in another order": first_map(internal, coin_1),
        "a field twice": first_map(coin_1, internal, internal),
        "two spent outputs": first_map(coin_1, coin_1, internal),
        "sighash NONE": first_map(coin_1, (b"\x03", b"\x02\x00\x00\x00"), internal),
        "sighash SINGLE, anyone can pay": first_map(coin_1, (b"\x03", b"\x83\x00\x00\x00"), internal),
        "sighash ALL": first_map(coin_1, (b"\x03", b"\x01\x00\x00\x00"), internal),
        "sighash DEFAULT, said aloud": first_map(coin_1, (b"\x03", bytes(4)), internal),
        "a partial signature": first_map(coin_1, (partial, b"\x30" * 70), internal),
        "a key-path signature": first_map(coin_1, (b"\x13", b"\x01" * 64), internal),
        "a final script signature": first_map(coin_1, (b"\x07", b""), internal),
        "a final witness": first_map(coin_1, (b"\x08", b"\x01\x40" + b"\x01" * 64), internal),
        "a previous transaction": first_map((b"\x00", good.unsigned()), coin_1, internal),
        "a redeem script": first_map(coin_1, (b"\x04", b"\x51"), internal),
        "a witness script": first_map(coin_1, (b"\x05", b"\x51"), internal),
        "a key's origin": first_map(coin_1, (b"\x16" + us.internal, bytes(5)), internal),
        "a merkle root": first_map(coin_1, internal, (b"\x18", bytes(32))),
        "a leaf": first_map(coin_1, (b"\x15\xc0" + us.internal, b"\x51\xc0"), internal),
        "an unknown field of an input": first_map(coin_1, internal, (b"\x99", b"")),
        "a proprietary field of an input": first_map(coin_1, internal, (b"\xfc\x01a", b"")),
        "a field of PSBT version 2": first_map(coin_1, (b"\x0e", bytes(32)), internal),
        "an internal key with a longer name": first_map(coin_1, (b"\x17\x00", us.internal)),
        "an extended public key": good.but(global_map=((b"\x01" + bytes(78), bytes(4)),)).encode(),
        "a version field": good.but(global_map=((b"\xfb", bytes(4)),)).encode(),
        "version 2": good.but(global_map=((b"\xfb", b"\x02\x00\x00\x00"),)).encode(),
        "an unknown global field": good.but(global_map=((b"\x99", b"x"),)).encode(),
        "a proprietary global field": good.but(global_map=((b"\xfc\x01a", b"x"),)).encode(),
        "a huge count of inputs": good.but(global_map=((b"\x04", b"\xff" + b"\xff" * 8),)).encode(),
        "two transactions": good.but(global_map=((b"\x00", good.unsigned()),)).encode(),
        "an unknown field of an output": good.but(output_maps=(((b"\x99", b""),), ())).encode(),
        "an output's internal key": good.but(output_maps=(((b"\x05", us.internal),), ())).encode(),
        "an output's origin": good.but(output_maps=(((b"\x07" + us.internal, bytes(5)),), ())).encode(),
        "a map too many": good.but(output_maps=((), (), ())).encode(),
        "a map too few": good.but(output_maps=((),)).encode(),
        "a signed transaction inside": good.but(transaction=good.signed([b"\x01" * 64] * 2)).encode(),
        "a transaction with a tail": good.but(transaction=good.unsigned() + b"\x00").encode(),
        "a transaction of a huge count": good.but(
            transaction=b"\x02\x00\x00\x00\xff" + b"\xff" * 8, input_maps=(), output_maps=()
        ).encode(),
        "a length written longer": encoded[:7] + b"\xfd" + compact(encoded[7]) + b"\x00" + encoded[8:],
        "another magic": good.but(magic=b"psbt\xfe").encode(),
        "a tail": good.but(tail=b"\x00").encode(),
        "a second PSBT behind": encoded + encoded,
        "no PSBT, the transaction": good.unsigned(),
        "no PSBT, the signed transaction": good.signed([b"\x01" * 64] * 2),
    }


def hostile_messages(us: TaprootKey, thief: TaprootKey) -> dict[str, bytes]:
    """Messages that are not signed."""
    header = b"bip322\xff"
    return {
        "a message without a text": header + us.internal,
        "a message without a key": header,
        "a message of another key": header + thief.internal + b"pay me",
        "a message of a key that is none": header + b"\xff" * 32 + b"pay me",
        "a message of the output key": header + us.script[2:] + b"pay me",
        "a message that is not UTF-8": header + us.internal + b"\xc3\x28",
        "a message in overlong UTF-8": header + us.internal + b"\xc0\xaf",
        "a message with an escape": header + us.internal + b"a\x1b[2Jb",
        "a message that is too long": header + us.internal + b"x" * 4097,
        "a PSBT as a message": header + honest(us, thief).encode(),
    }


class BitcoinCodecTarget:
    """The codec, offline."""

    codec = BitcoinCodec()
    chain = REGTEST.chain
    other_chain = MAINNET.chain
    asset = REGTEST.native_asset
    amount = AMOUNT
    memo = MEMO
    metadata: Mapping[str, str] = {"coins": format_coins(COINS), "fee": str(FEE)}
    invalid_addresses = (
        "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2",  # main network
        "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy",
        "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
        "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx",  # testnet
        "bcrt1",
        "0x71C7656EC7ab88b098defB751B7401B5f6d8976F",
        "1" * 34,
        "I" * 34,
    )

    def __init__(self, seed: bytes = b"codec") -> None:
        self._seed = seed
        self._accounts: dict[int, LocalAccount] = {}
        us, friend, thief = (taproot_key(seed, index) for index in (0, 1, 2))
        self.hostile_payloads = hostile_packets(us, friend, thief) | hostile_messages(us, thief)

    def account(self, index: int) -> LocalAccount:
        """The same account for the same index."""
        if index not in self._accounts:
            self._accounts[index] = bitcoin_account(self._seed, index)
        return self._accounts[index]
