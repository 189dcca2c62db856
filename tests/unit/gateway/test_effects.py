"""Approval: the payload is the wanted transfer and nothing else, by the codec's reading alone."""

from dataclasses import replace

import pytest
from toychain.codec import ToyCodec, address_of

from keyquorum_gateway.effects import AdapterRefused, approve_message, approve_transfer
from keyquorum_plugin_api.codec import Decoded, SignerAccount, TransferIntent
from keyquorum_plugin_api.errors import FeeTooHigh, InvalidPayload

CHAIN, ASSET = "toy:main", "toy:main/slip44:1"
KEY = bytes(32)
ACCOUNT = SignerAccount(address_of(KEY), KEY, (4,))
WANTED = TransferIntent(CHAIN, ACCOUNT, "toy1" + "ab" * 20, ASSET, 100, "memo")


def approve(unsigned, codec=None, *, wanted=WANTED, ceiling=5):
    """With the toy chain's fee asset."""
    return approve_transfer(codec or ToyCodec(), unsigned, wanted, fee_asset=ASSET, fee_ceiling=ceiling)


def test_the_wanted_transfer_is_approved_with_the_codecs_findings():
    """Requests, effects and fee are what the codec found, not what the adapter said."""
    honest = ToyCodec().build(WANTED, {})
    approved = approve(honest)
    assert approved.fee == 5
    assert approved.unsigned == honest
    boasted = replace(honest, effects=())
    assert approve(boasted).unsigned == honest


def test_the_fee_may_reach_its_ceiling_and_not_pass_it():
    """Minor units of the chain's native asset."""
    assert approve(ToyCodec().build(WANTED, {"fee": "5"})).fee == 5
    with pytest.raises(FeeTooHigh):
        approve(ToyCodec().build(WANTED, {"fee": "6"}))


@pytest.mark.parametrize(
    "change",
    [
        {"amount": 101},
        {"destination": "toy1" + "cd" * 20},
        {"asset": "toy:main/slip44:2"},
        {"memo": ""},
        {"memo": "memo "},
        {"chain": "toy:test"},
        {"source": SignerAccount(address_of(b"\x01" * 32), b"\x01" * 32)},
        {"source": replace(ACCOUNT, path=())},
    ],
)
def test_each_difference_is_refused(change):
    """In asset, amount, destination, memo, chain, account and path."""
    with pytest.raises(AdapterRefused):
        approve(ToyCodec().build(replace(WANTED, **change), {}))


class Finding(ToyCodec):
    """A codec that finds something of the test's."""

    def __init__(self, change):
        self.change = change

    def decode(self, payload, chain, accounts):
        """The true finding, changed."""
        return self.change(super().decode(payload, chain, accounts))


def test_requests_have_to_be_the_accounts_in_its_scheme():
    """A signature of another scheme, signer or path is not asked for, even where adapter and codec agree."""
    honest = ToyCodec().build(WANTED, {})
    for change in ({"scheme": "ecdsa_secp256k1"}, {"signer": "toy1" + "00" * 20}, {"path": (5,)}):
        requests = tuple(replace(request, **change) for request in honest.requests)
        codec = Finding(lambda found, requests=requests: Decoded(requests, found.effects))
        with pytest.raises(AdapterRefused, match="another account"):
            approve(replace(honest, requests=requests), codec)
    with pytest.raises(AdapterRefused, match="no signature"):
        approve(replace(honest, requests=()), Finding(lambda found: Decoded((), found.effects)))
    with pytest.raises(AdapterRefused, match="other signatures"):
        approve(replace(honest, requests=honest.requests * 2))


def test_a_payload_that_no_codec_explains_is_refused():
    """As InvalidPayload says."""

    class Silent(ToyCodec):
        def decode(self, payload, chain, accounts):
            raise InvalidPayload("what is this")

    with pytest.raises(AdapterRefused, match="what is this"):
        approve(ToyCodec().build(WANTED, {}), Silent())


def test_a_message_is_that_message_and_moves_nothing():
    """Another text, or anything besides it, is refused."""
    codec = ToyCodec()
    unsigned = codec.build_message(ACCOUNT, CHAIN, "hello")
    assert approve_message(codec, unsigned, ACCOUNT, "hello").decoded.effects[0].detail == "hello"
    with pytest.raises(AdapterRefused):
        approve_message(codec, unsigned, ACCOUNT, "goodbye")
    with pytest.raises(AdapterRefused):
        approve_message(codec, codec.build(WANTED, {}), ACCOUNT, "memo")


@pytest.mark.parametrize(
    ("options", "approved"), [({"forever": "acc1"}, True), ({"forever": "acc2"}, False), ({}, False)]
)
def test_a_payload_lives_under_no_condition_that_nobody_asked_for(options, approved):
    """A fee's detail names the option without which the payload would be another, such as a nonce that never expires."""
    effects = [
        {
            "kind": "transfer",
            "asset": ASSET,
            "amount": 100,
            "source": ACCOUNT.address,
            "destination": WANTED.destination,
        }
        | {"detail": "memo"},
        {"kind": "fee", "asset": ASSET, "amount": 5, "source": ACCOUNT.address, "detail": "forever=acc1"},
    ]
    unsigned = ToyCodec().unsigned(CHAIN, ACCOUNT, effects, "1")
    if approved:
        assert approve_transfer(ToyCodec(), unsigned, WANTED, fee_asset=ASSET, fee_ceiling=5, options=options).fee == 5
        return
    with pytest.raises(AdapterRefused, match="not asked for"):
        approve_transfer(ToyCodec(), unsigned, WANTED, fee_asset=ASSET, fee_ceiling=5, options=options)
