"""BIP-445's vectors, byte for byte and error cases included, and BIP-341's for outputs without a script.

BIP-445 describes its steps over lists of bytes that a caller put together; here bytes become scalars and points first,
so some of its errors are refusals to decode, and some cannot even be written down.
"""

import pytest

from keyquorum_core_signer.groups.ciphersuite import InvalidEncoding
from keyquorum_core_signer.groups.suites import BIP340
from keyquorum_core_signer.primitives.shamir import lagrange
from keyquorum_core_signer.protocols.errors import ProtocolMisuse
from keyquorum_core_signer.protocols.frost.bip340 import (
    aggregate_nonces,
    generate_nonces,
    prepare,
    validate_signers,
)
from keyquorum_core_signer.protocols.frost.messages import NonceCommitment
from keyquorum_core_signer.protocols.frost.nonces import NoncePair
from keyquorum_core_signer.protocols.frost.tweaks import TweakedKey, UnusableTweak, taproot_key
from keyquorum_core_signer.protocols.keys import PublicKeyPackage
from support.vectors import load

GROUP = BIP340.group
NONCE_GEN, NONCE_AGG, SIGN_VERIFY, SIG_AGG, TWEAK = (
    load(f"bip445_{name}") for name in ("nonce_gen", "nonce_agg", "sign_verify", "sig_agg", "tweak")
)


def cases(vectors, *kinds):
    """One parameter per case: (its group, it)."""
    groups = vectors.get("test_groups", [vectors])
    chosen = [(group, case) for group in groups for kind in kinds for case in group[kind]]
    return [pytest.param(group, case, id=f"{case['tc_id']}") for group, case in chosen]


def point(text):
    """33 bytes that are a point, in hex."""
    return GROUP.decode_point(bytes.fromhex(text))


def point_or_infinity(text):
    """A half of an aggregate nonce: 33 zeros are infinity."""
    return GROUP.identity if not any(bytes.fromhex(text)) else point(text)


def scalar(text):
    """32 bytes below the order, in hex."""
    return GROUP.decode_scalar(bytes.fromhex(text))


def public_nonce(text, decode=point):
    """66 bytes, in hex."""
    return NonceCommitment(decode(text[:66]), decode(text[66:]))


def signers_of(case):
    """Our indices of a case's participants, which count from 0."""
    return tuple(i + 1 for i in case["ids"])


def public_package(group, case):
    """The key as the case's signers see it, validated: ValidateSignersCtx."""
    shares = {i + 1: group["pubshares"][i] for i in range(group["n"])}
    indices = case.get("pubshare_indices", range(len(case["ids"])))
    shares |= {i: group["pubshares"][at] for i, at in zip(signers_of(case), indices, strict=True) if i <= group["n"]}
    public = PublicKeyPackage(
        point(group["thresh_pk"]), bytes(32), tuple((i, point(share)) for i, share in shares.items()), group["t"]
    )
    validate_signers(public, signers_of(case))
    return public


def tweaked_key(group, case):
    """The key with the case's tweaks."""
    key = TweakedKey.of(BIP340, point(group["thresh_pk"]))
    for at, x_only in zip(case.get("tweak_indices", []), case.get("is_xonly", []), strict=True):
        key = key.apply(bytes.fromhex(group["tweaks"][at]), x_only=x_only)
    return key


def signed(group, case):
    """Sign: the case's partial signature."""
    public, key = public_package(group, case), tweaked_key(group, case)
    secret_nonce = group["secnonces"][case["secnonce_index"]]
    nonces = NoncePair(scalar(secret_nonce[:64]), scalar(secret_nonce[64:]))
    aggregate = public_nonce(case["aggnonce"], point_or_infinity)
    # Only the aggregate counts in Sign; who signs is taken from the list.
    commitments = dict.fromkeys(signers_of(case), nonces.commitment)
    package = prepare(public, key, bytes.fromhex(case["msg"]), aggregate, commitments)
    me, secret = case["my_id"] + 1, scalar(group["secshares"][case["secshare_index"]])
    return package.signature_share(me, nonces, secret, lagrange(GROUP, me, signers_of(case)))


def verified(group, case, psig):
    """PartialSigVerify."""
    public, key = public_package(group, case), tweaked_key(group, case)
    nonces = [public_nonce(group["pubnonces"][at]) for at in case["pubnonce_indices"]]
    commitments = dict(sorted(zip(signers_of(case), nonces, strict=True)))
    package = prepare(public, key, bytes.fromhex(case["msg"]), aggregate_nonces(GROUP, nonces), commitments)
    signer = signers_of(case)[case["signer_index"]]
    return package.share_holds(
        signer, scalar(psig), public.public_share(signer), lagrange(GROUP, signer, signers_of(case))
    )


@pytest.mark.parametrize(("_", "case"), cases(NONCE_GEN, "valid_tests"))
def test_nonce_generation(_, case):
    """NonceGen with each choice of optional arguments."""

    def given(name, decode):
        return None if case[name] is None else decode(case[name])

    nonces = generate_nonces(
        BIP340,
        lambda length: bytes.fromhex(case["rand_"])[:length],
        secret=given("secshare", scalar),
        public_share=given("pubshare", point),
        key=given("thresh_pk", lambda text: point("03" + text)),
        message=given("msg", bytes.fromhex),
        extra=given("extra_in", bytes.fromhex) or b"",
    )
    expected_secret, expected_public = case["expected"]
    assert nonces.commitment == public_nonce(expected_public)
    assert "".join(nonce.to_bytes().hex() for nonce in nonces.take()) == expected_secret


@pytest.mark.parametrize(("group", "case"), cases(NONCE_AGG, "valid_tests"))
def test_nonce_aggregation(group, case):
    """NonceAgg, also where a half is infinity."""
    nonces = [public_nonce(group["pubnonces"][at]) for at in case["pubnonce_indices"]]
    aggregate = aggregate_nonces(GROUP, nonces)
    assert aggregate.hiding.to_bytes().hex() + aggregate.binding.to_bytes().hex() == case["expected"]


@pytest.mark.parametrize(("group", "case"), cases(NONCE_AGG, "error_tests"))
def test_nonce_aggregation_errors(group, case):
    """A public nonce that is not two points does not decode, and its sender is known: the codec's refusal names it."""
    bad = case["error"]["signer_index"]
    for signer, at in enumerate(case["pubnonce_indices"]):
        if signer == bad:
            with pytest.raises(InvalidEncoding):
                public_nonce(group["pubnonces"][at])
        else:
            public_nonce(group["pubnonces"][at])


@pytest.mark.parametrize(("group", "case"), cases(SIGN_VERIFY, "valid_tests") + cases(TWEAK, "valid_tests"))
def test_partial_signatures(group, case):
    """Sign gives the published bytes, and PartialSigVerify takes them."""
    assert signed(group, case).to_bytes().hex() == case["expected"]
    assert verified(group, case | {"signer_index": case["ids"].index(case["my_id"])}, case["expected"])


@pytest.mark.parametrize(("group", "case"), cases(SIGN_VERIFY, "sign_error_tests"))
def test_signing_errors(group, case):
    """What is malformed does not decode; what does not belong together is misuse."""
    malformed = case["error"].get("contrib") == "aggnonce" or "Invalid pubshare" in case["error"].get("message", "")
    with pytest.raises(InvalidEncoding if malformed else ProtocolMisuse):
        signed(group, case)


@pytest.mark.parametrize(("group", "case"), cases(SIGN_VERIFY, "verify_fail_tests"))
def test_partial_signatures_that_do_not_hold(group, case):
    """A wrong partial signature is found out; one that is not below the order does not even decode."""
    if int(case["psig"], 16) >= GROUP.order:
        with pytest.raises(InvalidEncoding):
            verified(group, case, case["psig"])
    else:
        assert not verified(group, case, case["psig"])


@pytest.mark.parametrize(("group", "case"), cases(SIGN_VERIFY, "verify_error_tests"))
def test_partial_verification_errors(group, case):
    """Nonces and public shares that are no points are refused before anything is verified."""
    with pytest.raises(InvalidEncoding):
        verified(group, case, case["psig"])


@pytest.mark.parametrize(("group", "case"), cases(TWEAK, "error_tests"))
def test_tweak_errors(group, case):
    """A tweak out of range, of another length or that gives no key; and a tweak always comes with its mode."""
    if len(case["tweak_indices"]) != len(case["is_xonly"]):
        with pytest.raises(TypeError):
            TweakedKey.of(BIP340, GROUP.generator).apply(bytes(32))
        return
    with pytest.raises(UnusableTweak):
        signed(group, case)


@pytest.mark.parametrize(("group", "case"), cases(SIG_AGG, "valid_tests", "error_tests"))
def test_aggregation(group, case):
    """PartialSigAgg gives the published signature, which libsecp256k1 takes; with a share missing it refuses."""
    public, key, message = public_package(group, case), tweaked_key(group, case), bytes.fromhex(case["msg"])
    aggregate = public_nonce(case["aggnonce"], point_or_infinity)
    package = prepare(public, key, message, aggregate, dict.fromkeys(signers_of(case), aggregate))
    if case.get("error", {}).get("contrib") == "psig":
        bad = case["error"]["signer_index"]
        with pytest.raises(InvalidEncoding):
            scalar(case["psigs"][bad])
        return
    shares = dict(zip(signers_of(case), map(scalar, case["psigs"]), strict="error" not in case))
    if "error" in case:
        with pytest.raises(ProtocolMisuse):
            package.aggregate(shares)
        return
    signature = package.aggregate(shares)
    assert signature.hex() == case["expected"]
    assert package.verifies(signature)


def test_every_kind_of_case_is_run():
    """The published files hold these kinds of cases and no others, so none is left out above."""
    kinds = {
        name
        for vectors in (NONCE_GEN, NONCE_AGG, SIGN_VERIFY, SIG_AGG, TWEAK)
        for group in vectors.get("test_groups", [vectors])
        for name in group
        if name.endswith("_tests")
    }
    assert kinds == {"valid_tests", "error_tests", "sign_error_tests", "verify_fail_tests", "verify_error_tests"}
    assert not any("error_tests" in group for group in [NONCE_GEN, *SIGN_VERIFY["test_groups"]])


def test_taproot_output_without_a_script():
    """BIP-341's wallet vectors: tweak, output key, and the secret key behind it, from an internal key of either y."""
    vector = load("bip341_taproot")
    secret = scalar(vector["internal_secret"])
    for internal_secret in (secret, -secret):
        internal = GROUP.base_multiply(internal_secret)
        key = taproot_key(BIP340, internal)
        assert BIP340.x_only(internal).hex() == vector["internal_key"]
        assert BIP340.tagged_hash("TapTweak", BIP340.x_only(internal)).hex() == vector["tweak"]
        assert BIP340.x_only(key.Q).hex() == vector["output_key"]
        assert (key.gacc * internal_secret + key.tacc).to_bytes().hex() == vector["output_secret"]
