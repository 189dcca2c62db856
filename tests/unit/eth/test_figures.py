"""Published figures, and agreement with eth-account, which shares no code with the codec."""

import json
import random
from collections.abc import Callable

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct, encode_typed_data
from eth_keys import keys
from eth_utils.crypto import keccak

from keyquorum_eth import permits
from keyquorum_eth.addresses import address_of, checksummed, parse_address
from keyquorum_eth.codec import transaction_id
from keyquorum_eth.eip712 import DOMAIN, encode_type, hash_struct
from keyquorum_eth.transactions import DynamicFeeTransaction, recover
from keyquorum_eth.typed_data import parse_document, write_document
from keyquorum_plugin_api.errors import InvalidPayload, SignatureInvalid
from keyquorum_plugin_api.testing import refused
from keyquorum_plugin_api.testing.codec_conformance import built, signatures_of, transfer_intent
from support.ethereum_target import EthereumCodecTarget
from support.vectors import load


@pytest.mark.parametrize("address", load("eth_addresses")["addresses"])
def test_checksummed_addresses(address: str) -> None:
    """EIP-55's own, and the same in one case; any other mixture of cases is a mistake."""
    found = parse_address(address)
    assert checksummed(found) == address
    digits = address[2:]
    assert parse_address("0x" + digits.lower()) == parse_address("0x" + digits.upper()) == found


def test_eip155_signature_is_its_senders() -> None:
    """The example's signature recovers its key's address; the legacy transaction itself is not taken."""
    vector = load("eth_eip155")
    key = keys.PrivateKey(bytes.fromhex(vector["private_key"]))
    digest = bytes.fromhex(vector["signing_hash"])
    assert keccak(bytes.fromhex(vector["signing_data"])) == digest
    signature = vector["r"].to_bytes(32, "big") + vector["s"].to_bytes(32, "big") + bytes([vector["v"] - 37])
    assert recover(digest, signature) == address_of(key.public_key.to_compressed_bytes())
    for decode in (DynamicFeeTransaction.decode, DynamicFeeTransaction.decode_signed):
        with refused(InvalidPayload):
            decode(bytes.fromhex(vector["signed"]))


def test_eip1559_transaction_of_a_public_network() -> None:
    """A transaction that was mined: the codec writes its bytes, finds its hash, and reads its sender."""
    vector = load("eth_eip1559")
    made = DynamicFeeTransaction(
        chain_id=vector["chain_id"],
        nonce=vector["nonce"],
        max_priority_fee_per_gas=vector["max_priority_fee_per_gas"],
        max_fee_per_gas=vector["max_fee_per_gas"],
        gas_limit=vector["gas_limit"],
        to=bytes.fromhex(vector["to"]),
        value=vector["value"],
    )
    raw = made.signed(bytes.fromhex(vector["r"] + vector["s"]) + bytes([vector["parity"]]))
    assert raw.hex() == vector["signed"]
    assert transaction_id(raw) == vector["txid"]
    key = keys.PrivateKey(bytes.fromhex(vector["private_key"]))
    assert DynamicFeeTransaction.decode_signed(raw) == (made, address_of(key.public_key.to_compressed_bytes()))


def test_eip712_example() -> None:
    """Type, domain, message, digest and signature of the standard's Mail."""
    vector = load("eth_eip712")
    document = parse_document(json.dumps(vector["document"]))
    assert encode_type(document.types, "Mail") == vector["encode_type"]
    assert hash_struct(document.types, DOMAIN, document.domain).hex() == vector["domain_separator"]
    assert hash_struct(document.types, "Mail", document.message).hex() == vector["message_hash"]
    assert document.digest().hex() == vector["digest"]
    assert parse_document(write_document(document).decode()) == document
    signature = bytes.fromhex(vector["r"] + vector["s"]) + bytes([vector["v"] - 27])
    assert checksummed(recover(document.digest(), signature)) == vector["signer"]


def test_permits_are_the_ones_that_contracts_take() -> None:
    """Each type hash is a constant of a deployed contract."""
    found = {
        "UniswapV2ERC20.PERMIT_TYPEHASH": encode_type({"Permit": permits._ERC2612}, "Permit"),
        "Dai.PERMIT_TYPEHASH": encode_type({"Permit": permits._DAI}, "Permit"),
        "PermitHash._PERMIT_SINGLE_TYPEHASH": encode_type(permits._PERMIT_SINGLE, "PermitSingle"),
        "PermitHash._PERMIT_TRANSFER_FROM_TYPEHASH": encode_type(permits._PERMIT_TRANSFER, "PermitTransferFrom"),
    }
    assert {name: keccak(text=text).hex() for name, text in found.items()} == load("eth_eip712")["type_hashes"]


def test_structured_documents_hash_like_eth_accounts() -> None:
    """Arrays, nested structs, every kind of value."""
    document = {
        "types": {
            "EIP712Domain": [{"name": "chainId", "type": "uint256"}, {"name": "salt", "type": "bytes32"}],
            "Leaf": [
                {"name": "a", "type": "int8"},
                {"name": "b", "type": "bytes4"},
                {"name": "c", "type": "bytes"},
                {"name": "d", "type": "bool"},
            ],
            "Tree": [
                {"name": "leaves", "type": "Leaf[]"},
                {"name": "pair", "type": "uint256[2]"},
                {"name": "grid", "type": "address[2][]"},
                {"name": "text", "type": "string"},
                {"name": "big", "type": "uint256"},
            ],
        },
        "primaryType": "Tree",
        "domain": {"chainId": 5, "salt": "0x" + "07" * 32},
        "message": {
            "leaves": [
                {"a": -128, "b": "0x01020304", "c": "0x", "d": True},
                {"a": 127, "b": "0xffffffff", "c": "0x" + "ee" * 40, "d": False},
            ],
            "pair": [1, 2**256 - 1],
            "grid": [["0x" + "11" * 20, "0x" + "22" * 20]],
            "text": "Grüße, 世界",
            "big": 2**255,
        },
    }
    wanted = encode_typed_data(full_message=document)
    assert parse_document(json.dumps(document)).digest() == keccak(b"\x19\x01" + wanted.header + wanted.body)


def test_transactions_are_eth_accounts_to_the_bit() -> None:
    """Signed by eth-account and by the codec: the same bytes, the same hash, the same sender."""
    chance = random.Random(20250101)
    key = keys.PrivateKey(chance.randbytes(32))
    account = Account.from_key(key.to_bytes())
    for _ in range(50):
        made = DynamicFeeTransaction(
            chain_id=chance.choice((1, 31337, 2**40)),
            nonce=chance.choice((0, 1, 127, 128, 2**32, 2**64 - 2)),
            max_priority_fee_per_gas=chance.randrange(2),
            max_fee_per_gas=chance.randrange(2, 10**11),
            gas_limit=chance.randrange(21_000, 10**6),
            to=chance.randbytes(20),
            value=chance.choice((0, 1, 10**18, 2**255)),
            data=chance.randbytes(chance.choice((0, 1, 55, 56, 68, 300))),
        )
        theirs = account.sign_transaction(
            {
                "type": 2,
                "chainId": made.chain_id,
                "nonce": made.nonce,
                "maxPriorityFeePerGas": made.max_priority_fee_per_gas,
                "maxFeePerGas": made.max_fee_per_gas,
                "gas": made.gas_limit,
                "to": checksummed(made.to),
                "value": made.value,
                "data": made.data,
            }
        )
        signature = key.sign_msg_hash(made.digest()).to_bytes()
        assert made.signed(signature) == bytes(theirs.raw_transaction)
        assert DynamicFeeTransaction.decode_signed(made.signed(signature)) == (made, parse_address(account.address))
        assert DynamicFeeTransaction.decode(made.encode()) == made


def test_messages_are_verified_by_eth_account(target: EthereumCodecTarget) -> None:
    """What is signed for a text, and for a permit, recovers the account elsewhere."""
    account = target.account(0).account
    for text in ("x", "I own this account.\n2025-01-01", "Grüße, 世界"):
        unsigned = target.codec.build_message(account, target.chain, text)
        raw = target.codec.combine(unsigned, signatures_of(target, unsigned)).raw
        assert Account.recover_message(encode_defunct(text=text), signature=raw) == account.address
    unsigned = target.codec.build_typed_data(account, target.chain, target.document)
    raw = target.codec.combine(unsigned, signatures_of(target, unsigned)).raw
    document = encode_typed_data(full_message=json.loads(target.document))
    assert Account.recover_message(document, signature=raw) == account.address


def test_transfers_are_verified_by_eth_account(target: EthereumCodecTarget) -> None:
    """The signed bytes are the sender's, and the hash is theirs."""
    unsigned = built(target)
    signed = target.codec.combine(unsigned, signatures_of(target, unsigned))
    assert Account.recover_transaction(signed.raw) == transfer_intent(target).source.address
    assert signed.txid == "0x" + keccak(signed.raw).hex()


ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
Spoil = Callable[[bytes], bytes]
SPOILT: dict[str, Spoil] = {
    "high s": lambda s: s[:32] + (ORDER - int.from_bytes(s[32:64], "big")).to_bytes(32, "big") + bytes([s[64] ^ 1]),
    "other parity": lambda s: s[:64] + bytes([s[64] ^ 1]),
    "recovery id 2": lambda s: s[:64] + bytes([s[64] + 2]),
    "v instead of a recovery id": lambda s: s[:64] + bytes([s[64] + 27]),
    "without recovery id": lambda s: s[:64],
    "r of zero": lambda s: bytes(32) + s[32:],
    "r of the order": lambda s: ORDER.to_bytes(32, "big") + s[32:],
    "r beyond the field": lambda s: b"\xff" * 32 + s[32:],
    "s of zero": lambda s: s[:32] + bytes(32) + s[64:],
}


@pytest.mark.parametrize("name", SPOILT)
def test_signatures_that_ethereum_would_take_otherwise_are_refused(target: EthereumCodecTarget, name: str) -> None:
    """Malleable, ambiguous or somebody else's: of transfers and of messages."""
    messages = target.codec.build_message(target.account(0).account, target.chain, "x")
    for unsigned in (built(target), messages):
        (good,) = signatures_of(target, unsigned)
        with refused(SignatureInvalid, what=name):
            target.codec.combine(unsigned, [SPOILT[name](good)])
