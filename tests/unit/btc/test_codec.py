"""What is Bitcoin's own in the codec, beyond what every codec does."""

from dataclasses import replace

import pytest

from keyquorum_btc import psbt
from keyquorum_btc.codec import BitcoinCodec
from keyquorum_btc.coin import Coin, format_coins
from keyquorum_btc.network import MAINNET, TESTNET4
from keyquorum_plugin_api.codec import Effect, EffectKind, UnsignedTransaction
from keyquorum_plugin_api.effects import require_cancellation, require_transfer
from keyquorum_plugin_api.errors import (
    ChainError,
    FeeTooHigh,
    FeeTooLow,
    InsufficientFunds,
    InvalidAddress,
    InvalidAmount,
    InvalidPayload,
    SignatureInvalid,
    Unsupported,
    UnsupportedAsset,
)
from keyquorum_plugin_api.testing.codec_conformance import built, signatures_of, transfer_intent
from support.bitcoin_by_hand import double_sha256, packet, taproot_key
from support.bitcoin_codec_target import (
    AMOUNT,
    CHANGE,
    COIN_AMOUNTS,
    COINS,
    FEE,
    MEMO,
    BitcoinCodecTarget,
    bitcoin_account,
    honest,
    txid,
)

TARGET = BitcoinCodecTarget()
CODEC = BitcoinCodec()
US, FRIEND = taproot_key(b"codec", 0), taproot_key(b"codec", 1)
SOURCE = TARGET.account(0).account


def cancellation(**metadata: str) -> UnsignedTransaction:
    """Of the target's coins."""
    return CODEC.build_cancellation(SOURCE, TARGET.chain, {**TARGET.metadata, **metadata})


def test_effects_of_a_transfer():
    """The transfer with its memo, the change, and the fee to the satoshi."""
    intent = transfer_intent(TARGET)
    assert built(TARGET).effects == (
        Effect(EffectKind.TRANSFER, TARGET.asset, AMOUNT, SOURCE.address, intent.destination, MEMO),
        Effect(EffectKind.CHANGE, TARGET.asset, CHANGE, SOURCE.address, SOURCE.address),
        Effect(EffectKind.FEE, TARGET.asset, FEE, SOURCE.address),
    )
    assert require_transfer(intent, built(TARGET).effects) == FEE
    assert built(TARGET).expires == {}


def test_one_request_per_coin():
    """Each input has a message of its own, of 32 bytes, signed by the one key."""
    requests = built(TARGET).requests
    assert len({request.message for request in requests}) == len(COINS) == 2
    assert {(r.scheme, r.signer, r.path, len(r.message)) for r in requests} == {
        ("schnorr_bip340", SOURCE.address, (0,), 32)
    }


def test_payload_is_what_was_written_by_hand():
    """Inputs and outputs in BIP69's order."""
    unsigned = CODEC.build(transfer_intent(TARGET, memo=""), TARGET.metadata)
    assert unsigned.payload == honest(US, FRIEND).encode()
    assert [request.message for request in unsigned.requests] == [honest(US, FRIEND).sighash(i) for i in (0, 1)]


def test_transaction_is_signed_serialized_and_named():
    """As BIP144 has it; the id leaves witnesses out and was known before."""
    unsigned = CODEC.build(transfer_intent(TARGET, memo=""), TARGET.metadata)
    signatures = signatures_of(TARGET, unsigned)
    signed = CODEC.combine(unsigned, signatures)
    assert signed.raw == honest(US, FRIEND).signed(signatures)
    assert signed.txid == double_sha256(honest(US, FRIEND).unsigned())[::-1].hex() == psbt.read(unsigned.payload).txid


def test_signatures_belong_to_their_inputs():
    """Swapped ones are refused, though both are of the right key over the same transaction."""
    unsigned = built(TARGET)
    with pytest.raises(SignatureInvalid):
        CODEC.combine(unsigned, signatures_of(TARGET, unsigned)[::-1])


def test_signature_of_the_untweaked_key_is_refused():
    """P never signs."""
    unsigned = built(TARGET)
    wrong = [
        replace(TARGET.account(0), sign=lambda r: US.tweaked.sign_schnorr(r.message)).sign(r) for r in unsigned.requests
    ]
    assert CODEC.combine(unsigned, wrong).txid  # another nonce is as good
    from_internal = [type(US.tweaked)(US.secret).sign_schnorr(r.message) for r in unsigned.requests]
    with pytest.raises(SignatureInvalid):
        CODEC.combine(unsigned, from_internal)


def test_without_change_there_is_no_change():
    """What the fee leaves is nothing, and the transaction has one output."""
    everything = str(sum(COIN_AMOUNTS) - AMOUNT)
    unsigned = CODEC.build(transfer_intent(TARGET, memo=""), {**TARGET.metadata, "fee": everything})
    assert [effect.kind for effect in unsigned.effects] == [EffectKind.TRANSFER, EffectKind.FEE]
    assert CODEC.decode(unsigned.payload, TARGET.chain, [SOURCE]).effects == unsigned.effects


def test_dust_is_never_change():
    """One satoshi below the limit is refused, the limit is made."""
    left = sum(COIN_AMOUNTS) - AMOUNT
    with pytest.raises(InvalidPayload, match="belongs to the fee"):
        CODEC.build(transfer_intent(TARGET), {**TARGET.metadata, "fee": str(left - 329)})
    assert CODEC.build(transfer_intent(TARGET), {**TARGET.metadata, "fee": str(left - 330)}).effects[1].amount == 330


def test_cancellation():
    """Change and fee and nothing else, of the coins that another transaction spends."""
    unsigned = cancellation()
    assert [effect.kind for effect in unsigned.effects] == [EffectKind.CHANGE, EffectKind.FEE]
    assert require_cancellation(SOURCE, unsigned.effects) == FEE
    found = CODEC.decode(unsigned.payload, TARGET.chain, [TARGET.account(1).account, SOURCE])
    assert (found.requests, found.effects) == (unsigned.requests, unsigned.effects)
    coins = [(bytes.fromhex(coin.txid), coin.vout, coin.amount) for coin in COINS]
    assert unsigned.payload == packet(US, coins, [(sum(COIN_AMOUNTS) - FEE, US.script)]).encode()
    assert CODEC.combine(unsigned, signatures_of(TARGET, unsigned)).txid
    assert psbt.read(unsigned.payload).coins == psbt.read(built(TARGET).payload).coins
    with pytest.raises(InvalidPayload):
        require_transfer(transfer_intent(TARGET), unsigned.effects)


def test_a_cancellation_must_leave_something():
    """All to the fee is no cancellation."""
    with pytest.raises(InvalidPayload):
        cancellation(fee=str(sum(COIN_AMOUNTS)))
    with pytest.raises(InsufficientFunds):
        cancellation(fee=str(sum(COIN_AMOUNTS) + 1))
    stranger = replace(SOURCE, address=TARGET.account(1).account.address)
    with pytest.raises(InvalidAddress):
        CODEC.build_cancellation(stranger, TARGET.chain, TARGET.metadata)


@pytest.mark.parametrize("spelling", [SOURCE.address, SOURCE.address.upper()])
def test_a_transfer_to_oneself_is_refused(spelling):
    """It could not be told from change: neither by who approves it nor by who reads it."""
    with pytest.raises(InvalidAddress, match="same address"):
        CODEC.build(transfer_intent(TARGET, destination=spelling), TARGET.metadata)


def test_another_account_of_the_key_is_somebody_else():
    """A transfer to it is a transfer, whoever's it is."""
    owned = [TARGET.account(1).account, SOURCE]
    effects = CODEC.decode(built(TARGET).payload, TARGET.chain, owned).effects
    assert [effect.kind for effect in effects] == [EffectKind.TRANSFER, EffectKind.CHANGE, EffectKind.FEE]


def test_upper_case_destination_is_named_in_lower_case():
    """The effect has the one spelling that the gateway compares with."""
    destination = TARGET.account(1).account.address
    unsigned = CODEC.build(transfer_intent(TARGET, destination=destination.upper()), TARGET.metadata)
    assert unsigned == built(TARGET)
    assert CODEC.validate_address(destination.upper(), TARGET.chain) == destination


def test_fee_payers_are_of_other_chains():
    """Coins pay for themselves."""
    with pytest.raises(Unsupported):
        CODEC.build(transfer_intent(TARGET, fee_payer=TARGET.account(2).account), TARGET.metadata)


def test_a_payload_names_no_network():
    """The same bytes mean the same coins of whichever network one is told, so that parties have to be told to care."""
    payload = built(TARGET).payload
    for network in (MAINNET, TESTNET4):
        account = bitcoin_account(b"codec", 0, network.chain).account
        elsewhere = CODEC.decode(payload, network.chain, [account])
        assert {effect.asset for effect in elsewhere.effects} == {network.native_asset}
        assert [r.message for r in elsewhere.requests] == [r.message for r in built(TARGET).requests]
        with pytest.raises(InvalidPayload):
            CODEC.decode(payload, network.chain, [SOURCE])  # an address of regtest
    assert BitcoinCodec.payload_names_chain is False


def test_test_coins_are_not_worth_anything():
    """The asset of the main network is refused on regtest, and the other way round."""
    with pytest.raises(UnsupportedAsset):
        CODEC.build(transfer_intent(TARGET, asset=f"{TARGET.chain}/slip44:0"), TARGET.metadata)


@pytest.mark.parametrize(
    ("metadata", "kind"),
    [
        ({"fee": "0"}, FeeTooLow),
        ({"fee": "01"}, InvalidPayload),
        ({"fee": "+1"}, InvalidPayload),
        ({"fee": "٣"}, InvalidPayload),
        ({"fee": "1_000"}, InvalidPayload),
        ({"fee": "1.0"}, InvalidPayload),
        ({"fee": "20001"}, InsufficientFunds),
        ({"coins": format_coins(COINS) + ","}, InvalidPayload),
        ({"coins": f"{COINS[0]},{COINS[0]}"}, InvalidPayload),
        ({"coins": f"{COINS[0].outpoint}:100000,{COINS[0].outpoint}:200000"}, InvalidPayload),
        ({"coins": f"{txid(0)}:0:{10**10}", "fee": str(10**9)}, FeeTooHigh),
        ({"locktime": "0"}, InvalidPayload),
        ({"sequence": "0"}, InvalidPayload),
    ],
)
def test_metadata_has_one_spelling(metadata, kind):
    """And nothing in it is believed that no transaction may be."""
    with pytest.raises(kind):
        CODEC.build(transfer_intent(TARGET), {**TARGET.metadata, **metadata})


@pytest.mark.parametrize("amount", [1, 329, 2_100_000_000_000_001, True, 1.0, "1"])
def test_amounts_that_no_output_holds(amount):
    """Dust of the destination's own kind, more than all coins, no integer."""
    with pytest.raises(InvalidAmount):
        CODEC.build(transfer_intent(TARGET, amount=amount), TARGET.metadata)


def test_seventeen_coins_are_too_many():
    """A party signs sixteen messages."""
    coins = [Coin(txid(number), 0, 10_000) for number in range(17)]
    with pytest.raises(InvalidPayload):
        CODEC.build(transfer_intent(TARGET), {**TARGET.metadata, "coins": format_coins(coins)})
    unsigned = CODEC.build(transfer_intent(TARGET), {**TARGET.metadata, "coins": format_coins(coins[:16])})
    assert len(unsigned.requests) == 16
    assert CODEC.combine(unsigned, signatures_of(TARGET, unsigned)).txid


@pytest.mark.parametrize("memo", ["x" * 81, "ü" * 41, "a\x00b", "\u202egnp.exe", "\ud800"])
def test_memos_that_are_refused(memo):
    """Too long for a node's policy, or unreadable."""
    with pytest.raises(ChainError):
        CODEC.build(transfer_intent(TARGET, memo=memo), TARGET.metadata)


def test_path_is_the_accounts():
    """It is not in the payload, so it comes from the account that the payload names."""
    moved = replace(SOURCE, path=(7, 7))
    found = CODEC.decode(built(TARGET).payload, TARGET.chain, [moved])
    assert {request.path for request in found.requests} == {(7, 7)}


@pytest.mark.parametrize("key", [b"", b"\x02", b"\x05" + US.internal, US.internal, b"\x03" + FRIEND.internal])
def test_accounts_with_other_keys_own_nothing(key):
    """An address alone makes no owner."""
    with pytest.raises(InvalidPayload):
        CODEC.decode(built(TARGET).payload, TARGET.chain, [replace(SOURCE, public_key=key)])


def test_two_payloads_exclude_each_other_if_they_share_a_coin():
    """All of them, or one; different coins and messages never do."""
    both = built(TARGET)
    one, other = (
        CODEC.build_cancellation(SOURCE, TARGET.chain, {"coins": format_coins([coin]), "fee": str(FEE)})
        for coin in COINS
    )
    assert CODEC.excludes(both.payload, cancellation().payload, TARGET.chain)
    assert CODEC.excludes(both.payload, one.payload, TARGET.chain)
    assert CODEC.excludes(other.payload, both.payload, TARGET.chain)
    assert not CODEC.excludes(one.payload, other.payload, TARGET.chain)
    message = CODEC.build_message(SOURCE, TARGET.chain, "hello")
    assert not CODEC.excludes(message.payload, message.payload, TARGET.chain)
    with pytest.raises(InvalidPayload):
        CODEC.excludes(both.payload, b"", TARGET.chain)
