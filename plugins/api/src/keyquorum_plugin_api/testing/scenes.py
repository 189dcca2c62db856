"""What the suites of a running chain are played with: adapters that are closed in the end, funded accounts, steps of the chain."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from keyquorum_plugin_api.chain import ChainAdapter, TransactionState, TransactionStatus
from keyquorum_plugin_api.codec import SignedTransaction, TransferIntent, UnsignedTransaction
from keyquorum_plugin_api.signer import Signer, SigningError
from keyquorum_plugin_api.testing.codec_conformance import transfer_intent
from keyquorum_plugin_api.testing.signer import LocalSigner
from keyquorum_plugin_api.testing.target import ChainTarget

PATIENCE_S = 20.0  # for anything that must not hang
STEPS_MAX = 200  # of ``advance`` until a transaction is confirmed
FUNDS = 1_000  # times the amount that is moved
FINAL = frozenset({TransactionState.CONFIRMED, TransactionState.FAILED, TransactionState.EXPIRED})
RANK = {
    TransactionState.UNKNOWN: 0,
    TransactionState.PENDING: 1,
    TransactionState.INCLUDED: 2,
    TransactionState.CONFIRMED: 3,
}


class RefusingSigner(Signer):
    """A core signer whose policy says no."""

    async def sign(self, unsigned: UnsignedTransaction) -> tuple[bytes, ...]:
        """Refuse."""
        raise SigningError(
            "policy-denied", f"{len(unsigned.requests)} signatures are over the limit", operation_id="op_1"
        )


@asynccontextmanager
async def opened(target: ChainTarget, *accounts: int, signer: Signer | None = None) -> AsyncIterator[ChainAdapter]:
    """An adapter that signs for these accounts, closed in the end."""
    local = LocalSigner(target.codec, [target.account(index) for index in accounts])
    adapter = await target.adapter(signer or local)
    try:
        yield adapter
    finally:
        await adapter.close()


@asynccontextmanager
async def unreachable(target: ChainTarget) -> AsyncIterator[ChainAdapter]:
    """An adapter whose node is away."""
    adapter = await target.unreachable(LocalSigner(target.codec, []))
    try:
        yield adapter
    finally:
        await adapter.close()


async def funded_intent(target: ChainTarget, adapter: ChainAdapter) -> TransferIntent:
    """The intent that account 0, which has enough, pays account 1."""
    intent = transfer_intent(target)
    (balance,) = await adapter.get_balances(intent.source.address)
    if balance.amount < FUNDS * target.amount:
        await target.fund(intent.source.address, FUNDS * target.amount)
    return intent


async def amounts(adapter: ChainAdapter, intent: TransferIntent) -> tuple[int, int]:
    """What source and destination hold."""
    (source,) = await adapter.get_balances(intent.source.address)
    (destination,) = await adapter.get_balances(intent.destination)
    return source.amount, destination.amount


async def confirmed(
    target: ChainTarget, adapter: ChainAdapter, signed: SignedTransaction, unsigned: UnsignedTransaction
) -> TransactionStatus:
    """The final status, which nothing undoes, after as many steps of the chain as it takes."""
    for _ in range(STEPS_MAX):
        status = await adapter.get_status(signed.txid, unsigned)
        if status.state in FINAL and not status.reversible:
            return status
        await target.advance()
    raise AssertionError(f"{signed.txid} is not final after {STEPS_MAX} steps")


async def collected(stream: AsyncIterator[TransactionStatus]) -> list[TransactionStatus]:
    """Everything that a stream yields."""
    return [status async for status in stream]


async def nothing_reserved(target: ChainTarget, intent: TransferIntent) -> None:
    """Nothing of the source is held."""
    assert not await target.reservations.held(target.chain, intent.source.address)
