"""The adapter suite catches what it is for: each defect fails the test that is named for it."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

import aiohttp
import pytest
from solders.transaction import VersionedTransaction

from keyquorum_devnet.solana.server import Endpoint
from keyquorum_plugin_api.chain import Balance, ChainAdapter, ChainInfo, TransactionState, TransactionStatus
from keyquorum_plugin_api.codec import SignedTransaction, TransferIntent, UnsignedTransaction
from keyquorum_plugin_api.errors import ChainError, ChainUnavailable, InsufficientFunds, OutcomeUnknown
from keyquorum_plugin_api.signer import Signer, SigningError
from keyquorum_plugin_api.testing import AdapterConformance, local_context
from keyquorum_plugin_api.testing.transfer_conformance import TransferConformance
from keyquorum_sol.adapter import SolanaAdapter
from keyquorum_sol.submission import Submission
from support.solana import SolanaRpcCaller
from support.solana_target import SolanaChainTarget


class ReservesNothing(SolanaAdapter):
    """Two payments in one message."""

    async def build_transfer(self, intent: TransferIntent, options: Mapping[str, str]) -> UnsignedTransaction:
        unsigned = await super().build_transfer(intent, options)
        await self.discard(unsigned)
        return unsigned


class KeepsReservations(SolanaAdapter):
    """Never gives back."""

    async def discard(self, unsigned: UnsignedTransaction) -> None:
        return


class ReservesTooEarly(SolanaAdapter):
    """Holds something for a transfer that it then refuses."""

    async def build_transfer(self, intent: TransferIntent, options: Mapping[str, str]) -> UnsignedTransaction:
        await self.context.reservations.reserve(intent.chain, intent.source.address, "early", "me", 60)
        return await super().build_transfer(intent, options)


class SignsTheExpired(SolanaAdapter):
    """Begins a ceremony whatever the height."""

    async def sign(self, unsigned: UnsignedTransaction) -> SignedTransaction:
        return await ChainAdapter.sign(self, unsigned)


class NeverExpires(SolanaAdapter):
    """What is missing stays missing."""

    async def get_status(self, txid: str, unsigned: UnsignedTransaction | None = None) -> TransactionStatus:
        status = await super().get_status(txid, unsigned)
        missing = status.state is TransactionState.EXPIRED
        return TransactionStatus(txid, TransactionState.UNKNOWN) if missing else status


class Optimist(SolanaAdapter):
    """Confirmed as soon as submitted."""

    async def get_status(self, txid: str, unsigned: UnsignedTransaction | None = None) -> TransactionStatus:
        status = await super().get_status(txid, unsigned)
        return TransactionStatus(status.txid, TransactionState.CONFIRMED)


class SubmitsAnything(SolanaAdapter):
    """Says yes to bytes that it has not looked at."""

    async def submit(self, signed: SignedTransaction) -> str:
        try:
            return await super().submit(signed)
        except ChainError:
            return signed.txid


class ComplainsAboutTheKnown(SolanaAdapter):
    """A second submission is an error."""

    async def submit(self, signed: SignedTransaction) -> str:
        submission = Submission.parse(signed.raw, signed.txid)
        if (await self.get_status(submission.txid)).state is not TransactionState.UNKNOWN:
            raise OutcomeUnknown("known already")
        return await super().submit(signed)


class SignsForItself(SolanaAdapter):
    """Takes any signature for a good one."""

    async def sign(self, unsigned: UnsignedTransaction) -> SignedTransaction:
        (signature,) = await self.context.signer.sign(unsigned)
        raw = b"\x01" + signature + unsigned.payload
        return SignedTransaction(unsigned.chain, raw, str(VersionedTransaction.from_bytes(raw).signatures[0]))


class SwallowsTheSigner(SolanaAdapter):
    """Reports a policy's refusal as its own trouble."""

    async def sign(self, unsigned: UnsignedTransaction) -> SignedTransaction:
        try:
            return await super().sign(unsigned)
        except SigningError as error:
            raise ChainUnavailable(str(error)) from None


class NoFundsCheck(SolanaAdapter):
    """Leaves it to the chain."""

    async def build_transfer(self, intent: TransferIntent, options: Mapping[str, str]) -> UnsignedTransaction:
        try:
            return await super().build_transfer(intent, options)
        except InsufficientFunds as error:
            raise ChainUnavailable(error.detail) from None


class AnyOption(SolanaAdapter):
    """Ignores what it does not know."""

    async def build_transfer(self, intent: TransferIntent, options: Mapping[str, str]) -> UnsignedTransaction:
        return await super().build_transfer(intent, {})


class MovesLess(SolanaAdapter):
    """Keeps a lamport."""

    async def build_transfer(self, intent: TransferIntent, options: Mapping[str, str]) -> UnsignedTransaction:
        values = {name: getattr(intent, name) for name in TransferIntent.__dataclass_fields__}
        return await super().build_transfer(TransferIntent(**{**values, "amount": intent.amount - 1}), options)


class ZeroOnError(SolanaAdapter):
    """An outage reads as an empty account."""

    async def get_balances(self, address: str, assets: Sequence[str] = ()) -> tuple[Balance, ...]:
        try:
            return await super().get_balances(address, assets)
        except ChainUnavailable:
            return (Balance(self.info().native_asset, 0, 9, "SOL"),)


class AnyAsset(SolanaAdapter):
    """Answers for its own coin, whatever was asked."""

    async def get_balances(self, address: str, assets: Sequence[str] = ()) -> tuple[Balance, ...]:
        return await super().get_balances(address)


class LeavesTasks(SolanaAdapter):
    """Closes nothing."""

    async def close(self) -> None:
        return


class SilentHealth(SolanaAdapter):
    """Healthy without a word."""

    async def health(self) -> Mapping[str, str]:
        return {}


class StreamsOnce(SolanaAdapter):
    """Ends before the end."""

    async def stream_status(
        self, txid: str, unsigned: UnsignedTransaction | None = None
    ) -> AsyncIterator[TransactionStatus]:
        yield await self.get_status(txid, unsigned)


class HoldsOn(SolanaAdapter):
    """Does not let a client go."""

    async def stream_status(
        self, txid: str, unsigned: UnsignedTransaction | None = None
    ) -> AsyncIterator[TransactionStatus]:
        while True:
            try:
                async for status in super().stream_status(txid, unsigned):
                    yield status
            except asyncio.CancelledError:
                return


class InventsIds(SolanaAdapter):
    """Takes any text for an id."""

    async def get_status(self, txid: str, unsigned: UnsignedTransaction | None = None) -> TransactionStatus:
        try:
            return await super().get_status(txid, unsigned)
        except ChainError:
            return TransactionStatus(txid, TransactionState.UNKNOWN)


class AsksTheNode(SolanaAdapter):
    """Does not know its own chain."""

    def info(self) -> ChainInfo:
        known = super().info()
        return ChainInfo("", known.name, known.native_asset, known.symbol, known.decimals)


DEFECTS: dict[type[SolanaAdapter], str] = {
    AnyAsset: "test_balances",
    AnyOption: "test_impossible_transfers_are_refused_for_the_right_reason",
    AsksTheNode: "test_information_needs_no_node",
    ComplainsAboutTheKnown: "test_submitting_again_changes_nothing",
    HoldsOn: "test_stream_can_be_left",
    InventsIds: "test_unknown_ids",
    KeepsReservations: "test_discarding_gives_back_what_was_reserved",
    LeavesTasks: "test_close_leaves_nothing_running",
    MovesLess: "test_transfer_moves_exactly_what_was_asked",
    NeverExpires: "test_what_expired_is_said_to_have_expired",
    NoFundsCheck: "test_funds_are_checked_before_anything_is_signed",
    Optimist: "test_status_only_moves_forward",
    ReservesNothing: "test_equal_transfers_are_two_payments",
    ReservesTooEarly: "test_funds_are_checked_before_anything_is_signed",
    SignsForItself: "test_wrong_signature_is_refused_before_it_is_sent",
    SignsTheExpired: "test_what_expired_is_said_to_have_expired",
    SilentHealth: "test_health_states_facts",
    StreamsOnce: "test_stream_tells_every_change_and_ends",
    SubmitsAnything: "test_altered_bytes_are_not_submitted",
    SwallowsTheSigner: "test_refusal_of_the_signer_comes_through",
    ZeroOnError: "test_unreachable_node_is_a_typed_error_in_time",
}


class DefectiveTarget(SolanaChainTarget):
    """Makes adapters with a defect, and ends what they leave behind."""

    kind: type[SolanaAdapter] = SolanaAdapter
    made: list[SolanaAdapter]

    async def adapter(self, signer: Signer) -> SolanaAdapter:
        return self._make(signer, self.config)

    async def unreachable(self, signer: Signer) -> SolanaAdapter:
        return self._make(signer, {**self.config, "rpc_url": "http://127.0.0.1:9/", "ws_url": None})

    def _make(self, signer: Signer, config: Mapping[str, object]) -> SolanaAdapter:
        context = local_context(self.chain, signer, self._http, config, reservations=self.reservations)
        self.made.append(self.kind(context))
        return self.made[-1]


@pytest.fixture
async def target(endpoint: Endpoint, rpc: SolanaRpcCaller) -> AsyncIterator[DefectiveTarget]:
    async with aiohttp.ClientSession() as http:
        target = DefectiveTarget(b"defects", endpoint, http, rpc)
        target.made = []
        target.config |= {"blockhash_max_age_s": 60.0}
        yield target
        for adapter in target.made:
            await SolanaAdapter.close(adapter)


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.__name__)
async def test_defect_is_caught(target: DefectiveTarget, defect: type[SolanaAdapter]) -> None:
    """By the test that is named for it."""
    target.kind = defect
    with pytest.raises((AssertionError, ChainError, TimeoutError, RuntimeError)):
        async with asyncio.timeout(3):
            await getattr(AdapterConformance(), DEFECTS[defect])(target)


def test_every_property_is_shown_to_work() -> None:
    """A test of transfers needs a defect that it catches; those of capabilities have theirs on the toy ledger."""
    suite = {name for name in dir(TransferConformance) if name.startswith("test_")}
    assert suite == set(DEFECTS.values())
