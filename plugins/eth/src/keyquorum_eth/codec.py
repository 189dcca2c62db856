"""The pure codec: what a payload does, its bytes, and its signatures. It imports nothing that does input or output.

What binds a payload to its chain: a transaction and a permit carry the chain id inside of what is signed. A message carries
it beside (:mod:`.payloads`): a signed text is valid wherever somebody accepts it, and moves nothing anywhere.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from eth_utils.crypto import keccak

from keyquorum_eth.addresses import address_of, checksummed, parse_destination
from keyquorum_eth.erc20 import Function, TokenCall
from keyquorum_eth.limits import U256_MAX
from keyquorum_eth.meaning import meaning_of, meaning_of_transaction, refused_as_payload
from keyquorum_eth.messages import encode_text
from keyquorum_eth.network import chain_id_of, native_asset, parse_asset, token_asset
from keyquorum_eth.payloads import Kind, Payload
from keyquorum_eth.transactions import Call, DynamicFeeTransaction, recover
from keyquorum_eth.typed_data import parse_document, write_document
from keyquorum_plugin_api.codec import (
    Codec,
    Decoded,
    Effect,
    SignedTransaction,
    SignerAccount,
    SigningRequest,
    TransferIntent,
    UnsignedTransaction,
)
from keyquorum_plugin_api.errors import (
    ChainError,
    InvalidAddress,
    InvalidAmount,
    InvalidPayload,
    SignatureInvalid,
    Unsupported,
)

NONCE = "nonce"
GAS_LIMIT = "gas_limit"
MAX_FEE_PER_GAS = "max_fee_per_gas"
MAX_PRIORITY_FEE_PER_GAS = "max_priority_fee_per_gas"
METADATA = frozenset({NONCE, GAS_LIMIT, MAX_FEE_PER_GAS, MAX_PRIORITY_FEE_PER_GAS})

_V_OFFSET = 27  # of the recovery id, in signatures that contracts and wallets take
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,77}")


class EthereumCodec(Codec):
    """Transfers of coins and ERC-20 tokens, cancellations, personal messages and permits of single-key accounts.

    ``build`` takes the metadata ``nonce``, ``gas_limit``, ``max_fee_per_gas`` and ``max_priority_fee_per_gas`` (wei) as decimal
    strings, all of them and nothing else.
    """

    name = "ethereum"
    namespace = "eip155"
    scheme = "ecdsa_secp256k1"
    payload_names_chain = True

    def derive_address(self, public_key: bytes, chain: str) -> str:
        """The EIP-55 address; the same on every chain."""
        chain_id_of(chain)
        return checksummed(address_of(public_key))

    def validate_address(self, address: str, chain: str) -> str:
        """The EIP-55 spelling of an address that may receive."""
        chain_id_of(chain)
        return checksummed(parse_destination(address))

    def canonical_asset(self, asset: str, chain: str) -> str:
        """A token's contract in lower case, whatever its spelling."""
        contract = parse_asset(asset, chain)
        return native_asset(chain) if contract is None else token_asset(chain, contract)

    def build(self, intent: TransferIntent, metadata: Mapping[str, str]) -> UnsignedTransaction:
        """A transfer of coins, or a call of a token's ``transfer``; see :mod:`.meaning`."""
        return self._transaction(intent.source, intent.chain, call_of(intent), metadata)

    def build_cancellation(self, source: SignerAccount, chain: str, metadata: Mapping[str, str]) -> UnsignedTransaction:
        """Nothing, from ``source`` to itself: it uses up the nonce, so that no other payload with it can be included."""
        return self._transaction(source, chain, Call(address_of(source.public_key), 0), metadata)

    def build_message(self, account: SignerAccount, chain: str, message: str) -> UnsignedTransaction:
        """A personal message (EIP-191)."""
        return self._unsigned(Kind.MESSAGE, account, chain, encode_text(message))

    def build_typed_data(self, account: SignerAccount, chain: str, document: str) -> UnsignedTransaction:
        """A permit (EIP-712); see :mod:`.permits` for those that have a name."""
        return self._unsigned(Kind.DOCUMENT, account, chain, write_document(parse_document(document)))

    def decode(self, payload: bytes, chain: str, accounts: Sequence[SignerAccount]) -> Decoded:
        """What the payload does; :class:`InvalidPayload` unless writing its parts again gives the same bytes, and one of
        ``accounts`` signs it."""
        parts, digest, effects = _read(bytes(payload), chain)
        for account in accounts:
            if account.address == checksummed(parts.signer) and address_of(account.public_key) == parts.signer:
                return Decoded((_request(digest, account),), effects)
        raise InvalidPayload("the payload is to be signed by an account that is not the key's own")

    def excludes(self, payload: bytes, other: bytes, chain: str) -> bool:
        """Whether both are transactions of one account with one nonce."""
        found = [_read(each, chain)[0] for each in (payload, other)]
        if any(parts.kind is not Kind.TRANSACTION for parts in found) or found[0].signer != found[1].signer:
            return False
        nonces = {DynamicFeeTransaction.decode(parts.body).nonce for parts in found}
        return len(nonces) == 1

    def combine(self, unsigned: UnsignedTransaction, signatures: Sequence[bytes]) -> SignedTransaction:
        """The signed serialization and its hash; of a message or permit, r ‖ s ‖ v with v 27 or 28, named by itself.

        The sender is recovered from the signature and compared: a wrong recovery id would make it somebody else's.
        """
        parts, digest, effects = _read(unsigned.payload, unsigned.chain)
        signer = checksummed(parts.signer)
        paths = [request.path for request in unsigned.requests]
        wanted = tuple(SigningRequest(self.scheme, digest, signer, path) for path in paths[:1])
        if not wanted or wanted != unsigned.requests or effects != unsigned.effects:
            raise InvalidPayload("the payload does not do what the unsigned transaction says")
        if len(signatures) != 1:
            raise SignatureInvalid("one signature is wanted")
        signature = bytes(signatures[0])
        if recover(digest, signature) != parts.signer:
            raise SignatureInvalid(f"the signature is not that of {signer}")
        if parts.kind is not Kind.TRANSACTION:
            raw = signature[:64] + bytes([signature[64] + _V_OFFSET])
            return SignedTransaction(unsigned.chain, raw, f"0x{raw.hex()}")
        raw = DynamicFeeTransaction.decode(parts.body).signed(signature)
        return SignedTransaction(unsigned.chain, raw, transaction_id(raw))

    def _transaction(
        self, source: SignerAccount, chain: str, call: Call, metadata: Mapping[str, str]
    ) -> UnsignedTransaction:
        if metadata.keys() != METADATA:
            raise InvalidPayload(f"metadata is {', '.join(sorted(METADATA))}")
        signer = _own_address(source)
        transaction = DynamicFeeTransaction(
            chain_id=chain_id_of(chain),
            nonce=_number(metadata, NONCE),
            max_priority_fee_per_gas=_number(metadata, MAX_PRIORITY_FEE_PER_GAS),
            max_fee_per_gas=_number(metadata, MAX_FEE_PER_GAS),
            gas_limit=_number(metadata, GAS_LIMIT),
            to=call.to,
            value=call.value,
            data=call.data,
        )
        digest, effects = meaning_of_transaction(transaction, signer, chain)
        payload = Payload(Kind.TRANSACTION, transaction.chain_id, signer, transaction.encode()).encode()
        return UnsignedTransaction(chain, payload, (_request(digest, source),), effects)

    def _unsigned(self, kind: Kind, account: SignerAccount, chain: str, body: bytes) -> UnsignedTransaction:
        payload = Payload(kind, chain_id_of(chain), _own_address(account), body)
        digest, effects = meaning_of(payload, chain)
        return UnsignedTransaction(chain, payload.encode(), (_request(digest, account),), effects)


def call_of(intent: TransferIntent) -> Call:
    """What a transfer does; refuses what needs no node to be refused."""
    contract = parse_asset(intent.asset, intent.chain)
    if intent.memo:
        raise Unsupported("a transfer on Ethereum carries no memo")
    if intent.fee_payer is not None:
        raise Unsupported("on Ethereum the source pays the fee")
    if type(intent.amount) is not int or not 0 < intent.amount <= U256_MAX:
        raise InvalidAmount("an amount is between 1 and 2^256 - 1 minor units")
    destination = parse_destination(intent.destination)
    if contract is None:
        return Call(destination, intent.amount)
    return Call(contract, 0, TokenCall(Function.TRANSFER, destination, intent.amount).encode())


def transaction_of(unsigned: UnsignedTransaction) -> tuple[DynamicFeeTransaction, bytes]:
    """Transaction and signer of a payload that is one; :class:`InvalidPayload` otherwise."""
    parts, _, _ = _read(unsigned.payload, unsigned.chain)
    if parts.kind is not Kind.TRANSACTION:
        raise InvalidPayload("the payload is no transaction")
    return DynamicFeeTransaction.decode(parts.body), parts.signer


def transaction_id(raw: bytes) -> str:
    """The hash by which the network knows a signed transaction."""
    return f"0x{keccak(raw).hex()}"


@lru_cache(maxsize=256)  # approving, signing and combining read the same payload one after the other
def _read(payload: bytes, chain: str) -> tuple[Payload, bytes, tuple[Effect, ...]]:
    chain_id_of(chain)
    try:
        parts = Payload.decode(payload)
        digest, effects = meaning_of(parts, chain)
    except ChainError as error:
        raise refused_as_payload(error) from None
    return parts, digest, effects


def _own_address(account: SignerAccount) -> bytes:
    address = address_of(account.public_key)
    if checksummed(address) != account.address:
        raise InvalidAddress("the account's address is not that of its public key")
    return address


def _request(digest: bytes, account: SignerAccount) -> SigningRequest:
    return SigningRequest(EthereumCodec.scheme, digest, account.address, account.path)


def _number(metadata: Mapping[str, str], key: str) -> int:
    text = metadata[key]
    if not _DECIMAL.fullmatch(text):
        raise InvalidPayload(f"{key} is not a decimal number")
    return int(text)
