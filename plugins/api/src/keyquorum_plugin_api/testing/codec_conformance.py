"""What every codec must do, whatever its chain. Subclass, provide the fixture ``target``, and run under pytest.

A codec that knows no messages, or no structured documents, refuses them with ``Unsupported``; the tests about them then show
nothing else.
"""

import random
from collections.abc import Iterator
from dataclasses import replace

from keyquorum_plugin_api.codec import (
    Decoded,
    EffectKind,
    SignerAccount,
    TransferIntent,
    UnsignedTransaction,
)
from keyquorum_plugin_api.effects import require_transfer
from keyquorum_plugin_api.errors import (
    ChainError,
    InvalidAddress,
    InvalidAmount,
    InvalidPayload,
    SignatureInvalid,
    Unsupported,
    UnsupportedAsset,
)
from keyquorum_plugin_api.testing.evidence import Suite
from keyquorum_plugin_api.testing.optional import DocumentTarget
from keyquorum_plugin_api.testing.target import CodecTarget

MUTATIONS = 1_000  # random ones, beside every single bit
_MESSAGE = "I own this account.\n2025-01-01"


def transfer_intent(target: CodecTarget, **changes: object) -> TransferIntent:
    """The transfer that the suites make: account 0 pays account 1."""
    intent = TransferIntent(
        chain=target.chain,
        source=target.account(0).account,
        destination=target.account(1).account.address,
        asset=target.asset,
        amount=target.amount,
        memo=target.memo,
    )
    return replace(intent, **changes)  # type: ignore[arg-type]


class CodecConformance(Suite):
    """Each method is a test; ``target`` is a :class:`CodecTarget`."""

    def test_names_itself(self, target: CodecTarget) -> None:
        """Name, namespace and scheme are what hosts look codecs up by."""
        codec = target.codec
        assert codec.name
        assert target.chain.startswith(f"{codec.namespace}:")
        assert codec.scheme in ("ecdsa_secp256k1", "schnorr_bip340", "eddsa_ed25519")
        assert isinstance(codec.payload_names_chain, bool)

    def test_addresses_are_derived_from_public_keys(self, target: CodecTarget) -> None:
        """The same key gives the same valid address, another key another one."""
        addresses = set()
        for index in (0, 1):
            account = target.account(index).account
            assert target.codec.derive_address(account.public_key, target.chain) == account.address
            assert target.codec.validate_address(account.address, target.chain) == account.address
            addresses.add(account.address)
        assert len(addresses) == 2

    def test_public_keys_of_the_wrong_size_have_no_address(self, target: CodecTarget) -> None:
        """No key is cut or padded."""
        key = target.account(0).account.public_key
        for wrong in (b"", key[:-1], key + b"\x00"):
            with self.refused(InvalidAddress, what=f"a key of {len(wrong)} bytes"):
                target.codec.derive_address(wrong, target.chain)

    def test_invalid_addresses_are_refused(self, target: CodecTarget) -> None:
        """As such and as destinations."""
        valid = target.account(1).account.address
        for wrong in ("", " ", valid[:8], valid + "\n", " " + valid, valid + valid, *target.invalid_addresses):
            with self.refused(InvalidAddress, what=repr(wrong)):
                target.codec.validate_address(wrong, target.chain)
            with self.refused(InvalidAddress, what=repr(wrong)):
                target.codec.build(transfer_intent(target, destination=wrong), target.metadata)

    def test_chain_ids_of_others_are_refused(self, target: CodecTarget) -> None:
        """Aliases and other namespaces are for the host to resolve."""
        payload = built(target).payload
        account = target.account(0).account
        for chain in ("", "other:1", target.codec.namespace, f"{target.codec.namespace}:", f"{target.chain} "):
            with self.refused(ChainError, what=repr(chain)):
                target.codec.derive_address(account.public_key, chain)
            with self.refused(ChainError, what=repr(chain)):
                target.codec.validate_address(account.address, chain)
            with self.refused(ChainError, what=repr(chain)):
                target.codec.decode(payload, chain, [account])
            with self.refused(ChainError, what=repr(chain)):
                target.codec.build_message(account, chain, _MESSAGE)

    def test_build_is_deterministic(self, target: CodecTarget) -> None:
        """The same intent and metadata give the same bytes, from any instance."""
        fresh = type(target.codec)()
        assert built(target) == fresh.build(
            transfer_intent(target), dict(sorted(target.metadata.items(), reverse=True))
        )

    def test_decode_gives_back_what_build_said(self, target: CodecTarget) -> None:
        """From the payload alone, also where the key has other accounts."""
        for memo in {target.memo, ""}:
            unsigned = target.codec.build(transfer_intent(target, memo=memo), target.metadata)
            for accounts in ([0], [0, 1], [2, 1, 0]):
                assert decoded(target, unsigned.payload, *accounts) == Decoded(unsigned.requests, unsigned.effects)

    def test_effects_are_the_intent(self, target: CodecTarget) -> None:
        """One transfer as asked for, and a fee that is stated."""
        unsigned = built(target)
        assert require_transfer(transfer_intent(target), unsigned.effects) > 0
        fees = [effect for effect in unsigned.effects if effect.kind is EffectKind.FEE]
        assert len(fees) == 1
        assert unsigned.chain == target.chain
        assert {request.signer for request in unsigned.requests} == {target.account(0).account.address}
        assert {request.path for request in unsigned.requests} == {target.account(0).account.path}
        assert {request.scheme for request in unsigned.requests} == {target.codec.scheme}

    def test_digests_are_digests(self, target: CodecTarget) -> None:
        """32 bytes for the schemes that sign a digest, and never the same twice."""
        messages = [request.message for request in built(target).requests]
        assert len(set(messages)) == len(messages) > 0
        if target.codec.scheme != "eddsa_ed25519":
            assert {len(message) for message in messages} == {32}

    def test_every_field_of_the_intent_changes_what_is_signed(self, target: CodecTarget) -> None:
        """Nothing that was asked for is left out of the signature. A source may be told by whose key signs alone."""
        messages = [(request.message, request.signer) for request in built(target).requests]
        changes: list[dict[str, object]] = [
            {"amount": target.amount + 1},
            {"destination": target.account(2).account.address},
            {"source": target.account(2).account},
        ]
        if target.memo:
            changes.append({"memo": target.memo + "!"})
        for change in changes:
            other = target.codec.build(transfer_intent(target, **change), target.metadata)
            assert [(request.message, request.signer) for request in other.requests] != messages, change

    def test_invalid_amounts_are_refused(self, target: CodecTarget) -> None:
        """Zero, negative, and beyond any asset's range."""
        for amount in (0, -1, 2**256, -(2**64)):
            with self.refused(InvalidAmount, what=str(amount)):
                target.codec.build(transfer_intent(target, amount=amount), target.metadata)

    def test_unknown_assets_are_refused(self, target: CodecTarget) -> None:
        """Another asset, or the same one of another chain."""
        for asset in (
            "",
            "slip44:0",
            f"{target.chain}/slip44:99999",
            target.asset.replace(target.chain, target.other_chain),
        ):
            with self.refused(UnsupportedAsset, what=repr(asset)):
                target.codec.build(transfer_intent(target, asset=asset), target.metadata)

    def test_source_must_be_the_address_of_its_key(self, target: CodecTarget) -> None:
        """An account whose address is not its public key's would send what another key owns."""
        mixed = replace(target.account(0).account, address=target.account(1).account.address)
        with self.refused(ChainError):
            target.codec.build(
                transfer_intent(target, source=mixed, destination=target.account(2).account.address), target.metadata
            )
        with self.refused(ChainError):
            target.codec.build_message(mixed, target.chain, _MESSAGE)

    def test_metadata_is_validated(self, target: CodecTarget) -> None:
        """It comes from outside: each value is needed, none may be nonsense, nothing else may be there."""
        intent = transfer_intent(target)
        for key in target.metadata:
            without = {other: value for other, value in target.metadata.items() if other != key}
            for metadata in (
                without,
                *({**target.metadata, key: text} for text in ("", "-1", "1e3", "\x00", "0x", "9" * 200)),
            ):
                with self.refused(ChainError, what=f"{key} = {metadata.get(key)!r}"):
                    target.codec.build(intent, metadata)
        with self.refused(ChainError):
            target.codec.build(intent, {**target.metadata, "unheard_of": "1"})

    def test_every_bit_matters(self, target: CodecTarget) -> None:
        """A payload with one bit flipped is refused or needs other signatures; nothing is carried along unsigned."""
        for payload in payloads(target):
            for bit in range(8 * len(payload)):
                mutated = bytearray(payload)
                mutated[bit // 8] ^= 1 << bit % 8
                self._check_mutated(target, payload, bytes(mutated), f"bit {bit}")

    def test_decode_is_total(self, target: CodecTarget) -> None:
        """Cut, extended, spliced and random bytes are refused or need other signatures, and nothing else happens."""
        for payload in payloads(target):
            for mutated in _mutations(payload, [*payloads(target), *target.hostile_payloads.values()]):
                self._check_mutated(target, payload, mutated, mutated.hex())

    def _check_mutated(self, target: CodecTarget, payload: bytes, mutated: bytes, what: str) -> None:
        if mutated == payload:
            return
        original = decoded(target, payload, 0, 1)
        try:
            found = decoded(target, mutated, 0, 1)
        except ChainError:
            return
        messages = {request.message for request in original.requests}
        assert not messages & {request.message for request in found.requests}, what
        assert found.effects, what

    def test_payloads_of_strangers_are_refused(self, target: CodecTarget) -> None:
        """A payload that one of the key's accounts does not sign is not for this key."""
        for payload in payloads(target):
            stranger = target.account(2).account
            impostor = replace(stranger, address=target.account(0).account.address)
            for accounts in ([], [stranger], [impostor]):
                with self.refused(InvalidPayload):
                    target.codec.decode(payload, target.chain, accounts)

    def test_hostile_payloads_are_refused(self, target: CodecTarget) -> None:
        """Whatever else the chain would execute."""
        assert target.hostile_payloads
        for name, payload in target.hostile_payloads.items():
            with self.refused(InvalidPayload, what=name):
                decoded(target, payload, 0, 1)

    def test_combine_needs_the_right_signatures(self, target: CodecTarget) -> None:
        """Of the right account over the right payload, all of them, unchanged."""
        account = target.account(0).account
        transfers = (
            built(target),
            target.codec.build(transfer_intent(target, amount=target.amount + 1), target.metadata),
        )
        pairs = [transfers]
        if message_of(target) is not None:
            first, second = (target.codec.build_message(account, target.chain, text) for text in (_MESSAGE, "other"))
            pairs.append((first, second))
        for unsigned, other in pairs:
            signed = target.codec.combine(unsigned, signatures_of(target, unsigned))
            assert signed.raw
            assert signed.txid
            assert signed.chain == target.chain
            self._check_wrong_signatures(target, unsigned, other)

    def _check_wrong_signatures(
        self, target: CodecTarget, unsigned: UnsignedTransaction, other: UnsignedTransaction
    ) -> None:
        good = signatures_of(target, unsigned)
        flipped = [bytes([signature[0] ^ 1, *signature[1:]]) for signature in good]
        strangers = [target.account(1).sign(request) for request in unsigned.requests]
        for wrong in (
            [], [*good, good[0]], [bytes(len(s)) for s in good], [s[:-1] for s in good], [s + b"\x00" for s in good],
            flipped, strangers, signatures_of(target, other),
        ):  # fmt: skip
            with self.refused(SignatureInvalid):
                target.codec.combine(unsigned, wrong)

    def test_combine_believes_the_payload_only(self, target: CodecTarget) -> None:
        """An unsigned transaction whose other fields say something else is refused, signed or not."""
        unsigned = built(target)
        other = target.codec.build(transfer_intent(target, amount=target.amount + 1), target.metadata)
        good = signatures_of(target, unsigned)
        for wrong in (
            replace(unsigned, effects=other.effects),
            replace(unsigned, effects=()),
            replace(unsigned, requests=other.requests),
            replace(unsigned, requests=()),
            replace(unsigned, payload=other.payload),
            replace(unsigned, chain="other:1"),
        ):
            with self.refused(ChainError):
                target.codec.combine(wrong, good)

    def test_messages_move_nothing(self, target: CodecTarget) -> None:
        """A message is one effect, its text, and can be read back from what is signed."""
        account = target.account(0).account
        if message_of(target) is None:
            self.not_run("capability:message", "the codec knows no messages")
            return
        for text in ("x", _MESSAGE, "Grüße, 世界"):
            unsigned = target.codec.build_message(account, target.chain, text)
            assert [(e.kind, e.detail, e.amount, e.asset, e.destination) for e in unsigned.effects] == [
                (EffectKind.MESSAGE, text, 0, "", "")
            ]
            assert decoded(target, unsigned.payload, 0) == Decoded(unsigned.requests, unsigned.effects)
            assert target.codec.combine(unsigned, signatures_of(target, unsigned)).txid

    def test_unreadable_messages_are_refused(self, target: CodecTarget) -> None:
        """What a person cannot see, a person cannot approve."""
        for text in ("", "\x00", "a\x1b[2Jb", "\u202ereversed", "\ud800", "x" * 100_000):
            with self.refused(ChainError, what=ascii(text[:20])):
                target.codec.build_message(target.account(0).account, target.chain, text)

    def test_documents_do_what_they_say(self, target: CodecTarget) -> None:
        """A structured document reads back from its payload, moves nothing at once, and a hostile one is refused."""
        account = target.account(0).account
        if not isinstance(target, DocumentTarget):
            with self.unclaimed("typed_data"):
                target.codec.build_typed_data(account, target.chain, "{}")
            return
        unsigned = target.codec.build_typed_data(account, target.chain, target.document)
        assert unsigned.effects
        at_once = {EffectKind.TRANSFER, EffectKind.CHANGE, EffectKind.FEE}
        assert not at_once & {effect.kind for effect in unsigned.effects}
        assert decoded(target, unsigned.payload, 0) == Decoded(unsigned.requests, unsigned.effects)
        assert target.codec.combine(unsigned, signatures_of(target, unsigned)).raw
        for name, document in {"": "", "no JSON": "{", "not an object": "[]", **target.hostile_documents}.items():
            with self.refused(ChainError, what=name):
                target.codec.build_typed_data(account, target.chain, document)


def built(target: CodecTarget) -> UnsignedTransaction:
    """The transfer that the suites make, built offline."""
    return target.codec.build(transfer_intent(target), target.metadata)


def message_of(target: CodecTarget) -> UnsignedTransaction | None:
    """A message of account 0; None where the codec knows none."""
    try:
        return target.codec.build_message(target.account(0).account, target.chain, _MESSAGE)
    except Unsupported:
        return None


def payloads(target: CodecTarget) -> list[bytes]:
    """A transfer of account 0, and a message and a structured document where the codec knows them."""
    found = [built(target).payload]
    if (message := message_of(target)) is not None:
        found.append(message.payload)
    if isinstance(target, DocumentTarget):
        account = target.account(0).account
        found.append(target.codec.build_typed_data(account, target.chain, target.document).payload)
    return found


def decoded(target: CodecTarget, payload: bytes, *accounts: int) -> Decoded:
    """What a payload does for a key with these accounts."""
    owned: list[SignerAccount] = [target.account(index).account for index in accounts]
    return target.codec.decode(payload, target.chain, owned)


def signatures_of(target: CodecTarget, unsigned: UnsignedTransaction) -> list[bytes]:
    """Account 0's signatures."""
    return [target.account(0).sign(request) for request in unsigned.requests]


def _mutations(payload: bytes, others: list[bytes]) -> Iterator[bytes]:
    chance = random.Random(20250101)  # noqa: S311 the same cases on every run
    yield b""
    for cut in range(1, len(payload)):
        yield payload[:cut]
        yield payload[cut:]
    for value in (0, 1, 0x80, 0xFF):
        yield payload + bytes([value])
        yield bytes([value]) + payload
    yield payload + payload
    for _ in range(MUTATIONS):
        other = chance.choice(others)
        mutated = bytearray(payload)
        at = chance.randrange(len(mutated))
        match chance.randrange(5):
            case 0:
                mutated[at] = chance.randrange(256)
            case 1:
                del mutated[at : at + chance.randrange(1, 9)]
            case 2:
                mutated[at:at] = chance.randbytes(chance.randrange(1, 9))
            case 3:
                mutated[at:] = other[chance.randrange(len(other)) :]
            case _:
                mutated[at : at + 8] = chance.randbytes(8)
        yield bytes(mutated)
    for _ in range(MUTATIONS // 4):
        yield chance.randbytes(chance.randrange(1, 300))
