"""PSBTs that were made elsewhere: taken over if they make the wanted transfer with coins that are there and free."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from embit.psbt import PSBT
from embit.script import Script
from embit.transaction import Transaction, TransactionInput, TransactionOutput

from keyquorum_btc.adapter import BitcoinAdapter
from keyquorum_btc.addresses import parse_destination
from keyquorum_btc.psbt import read
from keyquorum_plugin_api.chain import TransactionState
from keyquorum_plugin_api.codec import TransferIntent
from keyquorum_plugin_api.errors import FeeTooHigh, FeeTooLow, InvalidPayload, NonceConflict
from support.bitcoin_node import BitcoinNode
from support.bitcoin_target import FINAL_CONFIRMATIONS, BitcoinChainTarget

pytestmark = pytest.mark.asyncio(loop_scope="module")

COIN = 200_000


@pytest.fixture
def client() -> str:
    return "esplora"


@pytest_asyncio.fixture(loop_scope="module")
async def adapter(target: BitcoinChainTarget) -> AsyncIterator[BitcoinAdapter]:
    adapter = await target.adapter(target.local(0))
    yield adapter
    await adapter.close()


@pytest.fixture
def intent(target: BitcoinChainTarget) -> TransferIntent:
    source, destination = (target.account(index).account for index in (0, 1))
    return TransferIntent(target.chain, source, destination.address, target.asset, 50_000)


def made_elsewhere(
    target: BitcoinChainTarget, intent: TransferIntent, bitcoin: BitcoinNode, fee: int = 500, **lies: int
) -> PSBT:
    """Another wallet's PSBT of the same payment."""
    (coin,) = bitcoin.fund(intent.source.address, COIN)
    own = Script(parse_destination(intent.source.address, target.chain))
    paid = Script(parse_destination(intent.destination, target.chain))
    outputs = sorted([(intent.amount, paid.data, paid), (COIN - intent.amount - fee, own.data, own)])
    made = PSBT(
        Transaction(
            version=2,
            vin=[TransactionInput(bytes.fromhex(coin.txid), coin.vout, sequence=0xFFFFFFFD)],
            vout=[TransactionOutput(amount, script) for amount, _, script in outputs],
            locktime=0,
        )
    )
    made.inputs[0].witness_utxo = TransactionOutput(COIN + lies.get("surplus", 0), own)
    return made


async def test_foreign_psbt_is_signed_and_mined(
    target: BitcoinChainTarget, adapter: BitcoinAdapter, bitcoin: BitcoinNode, intent: TransferIntent
) -> None:
    """What it says about the origin of keys is left out; what it does is what was asked for."""
    foreign = made_elsewhere(target, intent, bitcoin)
    unsigned = await adapter.import_transfer(intent, foreign.serialize())
    assert read(unsigned.payload).unsigned_bytes == foreign.tx.serialize()
    signed = await adapter.sign(unsigned)
    await adapter.submit(signed)
    bitcoin.mine(FINAL_CONFIRMATIONS)
    status = await adapter.get_status(signed.txid, unsigned)
    assert (status.state, status.reversible) == (TransactionState.CONFIRMED, False)


async def test_payload_of_a_spent_or_wrong_coin_is_refused(
    target: BitcoinChainTarget, adapter: BitcoinAdapter, bitcoin: BitcoinNode, intent: TransferIntent
) -> None:
    """Before anybody signs what could never be included."""
    wrong = made_elsewhere(target, intent, bitcoin, surplus=1)
    with pytest.raises(NonceConflict, match="amount"):
        await adapter.import_transfer(intent, wrong.serialize())
    foreign = made_elsewhere(target, intent, bitcoin).serialize()
    unsigned = await adapter.import_transfer(intent, foreign)
    await adapter.submit(await adapter.sign(unsigned))
    with pytest.raises(NonceConflict, match="spent"):
        await adapter.import_transfer(intent, foreign)


async def test_fees_of_imports_have_the_same_bounds(
    target: BitcoinChainTarget, adapter: BitcoinAdapter, bitcoin: BitcoinNode, intent: TransferIntent
) -> None:
    """Above the ceiling, and below what is relayed."""
    for fee, error in ((201 * 154, FeeTooHigh), (100, FeeTooLow)):
        with pytest.raises(error):
            await adapter.import_transfer(intent, made_elsewhere(target, intent, bitcoin, fee).serialize())
    assert not await target.reservations.held(target.chain, intent.source.address)


async def test_payload_of_another_account_is_refused(
    target: BitcoinChainTarget, adapter: BitcoinAdapter, bitcoin: BitcoinNode, intent: TransferIntent
) -> None:
    """Its coins are not the source's."""
    thief = target.account(2).account
    stranger = TransferIntent(target.chain, thief, intent.destination, target.asset, intent.amount)
    with pytest.raises(InvalidPayload):
        await adapter.import_transfer(intent, made_elsewhere(target, stranger, bitcoin).serialize())
