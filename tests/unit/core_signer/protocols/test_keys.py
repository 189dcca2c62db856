"""Key shares are stored canonically, derived additively, and shown to nobody."""

import copy
import pickle
from dataclasses import replace

import pytest

from keyquorum_core_signer.groups.derivation import UnusableIndex
from keyquorum_core_signer.groups.suites import BIP340, ECDSA, FROST_ED25519, FROST_SECP256K1
from keyquorum_core_signer.protocols.keys import PublicKeyPackage, decode_share, derive, encode_share
from keyquorum_core_signer.protocols.messages import codec_for
from keyquorum_core_signer.protocols.rounds import PartyId
from keyquorum_core_signer.wire.codec import DecodeError
from support.committee import generated, reconstruct, run, shares_of, sign_programs, signing_key
from support.vectors import load

SUITES = [FROST_ED25519, FROST_SECP256K1, BIP340, ECDSA]
each_suite = pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.scheme)


@each_suite
def test_shares_survive_storage(suite):
    """What is decoded is what was encoded."""
    for share in shares_of(suite, 2, 3, (1, 2, 3)):
        assert decode_share(suite, encode_share(share)) == share


@each_suite
def test_damaged_shares_are_refused(suite):
    """A share whose secret, party list or threshold does not fit its public package never reaches a protocol."""
    share, other, _ = shares_of(suite, 2, 3, (1, 2, 3))
    public = share.public
    one = suite.group.scalar(1)
    damaged = [
        replace(share, secret=share.secret + one),
        replace(share, party=PartyId(2)),
        replace(share, party=PartyId(9)),
        replace(share, secret=other.secret),
        replace(share, public=replace(public, threshold=1)),
        replace(share, public=replace(public, threshold=4)),
        replace(share, public=replace(public, public_shares=public.public_shares[::-1])),
        replace(share, public=replace(public, public_shares=public.public_shares[:1] * 2)),
        replace(share, public=replace(public, public_shares=())),
    ]
    for bad in damaged:
        with pytest.raises(DecodeError):
            decode_share(suite, encode_share(bad))
    for data in (b"", encode_share(share)[:-1], encode_share(share) + b"\x00"):
        with pytest.raises(DecodeError):
            decode_share(suite, data)


def test_shares_do_not_cross_suites():
    """A share of one curve does not decode for the other."""
    with pytest.raises(DecodeError):
        decode_share(FROST_SECP256K1, encode_share(shares_of(FROST_ED25519, 2, 3)[0]))


@each_suite
def test_children_of_shares_are_shares_of_children(suite):
    """The tweak added to every share gives shares of the child key, for public shares and secrets alike."""
    shares = shares_of(suite, 2, 3, (1, 2, 3))
    for path in ((), (0,), (44, 501, 0, 7), (2**31 - 1,)):
        tweak, child = derive(suite, shares[0].public, path)
        moved = [replace(share, secret=share.secret + tweak, public=child) for share in shares]
        for share in moved:
            assert suite.group.base_multiply(share.secret) == child.public_share(share.party)
        assert suite.group.base_multiply(reconstruct(moved[:2])) == child.public_key
        assert child.threshold == 2
        assert (child == shares[0].public) == (path == ())


@each_suite
def test_derivation_is_a_walk(suite):
    """Deriving in two steps is deriving along the whole path, and siblings differ."""
    public = shares_of(suite, 2, 3)[0].public
    first, parent = derive(suite, public, (1, 2))
    second, child = derive(suite, parent, (3,))
    assert derive(suite, public, (1, 2, 3)) == (first + second, child)
    assert len({derive(suite, public, path)[1].public_key for path in ((), (0,), (1,), (0, 0), (0, 1))}) == 5


@pytest.mark.parametrize(
    ("suite", "vectors"), [(BIP340, "bip32_public_derivation"), (FROST_ED25519, "ed25519_additive_derivation")]
)
def test_derivation_figures(suite, vectors):
    """The published children, through the package of a key."""
    for case in load(vectors)["cases"]:
        key = suite.group.decode_point(bytes.fromhex(case["parent"]["public_key"]))
        chain_code = bytes.fromhex(case["parent"]["chain_code"])
        package = PublicKeyPackage(key, chain_code, ((PartyId(1), key), (PartyId(2), key)), 2)
        path = tuple(child["index"] for child in case["children"])
        child = derive(suite, package, path)[1]
        assert child.public_key.to_bytes().hex() == case["children"][-1]["public_key"]
        assert child.chain_code.hex() == case["children"][-1]["chain_code"]


@each_suite
def test_children_that_are_the_identity(suite, monkeypatch):
    """A tweak that cancels the key or a share leaves nothing to sign with."""
    shares = shares_of(suite, 2, 3, (1, 2, 3))
    for secret in (reconstruct(shares), shares[1].secret):
        monkeypatch.setattr(type(suite), "child", lambda *_, secret=secret: (-secret, bytes(32)))
        with pytest.raises(UnusableIndex):
            derive(suite, shares[0].public, (0,))


@each_suite
def test_paths_have_limits(suite):
    """Hardened, negative and overlong paths are refused."""
    public = shares_of(suite, 2, 3)[0].public
    for path in ((2**31,), (-1,), (0, 2**32), (0,) * 256):
        with pytest.raises(UnusableIndex):
            derive(suite, public, path)


@each_suite
def test_shares_are_neither_pickled_nor_copied(suite):
    """Secrets leave a process through encode_share alone."""
    share = shares_of(suite, 2, 3)[0]
    for secret in (share, share.secret):
        for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError):
                attempt(secret)


@pytest.mark.parametrize("suite", [s for s in SUITES if s is not ECDSA], ids=lambda suite: suite.scheme)
def test_child_keys_sign(suite):
    """A signature for a path verifies under the key of that path and under no other; ECDSA's is tested with its protocols."""
    shares = shares_of(suite, 2, 3, (1, 3))
    (signature,) = run(suite, sign_programs(suite, shares, ((b"pay", (5, 6)),))).results[1]
    keys = {path: signing_key(suite, shares[0].public, path) for path in ((), (5,), (5, 6), (6, 5))}
    assert {path for path, key in keys.items() if suite.verify(key, b"pay", signature)} == {(5, 6)}


@each_suite
def test_stored_bytes_name_everything(suite):
    """Encoded shares differ between parties, and hold the key id and epoch they belong to."""
    encoded = [encode_share(result.share) for result in generated(suite, 2, 3).values()]
    assert len(set(encoded)) == 3
    assert all(b"key-1" in data for data in encoded)
    assert codec_for(suite) is codec_for(suite)
