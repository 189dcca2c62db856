"""The bytes of a payload: against a second writer, a second reader, the BIPs' vectors and every other encoding."""

import base64
import contextlib
import time
from collections.abc import Callable

import pytest
from embit.psbt import PSBT
from hypothesis import given, settings
from hypothesis import strategies as st

from keyquorum_btc import psbt
from keyquorum_btc.coin import Coin
from keyquorum_btc.limits import FEE_MAX, INPUTS_MAX, PAYLOAD_BYTES_MAX
from keyquorum_btc.memo import memo_script
from keyquorum_btc.spending import Output, Spend
from keyquorum_plugin_api.errors import ChainError, FeeTooHigh, FeeTooLow, InvalidAmount, InvalidPayload
from support.bitcoin_by_hand import coin_map, compact, double_sha256, packet, string, taproot_key
from support.bitcoin_codec_target import AMOUNT, CHANGE, COINS, honest, hostile_packets, txid
from support.vectors import load

US, FRIEND, THIEF = (taproot_key(b"psbt", index) for index in range(3))
HONEST = honest(US, FRIEND)
HOSTILE = hostile_packets(US, FRIEND, THIEF)
SPEND = Spend(US.internal, COINS, tuple(Output(script, amount) for amount, script in HONEST.outputs))
CASES = load("bip174_psbts")["cases"]


def spend(coins: int, outputs: list[tuple[int, bytes]]) -> Spend:
    """Coins of 100,000 satoshi, spent."""
    made = tuple(Coin(txid(number), 0, 100_000) for number in range(coins))
    return Spend(US.internal, made, tuple(Output(script, amount) for amount, script in outputs))


SPENDS = {
    "two coins, change": SPEND,
    "no change": spend(1, [(99_000, FRIEND.script)]),
    "P2WPKH": spend(1, [(99_000, b"\x00\x14" + bytes(20))]),
    "P2PKH with memo": spend(2, [(99_000, b"\x76\xa9\x14" + bytes(20) + b"\x88\xac"), (0, memo_script("ü" * 40))]),
    "P2SH, memo first": spend(1, [(0, memo_script("x")), (99_000, b"\xa9\x14" + bytes(20) + b"\x87")]),
    "P2WSH, change first": spend(3, [(330, US.script), (250_000, b"\x00\x20" + bytes(32))]),
    "a cancellation": spend(1, [(98_000, US.script)]),
    "16 coins": spend(16, [(1_500_000, FRIEND.script), (1_000, US.script), (0, memo_script("m" * 80))]),
}


@pytest.mark.parametrize("name", SPENDS)
def test_two_writers_agree(name):
    """Payload, transaction, id, sighashes and signed transaction are those that were written by hand."""
    made = SPENDS[name]
    coins = [(bytes.fromhex(coin.txid), coin.vout, coin.amount) for coin in made.coins]
    by_hand = packet(US, coins, [(output.amount, output.script) for output in made.outputs])
    assert psbt.write(made) == by_hand.encode()
    assert psbt.read(by_hand.encode()) == made
    assert made.unsigned_bytes == by_hand.unsigned()
    assert made.txid == double_sha256(by_hand.unsigned())[::-1].hex()
    assert made.sighashes() == tuple(by_hand.sighash(index) for index in range(len(coins)))
    signatures = [US.sign(message) for message in made.sighashes()]
    assert made.signed(signatures) == by_hand.signed(signatures)
    weight = 3 * len(by_hand.unsigned()) + len(by_hand.signed(signatures))
    assert made.vsize == -(-weight // 4)


@pytest.mark.parametrize("name", SPENDS)
def test_another_reader_understands(name):
    """embit's reader, which the codec keeps away from, finds the same fee, key and sighashes."""
    made = SPENDS[name]
    found = PSBT.parse(psbt.write(made))
    assert found.fee() == made.fee
    assert found.version is None
    assert not found.unknown
    for index, (scope, coin) in enumerate(zip(found.inputs, made.coins, strict=True)):
        assert (scope.txid.hex(), scope.vout, scope.utxo.value) == (coin.txid, coin.vout, coin.amount)
        assert scope.taproot_internal_key.xonly() == US.internal
        assert found.sighash(index, sighash=0) == made.sighashes()[index]


def test_largest_payload_fits():
    """With all inputs, outputs and the longest memo."""
    assert len(psbt.write(SPENDS["16 coins"])) < 2_400 < PAYLOAD_BYTES_MAX
    assert len(SPENDS["16 coins"].coins) == INPUTS_MAX


def test_control_of_the_hostile_payloads():
    """Without its one difference, a hostile payload is understood."""
    assert psbt.read(HONEST.encode()) == SPEND
    assert (SPEND.transfer, SPEND.change, SPEND.fee, SPEND.memo) == (Output(FRIEND.script, AMOUNT), CHANGE, 1_234, "")


@pytest.mark.parametrize("name", sorted(set(HOSTILE) - {"only another's coins"}))
def test_hostile_payload_is_refused(name):
    """Each for itself, whoever's key it is."""
    with pytest.raises(InvalidPayload):
        psbt.read(HOSTILE[name])


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"BIP-{case['bip']} {case['kind']}: {case['case']}")
def test_published_psbts(case):
    """Valid or not, none of them is of the one form that is signed; nor does any upset us."""
    payload = base64.b64decode(case["psbt"])
    with pytest.raises(InvalidPayload):
        psbt.read(payload)
    with pytest.raises(InvalidPayload):
        psbt.adopt(payload, US.internal)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"psbt\xff",
        b"psbt\xff\xff" + b"\xff" * 8,
        b"psbt\xff\x01\x00\xff" + b"\xff" * 8 + bytes(64),
        HONEST.but(global_map=((b"\x04", b"\xff" + b"\xff" * 8),)).encode(),
        HONEST.but(
            input_maps=(((b"\x16" + US.internal, b"\xff" + b"\xff" * 8), *HONEST.input_maps[0]), HONEST.input_maps[1])
        ).encode(),
        HONEST.but(transaction=b"\x02\x00\x00\x00\x01" + bytes(36) + b"\xfe\xff\xff\xff\xff").encode(),
        HONEST.but(transaction=b"\x02\x00\x00\x00\x00\x01\xff" + b"\xff" * 8).encode(),
        b"psbt\xff" + bytes(PAYLOAD_BYTES_MAX),
        bytes(10_000_000),
    ],
    ids=lambda payload: payload[:24].hex(),
)
def test_lengths_that_lie_cost_nothing(payload):
    """A claim of 2^64 entries is refused before anything is reserved for them."""
    started = time.process_time()
    with pytest.raises(InvalidPayload):
        psbt.read(payload)
    with contextlib.suppress(InvalidPayload):
        assert psbt.adopt(payload, US.internal) == HONEST.encode()  # a derivation of 2^64 leaves is left out
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        (lambda: spend(1, [(329, FRIEND.script)]), InvalidAmount),
        (lambda: spend(1, [(True, FRIEND.script)]), InvalidAmount),
        (lambda: spend(1, [(100_000, FRIEND.script)]), FeeTooLow),
        (lambda: spend(1, [(1_000, FRIEND.script), (1, memo_script("m"))]), InvalidAmount),
        (lambda: Spend(US.internal, (Coin(txid(0), 0, FEE_MAX + 1_001),), SPEND.outputs[:0]), InvalidPayload),
        (
            lambda: Spend(US.internal, (Coin(txid(0), 0, FEE_MAX + 1_001),), (Output(FRIEND.script, 1_000),)),
            FeeTooHigh,
        ),
        (lambda: spend(0, [(1_000, FRIEND.script)]), InvalidPayload),
        (lambda: spend(17, [(1_690_000, FRIEND.script)]), InvalidPayload),
    ],
)
def test_impossible_transactions_do_not_exist(made: Callable[[], Spend], kind: type[ChainError]):
    """The constructor refuses them, so nothing has to check again."""
    with pytest.raises(kind):
        made()


def test_the_largest_fee_is_signed():
    """At the cap; above it never."""
    made = Spend(US.internal, (Coin(txid(0), 0, FEE_MAX + 1_000),), (Output(FRIEND.script, 1_000),))
    assert made.fee == FEE_MAX


def test_a_psbt_made_elsewhere_is_adopted():
    """Key origins and the like are left out, and the same transaction is what is signed."""
    origin = (b"\x16" + US.internal, b"\x00" + bytes(12))
    foreign = HONEST.but(
        global_map=((b"\x01" + bytes(78), bytes(8)), (b"\xfb", bytes(4))),
        input_maps=(
            (HONEST.input_maps[0][0], (b"\x03", bytes(4)), origin, HONEST.input_maps[0][1]),
            ((b"\x00", HONEST.unsigned()), HONEST.input_maps[1][0]),
        ),
        output_maps=(
            ((b"\x05", US.internal), (b"\x07" + US.internal, bytes(5))),
            ((b"\x02" + FRIEND.public_key, b""),),
        ),
    )
    assert psbt.adopt(foreign.encode(), US.internal) == HONEST.encode()
    assert psbt.adopt(HONEST.encode(), US.internal) == HONEST.encode()
    with pytest.raises(InvalidPayload):
        psbt.adopt(foreign.encode(), THIEF.internal)


ADOPTABLE = {
    "no internal key", "a version field", "an extended public key", "an output's internal key", "an output's origin",
    "a key's origin", "sighash DEFAULT, said aloud", "a previous transaction", "fields in another order",
    "a length written longer",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_adoption_takes_nothing_else(name):
    """What is adopted despite its other encoding is the honest payload afterwards; all else is refused."""
    try:
        adopted = psbt.adopt(HOSTILE[name], US.internal)
    except InvalidPayload:
        assert name not in ADOPTABLE
        return
    assert name in ADOPTABLE
    assert adopted == HONEST.encode()


def test_a_foreign_psbt_has_a_size():
    """And so does what it says of a previous transaction."""
    long = ((b"\x00", bytes(300_000)), *HONEST.input_maps[0])
    with pytest.raises(InvalidPayload, match="too long"):
        psbt.adopt(HONEST.but(input_maps=(long, HONEST.input_maps[1])).encode(), US.internal)
    assert compact(300_000)[0] == 0xFE
    assert string(b"a") == b"\x01a"


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_mutations_are_refused_or_mean_what_they_say(data):
    """Cut, swap, insert and overwrite at will: what is still read is written as the same bytes, and signs otherwise."""
    original = psbt.write(SPENDS[data.draw(st.sampled_from(sorted(SPENDS)))])
    mutated = bytearray(original)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(mutated)))
        cut = data.draw(st.integers(0, 40))
        mutated[at : at + cut] = data.draw(st.binary(max_size=40))
    try:
        found = psbt.read(bytes(mutated))
    except InvalidPayload:
        return
    assert psbt.write(found) == mutated
    if mutated != original:
        assert not set(found.sighashes()) & set(psbt.read(original).sighashes())


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_every_field_may_change_and_is_signed(data):
    """Other values in the fields are read as such, and no signature is the same; or they are refused."""
    amounts = st.integers(0, 2**64 - 1) | st.integers(0, 100_000)
    scripts = st.sampled_from([US.script, FRIEND.script, THIEF.script, b"\x6a\x01a", b"\x51", b"\x00\x14" + bytes(20)])
    changed = HONEST.but(
        outputs=tuple(data.draw(st.lists(st.tuples(amounts, scripts), max_size=4))),
        input_maps=tuple(coin_map(data.draw(amounts), US) for _ in range(2)),
        version=data.draw(st.sampled_from([2, 1, 0, 3, 2**31])),
        locktime=data.draw(st.sampled_from([0, 1, 500_000_000, 2**32 - 1])),
    )
    try:
        found = psbt.read(changed.encode())
    except InvalidPayload:
        return
    assert (changed.version, changed.locktime) == (2, 0)
    assert [(output.amount, output.script) for output in found.outputs] == list(changed.outputs)
    assert found.sighashes() == (changed.sighash(0), changed.sighash(1))
    assert found.fee + sum(amount for amount, _ in changed.outputs) == sum(coin.amount for coin in found.coins)
