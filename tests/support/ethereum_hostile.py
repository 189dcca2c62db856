"""Ethereum payloads that a party must refuse to sign: each differs from an honest one in one way."""

import json
from collections.abc import Callable
from typing import Any

import rlp
from web3 import Web3

from keyquorum_eth.payloads import Kind, Payload
from support.anvil import CHAIN_ID

TOKEN = bytes.fromhex("5b38da6a701c568545dcfcb03fcb875f56beddc4")
GWEI = 10**9
PERMIT2 = "0x000000000022D473030F116dDEE9F6B43aC78BA3"
OTHER_SPELLINGS = frozenset({"permit with spaces", "permit with a number"})  # of honest documents; no payload has them


def bytes_of(address: str) -> bytes:
    return bytes.fromhex(address[2:])


def fields(to: bytes | str, value: int = 10**15, data: bytes = b"", **changes: Any) -> list[Any]:
    """An honest transaction's fields, in order."""
    honest = {
        "chain_id": CHAIN_ID,
        "nonce": 7,
        "priority": GWEI,
        "fee": 30 * GWEI,
        "gas": 60_000,
        "to": bytes_of(to) if isinstance(to, str) else to,
        "value": value,
        "data": data,
        "access_list": [],
    }
    return list({**honest, **changes}.values())


def transaction(signer: str, items: list[Any], *, prefix: bytes = b"\x02", chain_id: int = CHAIN_ID) -> bytes:
    """A payload of any list of fields."""
    body = prefix + rlp.encode([_plain(item) for item in items])
    return Payload(Kind.TRANSACTION, chain_id, bytes_of(signer), body).encode()


def _plain(item: Any) -> Any:
    return item.to_bytes((item.bit_length() + 7) // 8, "big") if isinstance(item, int) else item


def token_data(signature: str, *words: bytes | int) -> bytes:
    """ABI by hand: a selector and words."""
    selector = bytes(Web3.keccak(text=signature)[:4])
    return selector + b"".join(
        word.to_bytes(32, "big") if isinstance(word, int) else word.rjust(32, b"\x00") for word in words
    )


def hostile_transactions(us: str, friend: str) -> dict[str, bytes]:
    """Whatever else a node would execute, or might be taken for a transfer."""
    to = bytes_of(friend)
    transfer = token_data("transfer(address,uint256)", to, 5)
    made: dict[str, Callable[[], list[Any]]] = {
        "contract creation": lambda: fields(b"", 0, b"\x60\x00"),
        "creation without code": lambda: fields(b""),
        "to of 19 bytes": lambda: fields(to[:-1]),
        "to of 21 bytes": lambda: fields(to + b"\x00"),
        "access list": lambda: fields(to, access_list=[[TOKEN, [bytes(32)]]]),
        "access list as bytes": lambda: fields(to, access_list=b""),
        "coins with data": lambda: fields(to, data=b"hello"),
        "coins with one zero byte": lambda: fields(to, data=b"\x00"),
        "transfer of nothing": lambda: fields(to, 0),
        "coins to ourselves": lambda: fields(us),
        "coins to nobody": lambda: fields(bytes(20)),
        "coins to a precompile": lambda: fields(bytes(19) + b"\x04"),
        "other chain": lambda: fields(to, chain_id=1),
        "no chain": lambda: fields(to, chain_id=0),
        "padded nonce": lambda: fields(to, nonce=b"\x00\x07"),
        "padded value": lambda: fields(to, value=b"\x00\x01"),
        "value of 33 bytes": lambda: fields(to, value=b"\x01" + bytes(32)),
        "nonce out of range": lambda: fields(to, nonce=2**64 - 1),
        "priority above the fee": lambda: fields(to, priority=31 * GWEI),
        "ruinous fee": lambda: fields(to, fee=10**15),
        "too little gas": lambda: fields(to, gas=20_999),
        "too much gas": lambda: fields(to, gas=2**24 + 1),
        "value and fee beyond 256 bits": lambda: fields(to, 2**256 - 1),
        "one field more": lambda: [*fields(to), b""],
        "one field less": lambda: fields(to)[:-1],
        "signed already": lambda: [*fields(to), 0, 1, 1],
        "blob fields": lambda: [*fields(to), 1, [bytes(32)]],
        "token transfer with coins": lambda: fields(TOKEN, 1, transfer),
        "token transfer cut": lambda: fields(TOKEN, 0, transfer[:-1]),
        "token transfer with a tail": lambda: fields(TOKEN, 0, transfer + b"\x00"),
        "token transfer with dirty padding": lambda: fields(TOKEN, 0, transfer[:4] + b"\x01" + transfer[5:]),
        "token transfer of nothing": lambda: fields(TOKEN, 0, token_data("transfer(address,uint256)", to, 0)),
        "token transfer to its contract": lambda: fields(TOKEN, 0, token_data("transfer(address,uint256)", TOKEN, 1)),
        "token transfer to ourselves": lambda: fields(
            TOKEN, 0, token_data("transfer(address,uint256)", bytes_of(us), 1)
        ),
        "token transfer to nobody": lambda: fields(TOKEN, 0, token_data("transfer(address,uint256)", bytes(20), 1)),
        "token at a precompile": lambda: fields(bytes(19) + b"\x01", 0, transfer),
        "token at our own address": lambda: fields(us, 0, transfer),
        "transferFrom": lambda: fields(
            TOKEN, 0, token_data("transferFrom(address,address,uint256)", bytes_of(us), to, 1)
        ),
        "setApprovalForAll": lambda: fields(TOKEN, 0, token_data("setApprovalForAll(address,bool)", to, 1)),
        "permit on chain": lambda: fields(
            TOKEN,
            0,
            token_data(
                "permit(address,address,uint256,uint256,uint8,bytes32,bytes32)", bytes_of(us), to, 1, 2**40, 27, 1, 1
            ),
        ),
        "multicall": lambda: fields(TOKEN, 0, token_data("multicall(bytes[])", 32, 0)),
        "transferAndCall": lambda: fields(TOKEN, 0, token_data("transferAndCall(address,uint256,bytes)", to, 1, 96, 0)),
        "selector alone": lambda: fields(TOKEN, 0, transfer[:4]),
        "part of a selector": lambda: fields(TOKEN, 0, transfer[:3]),
    }
    return {name: transaction(us, items()) for name, items in made.items()} | {
        "legacy transaction": transaction(us, fields(to)[:6], prefix=b""),
        "access list transaction": transaction(us, fields(to), prefix=b"\x01"),
        "blob transaction": transaction(us, fields(to), prefix=b"\x03"),
        "set code transaction": transaction(us, [*fields(to), []], prefix=b"\x04"),
        "no transaction": transaction(us, []),
        "nested lists": Payload(Kind.TRANSACTION, CHAIN_ID, bytes_of(us), b"\x02" + b"\xc1" * 200 + b"\xc0").encode(),
        "another chain outside": transaction(us, fields(to), chain_id=1),
        "another chain on both sides": transaction(us, fields(to, chain_id=1), chain_id=1),
    }


def permit(owner: str, spender: str, **message: Any) -> dict[str, Any]:
    """An honest ERC-2612 permit of the test chain."""
    names = ("owner", "spender", "value", "nonce", "deadline")
    kinds = ("address", "address", "uint256", "uint256", "uint256")
    return {
        "types": {
            "EIP712Domain": [
                {"name": "name", "type": "string"},
                {"name": "version", "type": "string"},
                {"name": "chainId", "type": "uint256"},
                {"name": "verifyingContract", "type": "address"},
            ],
            "Permit": [{"name": name, "type": kind} for name, kind in zip(names, kinds, strict=True)],
        },
        "primaryType": "Permit",
        "domain": {
            "name": "Token",
            "version": "1",
            "chainId": CHAIN_ID,
            "verifyingContract": Web3.to_checksum_address(TOKEN),
        },
        "message": {"owner": owner, "spender": spender, "value": 5, "nonce": 0, "deadline": 2_000_000_000, **message},
    }


def canonical(document: dict[str, Any]) -> bytes:
    """JSON as payloads have it, if the values are spelled that way already."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def hostile_documents(us: str, friend: str) -> dict[str, bytes]:
    """Documents that allow something else than they seem to, or that nobody can name."""
    honest = json.loads(json.dumps(permit(us, friend)), parse_int=str)

    def changed(path: str, value: Any) -> bytes:
        document = json.loads(json.dumps(honest))
        *steps, last = path.split(".")
        place = document
        for step in steps:
            place = place[int(step) if isinstance(place, list) else step]
        place[int(last) if isinstance(place, list) else last] = value
        return canonical(document)

    bodies = {
        "permit of another chain": changed("domain.chainId", "1"),
        "permit of every chain": canonical(
            {
                **honest,
                "types": {**honest["types"], "EIP712Domain": honest["types"]["EIP712Domain"][:2]},
                "domain": {"name": "Token", "version": "1"},
            }
        ),
        "permit of another owner": changed("message.owner", friend),
        "permit with a field more": changed("message.memo", "x"),
        "permit with spaces": canonical(honest).replace(b":", b": "),
        "permit with a number": canonical(honest).replace(b'"31337"', b"31337"),
        "permit with a key twice": canonical(honest).replace(b'"domain":', b'"domain":{},"domain":'),
        "permit of a renamed type": canonical(json.loads(json.dumps(honest).replace("Permit", "Login"))),
        "permit with another field type": changed("types.Permit.2.type", "uint128"),
        "permit for Permit2 of another contract": changed("primaryType", "PermitSingle"),
        "document of nothing": b"{}",
        "no document": b"nonsense",
    }
    return {name: Payload(Kind.DOCUMENT, CHAIN_ID, bytes_of(us), body).encode() for name, body in bodies.items()}


def hostile_payloads(us: str, friend: str) -> dict[str, bytes]:
    """All of them, and what is no payload at all."""
    signer = bytes_of(us)
    chain = CHAIN_ID.to_bytes(8, "big")
    return {
        **hostile_transactions(us, friend),
        **hostile_documents(us, friend),
        "message of another chain": Payload(Kind.MESSAGE, 1, signer, b"hello").encode(),
        "message that is empty": Payload(Kind.MESSAGE, CHAIN_ID, signer, b"").encode(),
        "message that hides": Payload(Kind.MESSAGE, CHAIN_ID, signer, "a\u202eb".encode()).encode(),
        "message that is not text": Payload(Kind.MESSAGE, CHAIN_ID, signer, b"\xff\xfe").encode(),
        "message that is too long": Payload(Kind.MESSAGE, CHAIN_ID, signer, b"x" * 4097).encode(),
        "unknown kind": b"\x19" + chain + signer + b"hello",
        "no body": b"\x45" + chain + signer,
        "bare transaction": b"\x02" + rlp.encode([_plain(item) for item in fields(friend)]),
    }
