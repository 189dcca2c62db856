"""What the Ethereum codec names beyond transfers, and what it will not."""

import json
from dataclasses import replace
from typing import Any

import pytest
from web3 import Web3

from keyquorum_eth.codec import transaction_of
from keyquorum_eth.network import chain_id_of, parse_asset
from keyquorum_eth.payloads import Kind, Payload
from keyquorum_plugin_api.codec import Effect, EffectKind, SignerAccount
from keyquorum_plugin_api.effects import require_cancellation, require_transfer
from keyquorum_plugin_api.errors import (
    FeeTooHigh,
    InvalidAddress,
    InvalidPayload,
    Unsupported,
    UnsupportedAsset,
)
from keyquorum_plugin_api.testing import refused
from keyquorum_plugin_api.testing.codec_conformance import built, decoded, transfer_intent
from support.anvil import CHAIN, CHAIN_ID
from support.ethereum_hostile import PERMIT2, TOKEN, bytes_of, fields, permit, token_data, transaction
from support.ethereum_target import EthereumCodecTarget

ASSET = f"{CHAIN}/erc20:0x{TOKEN.hex()}"
CHECKSUMMED = Web3.to_checksum_address(TOKEN)


def test_token_transfers(target: EthereumCodecTarget) -> None:
    """The data is what web3 encodes, and the asset is spelled in lower case, however it was asked for."""
    erc20 = {
        "type": "function",
        "name": "transfer",
        "stateMutability": "nonpayable",
        "inputs": [{"name": "to", "type": "address"}, {"name": "amount", "type": "uint256"}],
        "outputs": [],
    }
    for amount in (1, 2**256 - 1):
        for spelled in (ASSET, f"{CHAIN}/erc20:{CHECKSUMMED}"):
            intent = transfer_intent(target, asset=spelled, amount=amount)
            unsigned = target.codec.build(intent, {**target.metadata, "gas_limit": "60000"})
            made, _ = transaction_of(unsigned)
            contract = Web3().eth.contract(abi=[erc20])
            assert "0x" + made.data.hex() == contract.encode_abi("transfer", [intent.destination, amount])
            assert (made.to, made.value) == (TOKEN, 0)
            assert require_transfer(replace(intent, asset=ASSET), unsigned.effects) == 60_000 * 30 * 10**9
            assert decoded(target, unsigned.payload, 0).effects == unsigned.effects


@pytest.mark.parametrize("function", ["approve", "increaseAllowance"])
@pytest.mark.parametrize("amount", [0, 5, 2**256 - 1])
def test_approvals_are_named(target: EthereumCodecTarget, function: str, amount: int) -> None:
    """As such, never as a transfer: a policy that allows transfers does not allow them."""
    us, friend = (target.account(index).account.address for index in (0, 1))
    data = token_data(f"{function}(address,uint256)", bytes_of(friend), amount)
    found = decoded(target, transaction(us, fields(TOKEN, 0, data)), 0)
    approval, fee = found.effects
    detail = "on top of what is allowed" if function == "increaseAllowance" else ""
    assert approval == Effect(EffectKind.APPROVE, ASSET, amount, us, friend, detail)
    assert fee.kind is EffectKind.FEE
    intent = transfer_intent(target, asset=ASSET, amount=max(1, amount))
    with refused(InvalidPayload):
        require_transfer(intent, found.effects)
    with refused(InvalidPayload):
        require_cancellation(intent.source, found.effects)


def test_cancellations_move_nothing(target: EthereumCodecTarget) -> None:
    """And read back as what they are; a transfer is none."""
    source = target.account(0).account
    unsigned = target.codec.build_cancellation(source, CHAIN, target.metadata)
    assert require_cancellation(source, unsigned.effects) == 21_000 * 30 * 10**9
    assert decoded(target, unsigned.payload, 1, 0).effects == unsigned.effects
    assert target.codec.excludes(unsigned.payload, built(target).payload, CHAIN)
    with refused(InvalidPayload):
        require_cancellation(source, built(target).effects)


def test_exclusion_is_one_nonce_of_one_account(target: EthereumCodecTarget) -> None:
    """Another nonce, another account, or a message excludes nothing."""
    payload = built(target).payload
    intent = transfer_intent(target, amount=2 * target.amount)
    assert target.codec.excludes(payload, target.codec.build(intent, target.metadata).payload, CHAIN)
    later = target.codec.build(intent, {**target.metadata, "nonce": "8"})
    other = target.codec.build(transfer_intent(target, source=target.account(2).account), target.metadata)
    message = target.codec.build_message(target.account(0).account, CHAIN, "x")
    for stranger in (later, other, message):
        assert not target.codec.excludes(payload, stranger.payload, CHAIN)
    with refused(InvalidPayload):
        target.codec.excludes(payload, b"", CHAIN)


def test_payloads_are_of_one_chain(target: EthereumCodecTarget) -> None:
    """Transfers, messages and permits of another chain are refused, also where the digest would be the same."""
    account = target.account(0).account
    for unsigned in (
        built(target),
        target.codec.build_message(account, CHAIN, "x"),
        target.codec.build_typed_data(account, CHAIN, target.document),
    ):
        with refused(InvalidPayload):
            target.codec.decode(unsigned.payload, target.other_chain, [account])


def test_the_signer_of_a_payload_is_part_of_it(target: EthereumCodecTarget) -> None:
    """A payload whose signer was exchanged is another account's to sign, and its effects say so."""
    parts = Payload.decode(built(target).payload)
    thief = target.account(2).account
    swapped = replace(parts, signer=bytes_of(thief.address)).encode()
    with refused(InvalidPayload):
        decoded(target, swapped, 0, 1)
    assert {effect.source for effect in decoded(target, swapped, 0, 2).effects} == {thief.address}
    assert decoded(target, swapped, 0, 2).requests[0].signer == thief.address


def test_what_a_fee_may_be(target: EthereumCodecTarget) -> None:
    """One whole coin at most, whatever the metadata says."""
    highest = str(10**18 // 21_000)
    assert target.codec.build(transfer_intent(target), {**target.metadata, "max_fee_per_gas": highest})
    with refused(FeeTooHigh):
        ruinous = {**target.metadata, "max_fee_per_gas": str(10**18 // 21_000 + 1)}
        target.codec.build(transfer_intent(target), ruinous)


def test_what_ethereum_does_not_know(target: EthereumCodecTarget) -> None:
    """A memo, a fee payer, a payment to oneself, to a token's contract, from keys that are none."""
    intent = transfer_intent(target)
    for wrong, kind in (
        (replace(intent, memo="x"), Unsupported),
        (replace(intent, fee_payer=target.account(2).account), Unsupported),
        (replace(intent, destination=intent.source.address), InvalidAddress),
        (replace(intent, asset=ASSET, destination=CHECKSUMMED), InvalidAddress),
        (replace(intent, asset=f"{CHAIN}/erc20:0x{'0' * 39}1"), InvalidAddress),
        (replace(intent, source=SignerAccount(intent.source.address, b"\x02" + b"\xff" * 32)), InvalidAddress),
        (replace(intent, source=SignerAccount(intent.source.address, b"\x04" * 65)), InvalidAddress),
    ):
        with refused(kind):
            target.codec.build(wrong, target.metadata)


@pytest.mark.parametrize(
    "chain",
    [
        "eip155:0",
        "eip155:01",
        "eip155:-1",
        "eip155:1 ",
        "eip155:0x1",
        "eip155:9" + "9" * 18,
        "EIP155:1",
        "ethereum:local",
    ],
)
def test_chains_have_one_name(chain: str) -> None:
    """Decimal, in range, in full."""
    with refused(Unsupported):
        chain_id_of(chain)


@pytest.mark.parametrize(
    "asset",
    [
        "/slip44:61",
        "/erc20:",
        "/erc20:0x12",
        f"/erc20:{TOKEN.hex()}",
        f"/erc20:0X{TOKEN.hex()}",
        "/erc721:0x" + TOKEN.hex(),
        f"/erc20:0x{TOKEN.hex()}/1",
    ],
)
def test_assets_have_one_form(asset: str) -> None:
    """Coins, or a contract's address."""
    with refused(UnsupportedAsset):
        parse_asset(CHAIN + asset, CHAIN)


def permit2(primary: str, owner_sees: dict[str, Any]) -> dict[str, Any]:
    """A document of Permit2."""
    structs = {
        "PermitSingle": {
            "PermitSingle": "PermitDetails details,address spender,uint256 sigDeadline",
            "PermitDetails": "address token,uint160 amount,uint48 expiration,uint48 nonce",
        },
        "PermitTransferFrom": {
            "PermitTransferFrom": "TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline",
            "TokenPermissions": "address token,uint256 amount",
        },
    }[primary]
    domain = "string name,uint256 chainId,address verifyingContract"
    return {
        "types": {
            name: [dict(zip(("type", "name"), field.split(), strict=True)) for field in text.split(",")]
            for name, text in {"EIP712Domain": domain, **structs}.items()
        },
        "primaryType": primary,
        "domain": {"name": "Permit2", "chainId": CHAIN_ID, "verifyingContract": PERMIT2},
        "message": owner_sees,
    }


def documents(us: str, friend: str) -> dict[str, tuple[dict[str, Any], int]]:
    """Documents with a name, and the amount that each allows."""
    dai = permit(us, friend)
    dai["types"]["Permit"] = [
        {"name": name, "type": kind}
        for name, kind in (
            ("holder", "address"), ("spender", "address"), ("nonce", "uint256"), ("expiry", "uint256"), ("allowed", "bool"),
        )
    ]  # fmt: skip
    dai["message"] = {"holder": us, "spender": friend, "nonce": 0, "expiry": 0, "allowed": True}
    details = {"token": CHECKSUMMED, "amount": 9, "expiration": 2**40, "nonce": 1}
    single = permit2("PermitSingle", {"details": details, "spender": friend, "sigDeadline": 2**33})
    once = {"permitted": {"token": CHECKSUMMED, "amount": 8}, "spender": friend, "nonce": 2**200, "deadline": 2**33}
    return {
        "ERC-2612": (permit(us, friend), 5),
        "DAI": (dai, 2**256 - 1),
        "Permit2": (single, 9),
        "Permit2 transfer": (permit2("PermitTransferFrom", once), 8),
    }


@pytest.mark.parametrize("kind", ["ERC-2612", "DAI", "Permit2", "Permit2 transfer"])
def test_permits_are_named(target: EthereumCodecTarget, kind: str) -> None:
    """Token, amount and spender are the effect; the spelling of the JSON does not matter, its content does."""
    account = target.account(0).account
    friend = target.account(1).account.address
    document, amount = documents(account.address, friend)[kind]
    unsigned = target.codec.build_typed_data(account, CHAIN, json.dumps(document, indent=1))
    (effect,) = unsigned.effects
    assert (effect.kind, effect.asset, effect.amount) == (EffectKind.PERMIT, ASSET, amount)
    assert (effect.source, effect.destination) == (account.address, friend)
    assert effect.detail.startswith(kind)
    assert decoded(target, unsigned.payload, 2, 0).effects == unsigned.effects
    again = target.codec.build_typed_data(account, CHAIN, Payload.decode(unsigned.payload).body.decode())
    assert again == unsigned


@pytest.mark.parametrize("kind", ["Permit2", "Permit2 transfer"])
def test_permit2_is_one_contract(target: EthereumCodecTarget, kind: str) -> None:
    """Under its own name and address: another contract could mean anything by the same words."""
    account = target.account(0).account
    for change in ({"verifyingContract": CHECKSUMMED}, {"name": "Permit3"}):
        document, _ = documents(account.address, target.account(1).account.address)[kind]
        document["domain"] |= change
        with refused(InvalidPayload):
            target.codec.build_typed_data(account, CHAIN, json.dumps(document))


def test_documents_without_a_name_are_refused_by_name(target: EthereumCodecTarget) -> None:
    """An order of an exchange is a structured document, too."""
    document = permit(target.account(0).account.address, target.account(1).account.address)
    document["types"]["Order"] = document["types"].pop("Permit")
    document["primaryType"] = "Order"
    with pytest.raises(InvalidPayload, match="Order has no name"):
        target.codec.build_typed_data(target.account(0).account, CHAIN, json.dumps(document))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[" * 8000,
        '{"a":' * 1500,
        '{"types":{},"primaryType":"","domain":{},"message":{}}',
        '{"types":1,"primaryType":"Permit","domain":{},"message":{}}',
        "1e400",
        "NaN",
        "9" * 5000,
        " " * 9000,
        "\ud800",
    ],
)
def test_what_is_no_document(target: EthereumCodecTarget, text: str) -> None:
    """Is refused as such, however deep or long."""
    with refused(InvalidPayload):
        target.codec.build_typed_data(target.account(0).account, CHAIN, text)


def changed(document: dict[str, Any], path: str, value: Any) -> str:
    copy = json.loads(json.dumps(document))
    *steps, last = path.split(".")
    place = copy
    for step in steps:
        place = place[int(step) if isinstance(place, list) else step]
    place[int(last) if isinstance(place, list) else last] = value
    return json.dumps(copy)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("message.value", -1),
        ("message.value", 2**256),
        ("message.value", 1.0),
        ("message.value", True),
        ("message.value", None),
        ("message.value", "1e3"),
        ("message.value", "00"),
        ("message.value", "0x"),
        ("message.spender", "0x12"),
        ("message.spender", 5),
        ("message.extra", 1),
        ("message", []),
        ("domain.chainId", 1),
        ("domain.chainId", "0x1"),
        ("domain.name", "a\u202eb"),
        ("domain.name", ""),
        ("domain.salt", "0x" + "00" * 32),
        ("domain.verifyingContract", "Token"),
        ("types.Permit.0.type", "address payable"),
        ("types.Permit.0.type", "Permit[]"),
        ("types.Permit.0.name", "spender"),
        ("types.Permit.0.name", "own er"),
        ("types.Permit.0", {"name": "owner"}),
        ("types.Permit", {}),
        ("types.uint256", []),
        ("types.Unused", [{"name": "a", "type": "bool"}]),
        ("types.EIP712Domain", []),
        ("types.EIP712Domain.0.name", "title"),
        ("primaryType", "EIP712Domain"),
        ("primaryType", "Missing"),
        ("primaryType", 7),
        ("more", 1),
    ],
)
def test_wrong_documents_are_refused(target: EthereumCodecTarget, path: str, value: Any) -> None:
    """One wrong thing at a time."""
    us, friend = (target.account(index).account.address for index in (0, 1))
    with refused(InvalidPayload, what=path):
        target.codec.build_typed_data(target.account(0).account, CHAIN, changed(permit(us, friend), path, value))


def test_kinds_are_told_apart_by_their_first_byte() -> None:
    """No payload can be read as two."""
    assert len({kind.value for kind in Kind}) == len(Kind)
    assert {len(kind.value) for kind in Kind} == {1}


def test_assets_have_one_spelling(target: EthereumCodecTarget) -> None:
    """The one that effects and policies use; another chain's, or none, is refused."""
    for spelled in (ASSET, f"{CHAIN}/erc20:{CHECKSUMMED}"):
        assert target.codec.canonical_asset(spelled, CHAIN) == ASSET
    assert target.codec.canonical_asset(target.asset, CHAIN) == target.asset
    for wrong in (
        "eip155:1/slip44:60",
        f"{CHAIN}/slip44:0",
        f"{CHAIN}/erc20:0x12",
        f"{CHAIN}/erc721:{CHECKSUMMED}",
        "",
    ):
        with refused(UnsupportedAsset):
            target.codec.canonical_asset(wrong, CHAIN)
