"""What is Solana's own in the codec, beyond what every codec does."""

from dataclasses import replace

import pytest
from solders.transaction import VersionedTransaction

from keyquorum_plugin_api.codec import Effect, EffectKind
from keyquorum_plugin_api.errors import InvalidPayload
from keyquorum_plugin_api.testing.codec_conformance import built, signatures_of, transfer_intent
from keyquorum_sol.codec import SolanaCodec
from support.solana_target import SolanaCodecTarget

TARGET = SolanaCodecTarget()


def test_effects_of_a_transfer() -> None:
    """The transfer with its memo, and the fee to the lamport: 5,000 for the signature, 600 units at 1,000 micro-lamports."""
    intent = transfer_intent(TARGET)
    assert built(TARGET).effects == (
        Effect(
            EffectKind.TRANSFER,
            TARGET.asset,
            intent.amount,
            intent.source.address,
            intent.destination,
            intent.memo,
        ),
        Effect(EffectKind.FEE, TARGET.asset, 5_001, intent.source.address),
    )


def test_whole_message_is_signed_and_its_signature_is_the_id() -> None:
    """Ed25519 takes no digest; the first signature names the transaction."""
    unsigned = built(TARGET)
    assert [request.message for request in unsigned.requests] == [unsigned.payload]
    signed = TARGET.codec.combine(unsigned, signatures_of(TARGET, unsigned))
    transaction = VersionedTransaction.from_bytes(signed.raw)
    assert transaction.verify_with_results() == [True]
    assert signed.txid == str(transaction.signatures[0])
    assert signed.raw == b"\x01" + signatures_of(TARGET, unsigned)[0] + unsigned.payload


def test_expiry_is_not_in_the_payload() -> None:
    """The last valid height is the node's word; the payload is the same whatever it says."""
    later = TARGET.codec.build(transfer_intent(TARGET), {**TARGET.metadata, "last_valid_block_height": "9999"})
    assert later.payload == built(TARGET).payload
    assert later.expires == {"last_valid_block_height": 9999}


def test_a_payload_names_no_cluster() -> None:
    """The same bytes mean the same coins of whichever cluster one is told, so that parties have to be told to care."""
    payload, account = built(TARGET).payload, TARGET.account(0).account
    elsewhere = TARGET.codec.decode(payload, TARGET.other_chain, [account])
    assert {effect.asset for effect in elsewhere.effects} == {f"{TARGET.other_chain}/slip44:501"}
    assert elsewhere.requests == built(TARGET).requests
    assert SolanaCodec.payload_names_chain is False


@pytest.mark.parametrize(
    "metadata",
    [
        {"blockhash": "1" * 32},
        {"blockhash": "z" * 88},
        {"blockhash": TARGET.metadata["blockhash"] + " "},
        {"compute_unit_limit": "00"},
        {"compute_unit_limit": "٣"},
        {"compute_unit_price": "+1"},
        {"compute_unit_price": str(2**64)},
        {"last_valid_block_height": "1_000"},
    ],
)
def test_metadata_has_one_spelling(metadata: dict[str, str]) -> None:
    """Decimal without sign, zeros, separators or other digits; a blockhash that is one."""
    with pytest.raises(InvalidPayload):
        TARGET.codec.build(transfer_intent(TARGET), {**TARGET.metadata, **metadata})


def test_path_is_the_accounts() -> None:
    """It is not in the payload, so it comes from the account that the payload names."""
    moved = replace(TARGET.account(0).account, path=(7, 7))
    found = TARGET.codec.decode(built(TARGET).payload, TARGET.chain, [moved])
    assert [request.path for request in found.requests] == [(7, 7)]


@pytest.mark.parametrize("name", TARGET.hostile_payloads)
def test_hostile_payload_is_refused(name: str) -> None:
    """Each for itself, by a key that owns source and destination."""
    accounts = [TARGET.account(index).account for index in (0, 1)]
    with pytest.raises(InvalidPayload):
        TARGET.codec.decode(TARGET.hostile_payloads[name], TARGET.chain, accounts)
