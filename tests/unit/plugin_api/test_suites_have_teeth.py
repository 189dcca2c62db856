"""The conformance suites catch what they are for: each defect fails exactly where it should, and a sound codec nowhere."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest
from solders.hash import Hash

from keyquorum_plugin_api.codec import (
    Decoded,
    Effect,
    EffectKind,
    SignedTransaction,
    SignerAccount,
    SigningRequest,
    TransferIntent,
    UnsignedTransaction,
)
from keyquorum_plugin_api.errors import ChainError, InvalidAmount, InvalidPayload
from keyquorum_plugin_api.testing import CodecConformance
from keyquorum_plugin_api.testing.codec_conformance import transfer_intent
from keyquorum_sol.codec import SolanaCodec
from support.solana_target import SolanaCodecTarget


class TrailingBytes(SolanaCodec):
    """Reads what it knows and leaves the rest."""

    def decode(self, payload: bytes, chain: str, accounts: Sequence[SignerAccount]) -> Decoded:
        for cut in range(4):
            try:
                found = super().decode(payload[: len(payload) - cut], chain, accounts)
            except ChainError:
                continue
            return found
        raise InvalidPayload("not a transfer")


class Crashes(SolanaCodec):
    """Lets an exception of its parser out."""

    def decode(self, payload: bytes, chain: str, accounts: Sequence[SignerAccount]) -> Decoded:
        payload[40]
        return super().decode(payload, chain, accounts)


class AnySigner(SolanaCodec):
    """Takes the first account for the signer."""

    def decode(self, payload: bytes, chain: str, accounts: Sequence[SignerAccount]) -> Decoded:
        start = 4 if payload[:1] == b"\x80" else 0x33
        key = bytes(payload[start + 1 : start + 33]) if start == 4 else bytes(payload[start : start + 32])
        try:
            return super().decode(payload, chain, [SignerAccount(self.derive_address(key, chain), key, (0,))])
        except ChainError:
            return super().decode(payload, chain, accounts)


class ForgetsTheMemo(SolanaCodec):
    """Says less than the payload does."""

    def decode(self, payload: bytes, chain: str, accounts: Sequence[SignerAccount]) -> Decoded:
        found = super().decode(payload, chain, accounts)
        return replace(found, effects=tuple(replace(effect, detail="") for effect in found.effects))


class HidesTheFee(SolanaCodec):
    """Does not say what the network takes."""

    def build(self, intent: TransferIntent, metadata: Mapping[str, str]) -> UnsignedTransaction:
        unsigned = super().build(intent, metadata)
        return replace(unsigned, effects=unsigned.effects[:1])

    def decode(self, payload: bytes, chain: str, accounts: Sequence[SignerAccount]) -> Decoded:
        found = super().decode(payload, chain, accounts)
        return replace(found, effects=found.effects[:1])


class SaysAnotherAmount(SolanaCodec):
    """Builds and decodes alike, but not what was asked for."""

    def build(self, intent: TransferIntent, metadata: Mapping[str, str]) -> UnsignedTransaction:
        return super().build(replace(intent, amount=intent.amount - 1 or 1), metadata)


class IgnoresTheMetadata(SolanaCodec):
    """Builds with defaults where something is missing."""

    def build(self, intent: TransferIntent, metadata: Mapping[str, str]) -> UnsignedTransaction:
        known = {key: metadata.get(key) or default for key, default in SolanaCodecTarget.metadata.items()}
        return super().build(intent, known)


class Randomised(SolanaCodec):
    """Two builds of one intent differ."""

    def build(self, intent: TransferIntent, metadata: Mapping[str, str]) -> UnsignedTransaction:
        return super().build(intent, {**metadata, "blockhash": str(Hash.new_unique())})


class BelievesSignatures(SolanaCodec):
    """Combines without verifying."""

    def combine(self, unsigned: UnsignedTransaction, signatures: Sequence[bytes]) -> SignedTransaction:
        return SignedTransaction(unsigned.chain, b"".join(signatures) + unsigned.payload, "id")


class BelievesTheCaller(SolanaCodec):
    """Verifies signatures, but not that the payload does what the unsigned transaction says."""

    def combine(self, unsigned: UnsignedTransaction, signatures: Sequence[bytes]) -> SignedTransaction:
        honest = [
            SignerAccount(r.signer, SolanaCodecTarget().account(0).account.public_key, r.path)
            for r in unsigned.requests
        ]
        found = self.decode(unsigned.payload, unsigned.chain, honest)
        return super().combine(replace(unsigned, requests=found.requests, effects=found.effects), signatures)


class WrapsAmounts(SolanaCodec):
    """Takes an amount modulo its range."""

    def build(self, intent: TransferIntent, metadata: Mapping[str, str]) -> UnsignedTransaction:
        if intent.amount == 0:
            raise InvalidAmount("zero")
        return super().build(replace(intent, amount=intent.amount % 2**64 or 1), metadata)


class MovesWithAMessage(SolanaCodec):
    """A message that does something else, too."""

    def build_message(self, account: SignerAccount, chain: str, message: str) -> UnsignedTransaction:
        unsigned = super().build_message(account, chain, message)
        return replace(unsigned, effects=(*unsigned.effects, Effect(EffectKind.DELEGATE, source=account.address)))


class TrimsAddresses(SolanaCodec):
    """Two spellings of one address."""

    def validate_address(self, address: str, chain: str) -> str:
        return super().validate_address(address.strip(), chain)


class AnyChain(SolanaCodec):
    """Derives addresses for chains that it does not serve."""

    def derive_address(self, public_key: bytes, chain: str) -> str:
        return super().derive_address(public_key, SolanaCodecTarget.chain)


class SignsAPrefix(SolanaCodec):
    """Carries bytes along that no signature covers."""

    def build(self, intent: TransferIntent, metadata: Mapping[str, str]) -> UnsignedTransaction:
        unsigned = super().build(intent, metadata)
        return replace(unsigned, requests=_shortened(unsigned.requests))

    def build_message(self, account: SignerAccount, chain: str, message: str) -> UnsignedTransaction:
        unsigned = super().build_message(account, chain, message)
        return replace(unsigned, requests=_shortened(unsigned.requests))

    def decode(self, payload: bytes, chain: str, accounts: Sequence[SignerAccount]) -> Decoded:
        found = super().decode(payload, chain, accounts)
        return replace(found, requests=_shortened(found.requests))


class LeavesOutTheDestination(SignsAPrefix):
    """Signs the amount, but not to whom."""

    def build(self, intent: TransferIntent, metadata: Mapping[str, str]) -> UnsignedTransaction:
        unsigned = super().build(intent, metadata)
        return replace(unsigned, requests=(replace(unsigned.requests[0], message=str(intent.amount).encode()),))


class Gullible(SolanaCodec):
    """Finds the one transfer it looks for, and does not look further."""

    def decode(self, payload: bytes, chain: str, accounts: Sequence[SignerAccount]) -> Decoded:
        try:
            return super().decode(payload, chain, accounts)
        except InvalidPayload:
            honest = super().build(*_honest())
            return Decoded((replace(honest.requests[0], message=payload),), honest.effects)


class PadsKeys(SolanaCodec):
    """Makes a key of whatever it gets."""

    def derive_address(self, public_key: bytes, chain: str) -> str:
        return super().derive_address((public_key + b"\x01" + bytes(32))[:32], chain)


class OneAddressForAll(SolanaCodec):
    """Does not look at the key."""

    def derive_address(self, public_key: bytes, chain: str) -> str:
        return super().derive_address(SolanaCodecTarget().account(0).account.public_key[: len(public_key)], chain)


class BelievesTheAddress(SolanaCodec):
    """Builds for the address and forgets whose key signs."""

    def build(self, intent: TransferIntent, metadata: Mapping[str, str]) -> UnsignedTransaction:
        owner = SolanaCodecTarget().account(1).account
        named = owner if intent.source.address == owner.address else intent.source
        return super().build(replace(intent, source=named), metadata)


class IgnoresTheAsset(SolanaCodec):
    """Moves its own coin, whatever was asked for."""

    def build(self, intent: TransferIntent, metadata: Mapping[str, str]) -> UnsignedTransaction:
        return super().build(replace(intent, asset=SolanaCodecTarget.asset), metadata)


class CleansMessages(SolanaCodec):
    """Signs something else than it was given, without saying so."""

    def build_message(self, account: SignerAccount, chain: str, message: str) -> UnsignedTransaction:
        cleaned = "".join(character for character in message if character.isprintable()) or "-"
        return super().build_message(account, chain, cleaned[:100])


class AsksTwice(SolanaCodec):
    """Wants one signature twice."""

    def build(self, intent: TransferIntent, metadata: Mapping[str, str]) -> UnsignedTransaction:
        unsigned = super().build(intent, metadata)
        return replace(unsigned, requests=unsigned.requests * 2)


class SignsAnyDocument(SolanaCodec):
    """Does not say that it cannot read it."""

    def build_typed_data(self, account: SignerAccount, chain: str, document: str) -> UnsignedTransaction:
        return self.build_message(account, chain, document)


class Nameless(SolanaCodec):
    """Cannot be looked up."""

    name = ""


def _shortened(requests: tuple[SigningRequest, ...]) -> tuple[SigningRequest, ...]:
    return tuple(replace(request, message=request.message[:-40]) for request in requests)


def _honest() -> tuple[TransferIntent, Mapping[str, str]]:
    return transfer_intent(SolanaCodecTarget()), SolanaCodecTarget.metadata


DEFECTS: dict[type[SolanaCodec], str] = {
    SignsAPrefix: "test_every_bit_matters",
    LeavesOutTheDestination: "test_every_field_of_the_intent_changes_what_is_signed",
    Gullible: "test_hostile_payloads_are_refused",
    PadsKeys: "test_public_keys_of_the_wrong_size_have_no_address",
    OneAddressForAll: "test_addresses_are_derived_from_public_keys",
    BelievesTheAddress: "test_source_must_be_the_address_of_its_key",
    IgnoresTheAsset: "test_unknown_assets_are_refused",
    CleansMessages: "test_unreadable_messages_are_refused",
    AsksTwice: "test_digests_are_digests",
    Nameless: "test_names_itself",
    SignsAnyDocument: "test_documents_do_what_they_say",
    TrailingBytes: "test_decode_is_total",
    Crashes: "test_decode_is_total",
    AnySigner: "test_payloads_of_strangers_are_refused",
    ForgetsTheMemo: "test_decode_gives_back_what_build_said",
    HidesTheFee: "test_effects_are_the_intent",
    SaysAnotherAmount: "test_effects_are_the_intent",
    IgnoresTheMetadata: "test_metadata_is_validated",
    Randomised: "test_build_is_deterministic",
    BelievesSignatures: "test_combine_needs_the_right_signatures",
    BelievesTheCaller: "test_combine_believes_the_payload_only",
    WrapsAmounts: "test_invalid_amounts_are_refused",
    MovesWithAMessage: "test_messages_move_nothing",
    TrimsAddresses: "test_invalid_addresses_are_refused",
    AnyChain: "test_chain_ids_of_others_are_refused",
}


def suite() -> dict[str, Callable[..., None]]:
    members = inspect.getmembers(CodecConformance(), inspect.ismethod)
    return {name: method for name, method in members if name.startswith("test_")}


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.__name__)
def test_defect_is_caught(defect: type[SolanaCodec]) -> None:
    """By the test that is named for it."""
    target = SolanaCodecTarget()
    target.codec = defect()
    with pytest.raises((AssertionError, ChainError, IndexError)):
        suite()[DEFECTS[defect]](target)


def test_every_property_is_shown_to_work() -> None:
    """A test that is added to the suite needs a defect that it catches."""
    assert set(suite()) == set(DEFECTS.values())


def test_sound_codec_passes() -> None:
    """Otherwise catching defects would be no art."""
    for method in suite().values():
        method(SolanaCodecTarget())
