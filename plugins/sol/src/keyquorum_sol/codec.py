"""The pure codec: what a payload does, its bytes, and its signatures. It imports nothing that does input or output.

What binds a payload to its cluster: a message names no chain. It names a recent blockhash, which only one cluster knows,
and only for 150 blocks, or the value of a nonce account, which only one cluster has stored. The codec is given the chain
and writes it into assets, but cannot tell whose the blockhash is; an intent that says "devnet" with a mainnet blockhash would move mainnet coins. So the chain is only as good as whoever
chose the blockhash, and a key must not sign for two clusters (``payload_names_chain``).
"""

from collections.abc import Mapping, Sequence

from solders.pubkey import Pubkey
from solders.signature import Signature

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
from keyquorum_sol.limits import SIGNATURE_BYTES
from keyquorum_sol.messages import decode_message, encode_message, envelope, is_message
from keyquorum_sol.metadata import (
    COMPUTE_UNIT_LIMIT,
    COMPUTE_UNIT_PRICE,
    LAST_VALID_BLOCK_HEIGHT,
    METADATA_FEE,
    NONCE_ACCOUNT,
    NONCE_SEED,
    NONCE_SLOT,
    TOKEN_DECIMALS,
    TOKEN_PROGRAM,
    blockhash_of,
    key_of,
    number_of,
    require_keys,
)
from keyquorum_sol.movements import CreateNonceAccount, MoveLamports, Movement, MoveTokens
from keyquorum_sol.network import native_asset, parse_asset, require_chain
from keyquorum_sol.panics import containing_panics
from keyquorum_sol.transfers import Transfer

DURABLE_NONCE = "durable_nonce"  # as the option of the adapter is called
RENT_DETAIL = "rent of the destination's token account, where it has to be made"


class SolanaCodec(Codec):
    """Transfers of SOL and of tokens, new nonce accounts, and off-chain messages, of single-key accounts.

    The metadata of ``build`` is described in :mod:`.metadata`.
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
        """An address that coins may be sent to: 32 bytes in base58, on the curve or not, and not the network's own.

        For tokens it is the address of their owner, not of the account that they lie in.
        """
        require_chain(chain)
        return str(parse_destination(address))

    def build(self, intent: TransferIntent, metadata: Mapping[str, str]) -> UnsignedTransaction:
        """A v0 message with compute budget, movement and memo; see :mod:`.transfers`."""
        made = planned(intent, metadata)
        expiry = LAST_VALID_BLOCK_HEIGHT if made.nonce_account is None else NONCE_SLOT
        payload = made.encode()
        signers = [intent.source] if intent.fee_payer is None else [intent.fee_payer, intent.source]
        return UnsignedTransaction(
            chain=intent.chain,
            payload=payload,
            requests=tuple(_request(payload, account) for account in signers),
            effects=_transfer_effects(made, intent.chain),
            expires={expiry: number_of(metadata, expiry)},
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
        signers = [_owner(signer, accounts) for signer in found.signers]
        return Decoded(tuple(_request(payload, account) for account in signers), _transfer_effects(found, chain))

    def combine(self, unsigned: UnsignedTransaction, signatures: Sequence[bytes]) -> SignedTransaction:
        """The transaction, or the envelope of an off-chain message; its id is the signature in base58."""
        signers = [SignerAccount(r.signer, _key_bytes(r.signer), r.path) for r in unsigned.requests]
        decoded = self.decode(unsigned.payload, unsigned.chain, signers)
        if (decoded.requests, decoded.effects) != (unsigned.requests, unsigned.effects):
            raise InvalidPayload("the payload does not do what the unsigned transaction says")
        if len(signatures) != len(signers) or any(len(signature) != SIGNATURE_BYTES for signature in signatures):
            raise SignatureInvalid(f"{len(signers)} signatures of {SIGNATURE_BYTES} bytes are wanted")
        found = [Signature.from_bytes(bytes(signature)) for signature in signatures]
        for signature, signer in zip(found, signers, strict=True):
            if not signature.verify(Pubkey.from_bytes(signer.public_key), unsigned.payload):
                raise SignatureInvalid(f"the signature does not verify under {signer.address}")
        if is_message(unsigned.payload):
            return SignedTransaction(unsigned.chain, envelope(bytes(found[0]), unsigned.payload), str(found[0]))
        raw = bytes([len(found)]) + b"".join(bytes(signature) for signature in found) + unsigned.payload
        return SignedTransaction(unsigned.chain, raw, str(found[0]))


def planned(intent: TransferIntent, metadata: Mapping[str, str]) -> Transfer:
    """The transfer that an intent asks for."""
    mint = parse_asset(intent.asset, intent.chain)
    durable = NONCE_ACCOUNT in metadata
    keys = {*METADATA_FEE, *((NONCE_ACCOUNT, NONCE_SLOT) if durable else (LAST_VALID_BLOCK_HEIGHT,))}
    return Transfer(
        source=_own_key(intent.source),
        movement=_movement(intent, mint, metadata, keys),
        blockhash=blockhash_of(metadata),
        compute_unit_limit=number_of(metadata, COMPUTE_UNIT_LIMIT),
        compute_unit_price=number_of(metadata, COMPUTE_UNIT_PRICE),
        memo=intent.memo,
        fee_payer=None if intent.fee_payer is None else _own_key(intent.fee_payer),
        nonce_account=key_of(metadata, NONCE_ACCOUNT) if durable else None,
    )


def _movement(intent: TransferIntent, mint: Pubkey | None, metadata: Mapping[str, str], keys: set[str]) -> Movement:
    destination = parse_destination(intent.destination)
    if mint is not None:
        require_keys(metadata, keys | {TOKEN_PROGRAM, TOKEN_DECIMALS})
        program, decimals = key_of(metadata, TOKEN_PROGRAM), number_of(metadata, TOKEN_DECIMALS)
        return MoveTokens(destination, intent.amount, mint, program, decimals)
    if NONCE_SEED in metadata:
        require_keys(metadata, keys | {NONCE_SEED})
        return CreateNonceAccount(destination, intent.amount, metadata[NONCE_SEED])
    require_keys(metadata, keys)
    return MoveLamports(destination, intent.amount)


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
    movement, native = found.movement, native_asset(chain)
    source, payer = str(found.source), str(found.payer)
    asset, destination = movement.asset(chain), str(movement.destination)
    rent = [Effect(EffectKind.FEE, native, movement.rent_max, payer, detail=RENT_DETAIL)] if movement.rent_max else []
    # Without an end a payload can lie in wait: whoever approves of it has to have asked for that.
    durable = f"{DURABLE_NONCE}={found.nonce_account}" if found.nonce_account is not None else ""
    return (
        Effect(EffectKind.TRANSFER, asset, movement.amount, source, destination, found.memo),
        Effect(EffectKind.FEE, native, found.fee, payer, detail=durable),
        *rent,
    )


def _message_effects(address: str, text: str) -> tuple[Effect, ...]:
    return (Effect(EffectKind.MESSAGE, source=address, detail=text),)
