"""Keys and signatures against BIP-341's wallet vectors."""

import pytest
from coincurve import PrivateKey
from embit.script import Script
from embit.transaction import Transaction

from keyquorum_btc.taproot import internal_key_of, output_key, output_script, verifies
from keyquorum_plugin_api.errors import InvalidAddress
from support.bitcoin_by_hand import Packet, TaprootKey, string
from support.vectors import load

OUTPUT = load("bip341_taproot")
SPENDING = load("bip341_key_path")


def test_published_output_key():
    """P is tweaked by the hash of itself alone, whatever the parity it came with."""
    internal = bytes.fromhex(OUTPUT["internal_key"])
    assert output_key(internal).hex() == OUTPUT["output_key"]
    assert output_script(internal).hex() == "5120" + OUTPUT["output_key"]
    assert internal_key_of(b"\x02" + internal) == internal_key_of(b"\x03" + internal) == internal


@pytest.mark.parametrize("hash_type", [0, 1])
def test_published_sighashes_of_the_library(hash_type):
    """embit computes what DEFAULT and ALL sign as the BIP does; its SINGLE and ANYONECANPAY are wrong, and never used."""
    (vector,) = [each for each in SPENDING["inputs"] if each["hash_type"] == hash_type]
    made = Transaction.parse(bytes.fromhex(SPENDING["transaction"]))
    found = made.sighash_taproot(
        vector["index"],
        script_pubkeys=[Script(bytes.fromhex(each["script"])) for each in SPENDING["spent"]],
        values=[each["amount"] for each in SPENDING["spent"]],
        sighash=hash_type,
    )
    assert found.hex() == vector["sighash"]


def test_published_sighash_of_the_second_opinion():
    """What other tests compare the codec with agrees with the BIP as well."""
    made = Transaction.parse(bytes.fromhex(SPENDING["transaction"]))
    (vector,) = [each for each in SPENDING["inputs"] if each["hash_type"] == 0]
    spent = [(each["amount"], bytes.fromhex(each["script"])) for each in SPENDING["spent"]]
    by_hand = Packet(
        inputs=tuple((each.txid, each.vout, b"", each.sequence) for each in made.vin),
        outputs=tuple((each.value, each.script_pubkey.data) for each in made.vout),
        input_maps=tuple(((b"\x01", amount.to_bytes(8, "little") + string(script)),) for amount, script in spent),
        version=made.version,
        locktime=made.locktime,
    )
    assert by_hand.unsigned().hex() == SPENDING["transaction"]
    assert by_hand.sighash(vector["index"]).hex() == vector["sighash"]


def test_published_signature():
    """The BIP's own signature for the output without a script verifies, and nothing near it does."""
    (vector,) = [each for each in SPENDING["inputs"] if each["merkle_root"] is None and each["index"] == 0]
    internal, message = bytes.fromhex(vector["internal_key"]), bytes.fromhex(vector["sighash"])
    signature = bytes.fromhex(vector["witness"])[:64]
    assert verifies(signature, message, internal)
    for at in (0, 31, 32, 63):
        wrong = bytearray(signature)
        wrong[at] ^= 1
        assert not verifies(bytes(wrong), message, internal)
    assert not verifies(signature, message[::-1], internal)
    for length in (0, 63, 65):
        assert not verifies((signature + b"\x00")[:length], message, internal)


def test_the_internal_key_does_not_sign():
    """A signature under P, which a key without Taproot's tweak would give, is refused."""
    key = TaprootKey(bytes.fromhex(SPENDING["inputs"][0]["internal_secret"]))
    message = bytes(range(32))
    assert verifies(key.sign(message), message, key.internal)
    assert not verifies(PrivateKey(key.secret).sign_schnorr(message), message, key.internal)


@pytest.mark.parametrize(
    "key",
    [
        b"",
        bytes(32),
        bytes(33),
        b"\x02" + b"\xff" * 32,
        b"\x02" + (5).to_bytes(32, "big"),
        b"\x04" + bytes.fromhex(OUTPUT["internal_key"]),
        bytes.fromhex(OUTPUT["internal_key"]),
        b"\x02" + bytes.fromhex(OUTPUT["internal_key"]) + b"\x00",
        "02" + OUTPUT["internal_key"],
        None,
    ],
)
def test_what_is_no_compressed_point_is_refused(key):
    """No parity is guessed, nothing is cut or padded."""
    with pytest.raises(InvalidAddress):
        internal_key_of(key)


def test_a_short_key_is_not_read_past_its_end():
    """libsecp256k1 takes 32 bytes from wherever it is pointed at."""
    for length in (0, 31, 33):
        with pytest.raises(InvalidAddress):
            output_key(bytes(length))
