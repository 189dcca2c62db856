"""The toy chain's adapter: honest, unless its ledger's switches say otherwise."""

import asyncio
import hashlib
import json
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence

from keyquorum_plugin_api.chain import Balance, ChainAdapter, ChainEvent, ChainInfo, TransactionState, TransactionStatus
from keyquorum_plugin_api.codec import SignedTransaction, SignerAccount, TransferIntent, UnsignedTransaction
from keyquorum_plugin_api.errors import ChainUnavailable, Expired, InsufficientFunds, InvalidPayload, UnsupportedAsset
from toychain.codec import FEE, ToyCodec
from toychain.ledger import LEDGERS


def nonce_of(unsigned: UnsignedTransaction) -> str:
    """What the payload says."""
    return json.loads(unsigned.payload)["nonce"]


ENDED = {TransactionState.CONFIRMED, TransactionState.FAILED, TransactionState.EXPIRED}


class ToyAdapter(ChainAdapter):
    """One toy chain."""

    codec = ToyCodec

    def __init__(self, context) -> None:
        super().__init__(context)
        self.ledger = LEDGERS[context.config["ledger"]]

    def info(self) -> ChainInfo:
        """What it serves."""
        chain = self.context.chain
        aliases = ("toy:alias",) if chain == "toy:main" else ()
        return ChainInfo(
            chain, "Toy", f"{chain}/slip44:1", "TOY", 2, aliases, frozenset({"transfer", "message", "stream_events"})
        )

    async def start(self) -> None:
        """Fails as often as the ledger says."""
        self.ledger.starts += 1
        if self.ledger.starts <= self.ledger.start_fails:
            raise ChainUnavailable("the node is not there yet")

    async def health(self) -> Mapping[str, str]:
        """Nothing to say."""
        return {}

    def _reach(self) -> None:
        if self.ledger.down:
            raise ChainUnavailable("the node is down")

    async def get_balances(self, address: str, assets: Sequence[str] = ()) -> tuple[Balance, ...]:
        """The native asset."""
        self._reach()
        return (Balance(f"{self.context.chain}/slip44:1", self.ledger.balances.get(address, 0), 2, "TOY"),)

    async def build_transfer(self, intent: TransferIntent, options: Mapping[str, str]) -> UnsignedTransaction:
        """Check funds, reserve a nonce, build."""
        self._reach()
        self.ledger.builds += 1
        await asyncio.sleep(self.ledger.build_delay_s)
        if intent.asset != f"{self.context.chain}/slip44:1":
            raise UnsupportedAsset("only TOY moves")
        if self.ledger.balances.get(intent.source.address, 0) < intent.amount + FEE:
            raise InsufficientFunds("the account cannot pay amount and fee")
        nonce = secrets.token_hex(8)
        unsigned = ToyCodec().build(intent, {"nonce": nonce, **options})
        await self.context.reservations.reserve(intent.chain, intent.source.address, nonce, nonce, 60)
        return self.ledger.on_build(self, intent, unsigned) if self.ledger.on_build else unsigned

    async def build_replacement(
        self, intent: TransferIntent, replaced: UnsignedTransaction, options: Mapping[str, str]
    ) -> UnsignedTransaction:
        """The same nonce, twice the fee."""
        self._reach()
        unsigned = ToyCodec().build(intent, {"fee": str(2 * FEE), "nonce": nonce_of(replaced), **options})
        return self.ledger.on_build(self, intent, unsigned) if self.ledger.on_build else unsigned

    async def build_cancellation(
        self, source: SignerAccount, replaced: UnsignedTransaction, options: Mapping[str, str]
    ) -> UnsignedTransaction:
        """The same nonce, for nothing."""
        unsigned = ToyCodec().build_cancellation(
            source, self.context.chain, {"fee": str(2 * FEE), "nonce": nonce_of(replaced), **options}
        )
        return self.ledger.on_build(self, source, unsigned) if self.ledger.on_build else unsigned

    async def import_transfer(self, intent: TransferIntent, payload: bytes) -> UnsignedTransaction:
        """Whatever it is: the host compares."""
        decoded = ToyCodec().decode(payload, intent.chain, [intent.source])
        return UnsignedTransaction(intent.chain, payload, decoded.requests, decoded.effects)

    async def sign(self, unsigned: UnsignedTransaction) -> SignedTransaction:
        """Through the core signer, or through whatever the test wants."""
        if self.ledger.on_sign is not None:
            return await self.ledger.on_sign(self, unsigned)
        return await super().sign(unsigned)

    async def submit(self, signed: SignedTransaction) -> str:
        """Broadcast what is a toy transaction of that id."""
        self._reach()
        if hashlib.sha256(signed.raw).hexdigest() != signed.txid or not signed.raw[64:].startswith(b"{"):
            raise InvalidPayload("not a toy transaction, or one with another id")
        self.ledger.submitted.append(signed.raw)
        if self.ledger.submit_errors:
            raise self.ledger.submit_errors.pop(0)
        self.ledger.apply(signed.raw, signed.txid)
        return signed.txid

    async def get_status(self, txid: str, unsigned: UnsignedTransaction | None = None) -> TransactionStatus:
        """What the ledger knows."""
        self._reach()
        state = self.ledger.states.get(txid, TransactionState.UNKNOWN)
        return TransactionStatus(txid, state, int(state in ENDED), "block-1", reversible=txid in self.ledger.reversible)

    async def stream_status(
        self, txid: str, unsigned: UnsignedTransaction | None = None
    ) -> AsyncIterator[TransactionStatus]:
        """Every change until the end."""
        while True:
            changed = self.ledger.changed
            status = await self.get_status(txid, unsigned)
            yield status
            if status.state in ENDED and not status.reversible:
                return
            await changed.wait()

    async def stream_events(self, addresses: Sequence[str], cursor: str = "") -> AsyncIterator[ChainEvent]:
        """What the ledger's list says, behind the cursor, and what comes."""
        self._reach()
        if cursor and not cursor.isdecimal():
            raise Expired("no such place in the stream")
        position = int(cursor or len(self.ledger.events))
        try:
            while True:
                changed = self.ledger.changed
                for event in self.ledger.events[position:]:
                    position += 1
                    if isinstance(event, Exception):
                        raise event
                    if event.address in addresses:
                        yield event
                await changed.wait()
        finally:
            self.ledger.streams_closed += 1

    async def discard(self, unsigned: UnsignedTransaction) -> None:
        """Remember that it was given back."""
        self.ledger.discarded.append(unsigned.payload)
