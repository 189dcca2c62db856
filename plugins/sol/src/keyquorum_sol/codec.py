"""The pure codec: what a payload does, its bytes, and its signatures. It imports nothing that does input or output.

What binds a payload to its cluster: a message names no chain. It names a recent blockhash, which only one cluster knows,
and only for 150 blocks. The codec is given the chain and writes it into assets, but cannot tell whose the blockhash is;
an intent that says "devnet" with a mainnet blockhash would move mainnet coins. So the chain is only as good as whoever
chose the blockhash, and a key must not sign for two clusters (``payload_names_chain``).
"""

import re
from collections.abc import Mapping, Sequence

from solders.hash import Hash
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from keyquorum_plugin_api.codec import (
    Codec,
    Decoded,
    Effect,
    EffectKind,
    SignedTransaction,
    SignerAccount,
    SigningRequest,
    TransferIntent,
    UnsignedTransaction,
)
from keyquorum_plugin_api.errors import InvalidAddress, InvalidPayload, SignatureInvalid
from keyquorum_sol.addresses import address_of, parse_destination
from keyquorum_sol.limits import SIGNATURE_BYTES, U64_MAX
from keyquorum_sol.messages import decode_message, encode_message, envelope, is_message
from keyquorum_sol.network import native_asset, require_chain, require_native
from keyquorum_sol.panics import containing_panics
from keyquorum_sol.transfers import Transfer

BLOCKHASH = "blockhash"
LAST_VALID_BLOCK_HEIGHT = "last_valid_block_height"
COMPUTE_UNIT_LIMIT = "compute_unit_limit"
COMPUTE_UNIT_PRICE = "compute_unit_price"
METADATA = frozenset({BLOCKHASH, LAST_VALID_BLOCK_HEIGHT, COMPUTE_UNIT_LIMIT, COMPUTE_UNIT_PRICE})

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,19}")


class SolanaCodec(Codec):
    """Native transfers and off-chain messages of single-key accounts.

    ``build`` takes the metadata ``blockhash`` (base58) and the decimal strings ``last_valid_block_height``,
    ``compute_unit_limit`` and ``compute_unit_price`` (micro-lamports per unit), all of them and nothing else.
    """

    name = "solana"
    namespace = "solana"
    scheme = "eddsa_ed25519"
    payload_names_chain = False

    def derive_address(self, public_key: bytes, chain: str) -> str:
        """The public key in base58; the same on every cluster."""
        require_chain(chain)
        return address_of(public_key)

    def validate_address(self, address: str, chain: str) -> str:
        """An address that coins may be sent to: 32 bytes in base58, on the curve or not, and not the network's own."""
        require_chain(chain)
        return str(parse_destination(address))

    def build(self, intent: TransferIntent, metadata: Mapping[str, str]) -> UnsignedTransaction:
        """A v0 message with compute budget, transfer and memo; see :mod:`.transfers`."""
        require_native(intent.asset, intent.chain)
        if metadata.keys() != METADATA:
            raise InvalidPayload(f"metadata is {', '.join(sorted(METADATA))}")
        made = Transfer(
            source=_own_key(intent.source),
            destination=parse_destination(intent.destination),
            lamports=intent.amount,
            blockhash=_blockhash(metadata[BLOCKHASH]),
            compute_unit_limit=_number(metadata, COMPUTE_UNIT_LIMIT),
            compute_unit_price=_number(metadata, COMPUTE_UNIT_PRICE),
            memo=intent.memo,
        )
        payload = made.encode()
        return UnsignedTransaction(
            chain=intent.chain,
            payload=payload,
            requests=(_request(payload, intent.source),),
            effects=_transfer_effects(made, intent.chain),
            expires={LAST_VALID_BLOCK_HEIGHT: _number(metadata, LAST_VALID_BLOCK_HEIGHT)},
        )

    def build_message(self, account: SignerAccount, chain: str, message: str) -> UnsignedTransaction:
        """An off-chain message; see :mod:`.messages`."""
        require_chain(chain)
        payload = encode_message(bytes(_own_key(account)), message)
        return UnsignedTransaction(
            chain=chain,
            payload=payload,
            requests=(_request(payload, account),),
            effects=_message_effects(account.address, message),
        )

    def decode(self, payload: bytes, chain: str, accounts: Sequence[SignerAccount]) -> Decoded:
        """What the payload does; :class:`InvalidPayload` unless ``build`` or ``build_message`` makes the same bytes for
        one of ``accounts``."""
        require_chain(chain)
        if is_message(payload):
            signer, text = decode_message(payload)
            account = _owner(Pubkey.from_bytes(signer), accounts)
            return Decoded((_request(payload, account),), _message_effects(account.address, text))
        found = Transfer.decode(payload)
        account = _owner(found.source, accounts)
        return Decoded((_request(payload, account),), _transfer_effects(found, chain))

    def combine(self, unsigned: UnsignedTransaction, signatures: Sequence[bytes]) -> SignedTransaction:
        """The transaction, or the envelope of an off-chain message; its id is the signature in base58."""
        signers = [SignerAccount(r.signer, _key_bytes(r.signer), r.path) for r in unsigned.requests]
        decoded = self.decode(unsigned.payload, unsigned.chain, signers)
        if (decoded.requests, decoded.effects) != (unsigned.requests, unsigned.effects):
            raise InvalidPayload("the payload does not do what the unsigned transaction says")
        if len(signatures) != 1 or len(signatures[0]) != SIGNATURE_BYTES:
            raise SignatureInvalid("one signature of 64 bytes is wanted")
        signature = Signature.from_bytes(bytes(signatures[0]))
        if not signature.verify(Pubkey.from_bytes(signers[0].public_key), unsigned.payload):
            raise SignatureInvalid(f"the signature does not verify under {unsigned.requests[0].signer}")
        if is_message(unsigned.payload):
            return SignedTransaction(unsigned.chain, envelope(bytes(signature), unsigned.payload), str(signature))
        transaction = VersionedTransaction.populate(Transfer.decode(unsigned.payload).message(), [signature])
        if not all(transaction.verify_with_results()):
            raise SignatureInvalid("the transaction does not verify")
        return SignedTransaction(unsigned.chain, bytes(transaction), str(signature))


def _own_key(account: SignerAccount) -> Pubkey:
    if address_of(account.public_key) != account.address:
        raise InvalidAddress("the account's address is not that of its public key")
    return Pubkey.from_bytes(account.public_key)


def _owner(signer: Pubkey, accounts: Sequence[SignerAccount]) -> SignerAccount:
    for account in accounts:
        if account.address == str(signer) and account.public_key == bytes(signer):
            return account
    raise InvalidPayload("the payload is to be signed by an account that is not the key's own")


def _key_bytes(address: str) -> bytes:
    with containing_panics(InvalidPayload("a signer is not an address")):
        return bytes(Pubkey.from_string(address))


def _request(payload: bytes, account: SignerAccount) -> SigningRequest:
    return SigningRequest(SolanaCodec.scheme, payload, account.address, account.path)


def _transfer_effects(found: Transfer, chain: str) -> tuple[Effect, ...]:
    asset, source = native_asset(chain), str(found.source)
    return (
        Effect(EffectKind.TRANSFER, asset, found.lamports, source, str(found.destination), found.memo),
        Effect(EffectKind.FEE, asset, found.fee, source),
    )


def _message_effects(address: str, text: str) -> tuple[Effect, ...]:
    return (Effect(EffectKind.MESSAGE, source=address, detail=text),)


def _number(metadata: Mapping[str, str], key: str) -> int:
    text = metadata[key]
    if not _DECIMAL.fullmatch(text) or (number := int(text)) > U64_MAX:
        raise InvalidPayload(f"{key} is not a decimal u64")
    return number


def _blockhash(text: str) -> Hash:
    refusal = InvalidPayload("blockhash is not 32 bytes in base58")
    with containing_panics(refusal):
        blockhash = Hash.from_string(text)
        if blockhash == Hash.default():  # what tools fill in before they know one
            raise refusal
        return blockhash
