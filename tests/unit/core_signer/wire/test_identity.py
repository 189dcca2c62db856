"""Identity keys sign for a purpose, verify strictly and keep their seed to themselves."""

import copy
import pickle
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyquorum_core_signer.wire.identity import ENVELOPE_TAG, INTENT_TAG, IdentityKey, tagged, verify

KEY = IdentityKey.from_seed(bytes(range(32)))
# RFC 8032, 7.1, TEST 1
RFC_SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
RFC_PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
ORDER_8_POINT = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
L = 2**252 + 27742317777372353535851937790883648493


def test_public_key_is_that_of_the_rfc():
    """A seed gives the public key that RFC 8032 says."""
    assert IdentityKey.from_seed(RFC_SEED).public == RFC_PUBLIC
    assert IdentityKey.from_seed(RFC_SEED).expose_seed() == RFC_SEED


@given(st.binary(max_size=64))
def test_signature_is_for_its_tag_and_bytes_alone(data):
    """A signature verifies where it was made and nowhere else."""
    signature = KEY.sign(ENVELOPE_TAG, data)
    assert verify(KEY.public, ENVELOPE_TAG, data, signature)
    assert not verify(KEY.public, INTENT_TAG, data, signature)
    assert not verify(KEY.public, ENVELOPE_TAG, data + b"\x00", signature)
    assert not verify(IdentityKey.generate().public, ENVELOPE_TAG, data, signature)


def test_tags_cannot_run_into_the_data():
    """A tag with a zero byte, or none, is refused, because it would make two statements share their bytes."""
    for tag in ("", "a\x00b"):
        with pytest.raises(ValueError, match="tag"):
            tagged(tag, b"")
    assert tagged("a", b"b\x00c") != tagged("ab", b"\x00c")


@pytest.mark.parametrize("flipped", [0, 31, 32, 63])
def test_altered_signature_does_not_verify(flipped):
    """Any changed bit of a signature breaks it."""
    signature = bytearray(KEY.sign("t", b"data"))
    signature[flipped] ^= 1
    assert not verify(KEY.public, "t", b"data", bytes(signature))


def test_malleable_and_degenerate_signatures_do_not_verify():
    """S over the group order, small-order keys and wrong lengths are false, not errors."""
    signature = KEY.sign("t", b"data")
    s = int.from_bytes(signature[32:], "little")
    assert not verify(KEY.public, "t", b"data", signature[:32] + (s + L).to_bytes(32, "little"))
    assert not verify(ORDER_8_POINT, "t", b"data", ORDER_8_POINT + bytes(32))
    assert not verify(KEY.public, "t", b"data", signature + b"\x00")
    assert not verify(KEY.public[:-1], "t", b"data", signature)


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_seed_has_one_length(length):
    """A seed of another length is refused without being shown."""
    seed = b"\xab" * length
    with pytest.raises(ValueError, match="32 bytes") as caught:
        IdentityKey.from_seed(seed)
    assert "abab" not in "".join(traceback.format_exception(caught.value))


def test_seed_stays_inside():
    """Neither repr, str, format, pickle nor copy gives the seed away."""
    for text in (repr(KEY), str(KEY), f"{KEY}", f"{[KEY]}"):
        assert KEY.expose_seed().hex() not in text
        assert KEY.public.hex() in text
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not pickled"):
            leak(KEY)


def test_generated_keys_differ():
    """Two new keys are two keys."""
    assert IdentityKey.generate().public != IdentityKey.generate().public
