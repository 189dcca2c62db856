"""What payloads do, in effects. Whatever has no name here is refused.

A transaction is one of

* coins to another account: a value, no data;
* a cancellation: nothing, from the signer to itself, which only uses up the nonce;
* one call of a token, without a value: ``transfer`` to another account, ``approve`` or ``increaseAllowance``.
"""

from keyquorum_eth.addresses import checksummed, require_destination
from keyquorum_eth.erc20 import Function, TokenCall
from keyquorum_eth.limits import U256_MAX
from keyquorum_eth.messages import decode_text, message_digest
from keyquorum_eth.network import chain_id_of, native_asset, token_asset
from keyquorum_eth.payloads import Kind, Payload
from keyquorum_eth.permits import permit_of
from keyquorum_eth.transactions import DynamicFeeTransaction
from keyquorum_eth.typed_data import parse_document, write_document
from keyquorum_plugin_api.codec import Effect, EffectKind
from keyquorum_plugin_api.errors import ChainError, InvalidAddress, InvalidAmount, InvalidPayload

Meaning = tuple[bytes, tuple[Effect, ...]]
"""The 32-byte digest that is signed, and what the signature does."""


def meaning_of(payload: Payload, chain: str) -> Meaning:
    """Digest and effects; a ``ChainError`` unless every byte of the payload is accounted for."""
    if payload.chain_id != chain_id_of(chain):
        raise InvalidPayload("the payload is for another chain")
    if payload.kind is Kind.MESSAGE:
        text = decode_text(payload.body)
        return message_digest(payload.body), (
            Effect(EffectKind.MESSAGE, source=checksummed(payload.signer), detail=text),
        )
    if payload.kind is Kind.DOCUMENT:
        return _meaning_of_document(payload, chain)
    transaction = DynamicFeeTransaction.decode(payload.body)
    return meaning_of_transaction(transaction, payload.signer, chain)


def meaning_of_transaction(transaction: DynamicFeeTransaction, signer: bytes, chain: str) -> Meaning:
    """Digest and effects of a transaction that ``signer`` is to sign."""
    if transaction.chain_id != chain_id_of(chain):
        raise InvalidPayload("the transaction is for another chain")
    source = checksummed(signer)
    act = _token_call(transaction, signer, chain) if transaction.data else _coins(transaction, signer, chain)
    return transaction.digest(), (act, Effect(EffectKind.FEE, native_asset(chain), transaction.fee, source))


def _coins(transaction: DynamicFeeTransaction, signer: bytes, chain: str) -> Effect:
    cancels = transaction.to == signer
    if cancels and transaction.value:
        raise InvalidAddress("source and destination are the same account")
    if not cancels and not transaction.value:
        raise InvalidAmount("a transfer of nothing")
    if transaction.value + transaction.fee > U256_MAX:
        raise InvalidAmount("amount and fee together have more than 256 bits")
    destination = signer if cancels else require_destination(transaction.to)
    return Effect(
        EffectKind.TRANSFER, native_asset(chain), transaction.value, checksummed(signer), checksummed(destination)
    )


def _token_call(transaction: DynamicFeeTransaction, signer: bytes, chain: str) -> Effect:
    if transaction.value:
        raise InvalidPayload("a call that moves coins, too, has no name here")
    contract = require_destination(transaction.to)
    call = TokenCall.decode(transaction.data)
    other = require_destination(call.counterparty)
    if signer in (contract, other):
        raise InvalidAddress("source and destination are the same account")
    if call.function is Function.TRANSFER:
        if other == contract:
            raise InvalidAddress("the destination is the token's own contract: what it receives is lost")
        if not call.amount:
            raise InvalidAmount("a transfer of nothing")
    return Effect(
        EffectKind.TRANSFER if call.function is Function.TRANSFER else EffectKind.APPROVE,
        token_asset(chain, contract),
        call.amount,
        checksummed(signer),
        checksummed(other),
        "on top of what is allowed" if call.function is Function.INCREASE_ALLOWANCE else "",
    )


def _meaning_of_document(payload: Payload, chain: str) -> Meaning:
    try:
        document = parse_document(payload.body.decode("utf-8"))
    except UnicodeDecodeError:
        raise InvalidPayload("the document is not UTF-8") from None
    if write_document(document) != payload.body:
        raise InvalidPayload("not the one spelling of a document")
    permit = permit_of(document, payload.chain_id)
    if permit.owner not in (None, payload.signer):
        raise InvalidPayload("the document is for another account to sign")
    return document.digest(), (
        Effect(
            EffectKind.PERMIT,
            token_asset(chain, permit.token),
            permit.amount,
            checksummed(payload.signer),
            checksummed(permit.spender),
            permit.detail,
        ),
    )


def refused_as_payload(error: ChainError) -> InvalidPayload:
    """What was built by somebody else is an invalid payload, whatever is wrong with it."""
    return error if isinstance(error, InvalidPayload) else InvalidPayload(error.detail)
