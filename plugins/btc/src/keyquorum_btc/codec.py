"""The pure codec: what a payload does, its bytes, and its signatures. It imports nothing that does input or output.

What binds a payload to its network: nothing that the codec could see. Scripts are the same on all networks; a transaction
names coins by the ids of transactions that one network alone has. So the caller's word for the chain is all there is, and
a key must not sign for two networks (``payload_names_chain``).
"""

import re
from collections.abc import Mapping, Sequence

from keyquorum_btc.addresses import address_of, address_of_script, canonical_address, parse_destination
from keyquorum_btc.coin import parse_coins
from keyquorum_btc.limits import AMOUNT_MAX
from keyquorum_btc.memo import memo_script
from keyquorum_btc.messages import SignedText, is_message, simple_signature
from keyquorum_btc.network import native_asset, require_native, require_network
from keyquorum_btc.psbt import read, write
from keyquorum_btc.sizes import CHANGE_DUST_LIMIT
from keyquorum_btc.spending import Output, Spend
from keyquorum_btc.taproot import internal_key_of, output_script, verifies
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
from keyquorum_plugin_api.errors import (
    InsufficientFunds,
    InvalidAddress,
    InvalidAmount,
    InvalidPayload,
    SignatureInvalid,
    Unsupported,
)

COINS = "coins"
FEE = "fee"
METADATA = frozenset({COINS, FEE})

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)
_EVEN_Y, _ODD_Y = b"\x02", b"\x03"


class BitcoinCodec(Codec):
    """Transfers and cancellations from one P2TR address, and BIP322 messages of it.

    ``build`` takes the metadata ``coins`` (see :func:`~keyquorum_btc.coin.format_coins`) and ``fee`` (satoshi, decimal),
    both and nothing else. What the coins leave after amount and fee returns to the source.
    """

    name = "bitcoin"
    namespace = "bip122"
    scheme = "schnorr_bip340"
    payload_names_chain = False

    def derive_address(self, public_key: bytes, chain: str) -> str:
        """The P2TR address of the internal key (33 bytes, compressed), without a script tree (BIP86)."""
        require_network(chain)
        return address_of(public_key, chain)

    def validate_address(self, address: str, chain: str) -> str:
        """An address that coins may be sent to, of this very network; bech32 comes back in lower case."""
        return canonical_address(address, chain)

    def build(self, intent: TransferIntent, metadata: Mapping[str, str]) -> UnsignedTransaction:
        """A PSBT that pays the destination, its memo and the change, in BIP69's order.

        A transfer to the source itself is refused with :class:`InvalidAddress`: nothing would tell it from change.
        """
        require_native(intent.asset, intent.chain)
        if intent.fee_payer is not None:
            raise Unsupported("on Bitcoin, the coins that are spent pay the fee")
        paid = Output(parse_destination(intent.destination, intent.chain), _amount(intent.amount))
        if paid.script == parse_destination(intent.source.address, intent.chain):
            raise InvalidAddress("source and destination are the same address")
        outputs = [paid, *([Output(memo_script(intent.memo), 0)] if intent.memo else [])]
        return _unsigned(intent.source, intent.chain, outputs, metadata)

    def build_cancellation(self, source: SignerAccount, chain: str, metadata: Mapping[str, str]) -> UnsignedTransaction:
        """A PSBT that returns the coins to their address, less the fee; it is valid instead of what spent them before."""
        require_network(chain)
        return _unsigned(source, chain, [], metadata)

    def build_message(self, account: SignerAccount, chain: str, message: str) -> UnsignedTransaction:
        """A BIP322 message; see :mod:`.messages`."""
        require_network(chain)
        made = SignedText(_own_key(account, chain), message)
        decoded = _decoded(made, chain, account)
        return UnsignedTransaction(chain, made.encode(), decoded.requests, decoded.effects)

    def decode(self, payload: bytes, chain: str, accounts: Sequence[SignerAccount]) -> Decoded:
        """What the payload does; :class:`InvalidPayload` unless it is the one encoding of something that this codec makes
        for one of ``accounts``."""
        require_network(chain)
        found = _read(payload)
        return _decoded(found, chain, _owner(found, chain, accounts))

    def excludes(self, payload: bytes, other: bytes, chain: str) -> bool:
        """Whether both spend one coin."""
        require_network(chain)
        one, another = _read(payload), _read(other)
        if not isinstance(one, Spend) or not isinstance(another, Spend):
            return False
        return not {coin.outpoint for coin in one.coins}.isdisjoint(coin.outpoint for coin in another.coins)

    def combine(self, unsigned: UnsignedTransaction, signatures: Sequence[bytes]) -> SignedTransaction:
        """The network serialization and its txid; of a message, the BIP322 witness and the id of ``to_sign``."""
        require_network(unsigned.chain)
        found = _read(unsigned.payload)
        path = unsigned.requests[0].path if unsigned.requests else ()
        address = address_of_script(found.source_script, unsigned.chain)
        signer = SignerAccount(address, _EVEN_Y + found.internal_key, path)
        if _decoded(found, unsigned.chain, signer) != Decoded(unsigned.requests, unsigned.effects):
            raise InvalidPayload("the payload does not do what the unsigned transaction says")
        if len(signatures) != len(unsigned.requests):
            raise SignatureInvalid(f"{len(unsigned.requests)} signatures are wanted")
        for index, (signature, request) in enumerate(zip(signatures, unsigned.requests, strict=True)):
            if not verifies(signature, request.message, found.internal_key):
                raise SignatureInvalid(f"signature {index} does not verify under the output key of {signer.address}")
        raw = simple_signature(signatures[0]) if isinstance(found, SignedText) else found.signed(signatures)
        return SignedTransaction(unsigned.chain, raw, found.txid)


def _unsigned(
    source: SignerAccount, chain: str, outputs: Sequence[Output], metadata: Mapping[str, str]
) -> UnsignedTransaction:
    internal_key = _own_key(source, chain)
    if metadata.keys() != METADATA:
        raise InvalidPayload(f"metadata is {', '.join(sorted(METADATA))}")
    coins, fee = parse_coins(metadata[COINS]), _satoshi(metadata[FEE])
    change = sum(coin.amount for coin in coins) - sum(output.amount for output in outputs) - fee
    if change < 0:
        raise InsufficientFunds("the coins do not pay for amount and fee")
    if 0 < change < CHANGE_DUST_LIMIT:
        raise InvalidPayload("what would return is less than the network takes: it belongs to the fee")
    back = [Output(output_script(internal_key), change)] if change else []
    spend = Spend(internal_key, coins, tuple(sorted([*outputs, *back], key=lambda out: (out.amount, out.script))))
    decoded = _decoded(spend, chain, source)
    return UnsignedTransaction(chain, write(spend), decoded.requests, decoded.effects)


def _read(payload: bytes) -> Spend | SignedText:
    return SignedText.decode(payload) if is_message(payload) else read(payload)


def _decoded(found: Spend | SignedText, chain: str, account: SignerAccount) -> Decoded:
    if isinstance(found, SignedText):
        messages: tuple[bytes, ...] = (found.sighash(),)
        effects: tuple[Effect, ...] = (Effect(EffectKind.MESSAGE, source=account.address, detail=found.text),)
    else:
        messages, effects = found.sighashes(), _effects(found, chain, account.address)
    requests = (SigningRequest(BitcoinCodec.scheme, message, account.address, account.path) for message in messages)
    return Decoded(tuple(requests), effects)


def _effects(spend: Spend, chain: str, source: str) -> tuple[Effect, ...]:
    asset, effects = native_asset(chain), []
    if paid := spend.transfer:
        destination = address_of_script(paid.script, chain)
        effects.append(Effect(EffectKind.TRANSFER, asset, paid.amount, source, destination, spend.memo))
    if spend.change:
        effects.append(Effect(EffectKind.CHANGE, asset, spend.change, source, source))
    return (*effects, Effect(EffectKind.FEE, asset, spend.fee, source))


def _own_key(account: SignerAccount, chain: str) -> bytes:
    if address_of(account.public_key, chain) != account.address:
        raise InvalidAddress("the account's address is not that of its public key")
    return internal_key_of(account.public_key)


def _owner(found: Spend | SignedText, chain: str, accounts: Sequence[SignerAccount]) -> SignerAccount:
    address = address_of_script(found.source_script, chain)
    keys = (_EVEN_Y + found.internal_key, _ODD_Y + found.internal_key)
    for account in accounts:
        if account.address == address and account.public_key in keys:
            return account
    raise InvalidPayload("the payload is to be signed by an account that is not the key's own")


def _amount(amount: int) -> int:
    if type(amount) is not int or not 0 < amount <= AMOUNT_MAX:
        raise InvalidAmount(f"an amount is between 1 and {AMOUNT_MAX} satoshi")
    return amount


def _satoshi(text: str) -> int:
    if not _DECIMAL.fullmatch(text):
        raise InvalidPayload("fee is not a decimal number of satoshi")
    return int(text)
