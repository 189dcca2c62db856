"""The suite's tests of capabilities and outcomes catch what they are for: each defect fails the test that is named for it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import pytest

from keyquorum_plugin_api.chain import ChainAdapter, ChainEvent, TransactionState
from keyquorum_plugin_api.errors import ChainError, FeeTooHigh, NonceConflict, OutcomeUnknown, Unsupported
from keyquorum_plugin_api.testing import AdapterConformance, local_context
from keyquorum_plugin_api.testing.transfer_conformance import TransferConformance

PATIENCE_S = 20.0
DEFECT_S = 1.0  # several times what the test takes; a defect that leaves it waiting is noticed, too


@dataclass(frozen=True)
class Defect:
    """A change of the adapter's class; ``codec`` is one of the codec's. ``test`` is who has to notice."""

    test: str
    adapter: Callable[[type], type] = lambda kind: kind
    codec: Callable[[type], type] = lambda kind: kind


def overriding(**methods: Any) -> Callable[[type], type]:
    """A subclass with these methods, each of which gets the honest class first."""

    def make(kind: type) -> type:
        def bound(method: Callable[..., Any]) -> Callable[..., Any]:
            def call(self: Any, *arguments: Any, **named: Any) -> Any:
                return method(kind, self, *arguments, **named)

            return call

        return type("Defective", (kind,), {name: bound(method) for name, method in methods.items()})

    return make


def claiming(*, add: tuple[str, ...] = (), drop: tuple[str, ...] = ()) -> Callable[[type], type]:
    """Other claims, and nothing else."""
    return overriding(
        info=lambda kind, self: replace(
            found := kind.info(self), capabilities=(found.capabilities | set(add)) - set(drop)
        )
    )


async def _fresh_payment(kind, self, intent, replaced, options):
    """A second payment instead of a replacement."""
    return await self.build_transfer(intent, options)


async def _same_fee(kind, self, intent, replaced, options):
    return replaced


async def _any_replacement(kind, self, intent, replaced, options):
    honest = replace(intent, amount=500, destination=self.codec().decode(
        replaced.payload, intent.chain, [intent.source]).effects[0].destination)  # fmt: skip
    return await kind.build_replacement(self, honest, replaced, options)


async def _cancels_by_paying(kind, self, source, replaced, options):
    raise Unsupported("not really")


async def _imports_anything(kind, self, intent, payload):
    decoded = self.codec().decode(payload, intent.chain, [intent.source])
    unsigned = await self.build_transfer(intent, {})
    return replace(unsigned, payload=payload, requests=decoded.requests, effects=decoded.effects)


async def _imports_for_itself(kind, self, intent, payload):
    unsigned = await kind.import_transfer(self, intent, payload)
    await self.context.reservations.reserve(intent.chain, intent.source.address, "imported", "me", 60)
    return unsigned


async def _no_events(kind, self, addresses, cursor=""):
    for address in addresses:
        self.codec().validate_address(address, self.context.chain)
    await asyncio.sleep(60)
    yield ChainEvent("", "", "", "", 0, "")


async def _forgets_the_cursor(kind, self, addresses, cursor=""):
    async for event in kind.stream_events(self, addresses):
        yield event


async def _deposits_alone(kind, self, addresses, cursor=""):
    async for event in kind.stream_events(self, addresses, cursor):
        if event.amount > 0:
            yield event


async def _never_takes_back(kind, self, addresses, cursor=""):
    async for event in kind.stream_events(self, addresses, cursor):
        if not event.removed:
            yield event


async def _watches_anything(kind, self, addresses, cursor=""):
    known = [address for address in addresses if len(address) > 20]
    async for event in kind.stream_events(self, known, cursor):
        yield event


async def _takes_any_fee(kind, self, intent, options):
    try:
        return await kind.build_transfer(self, intent, options)
    except FeeTooHigh:
        return await kind.build_transfer(self, intent, {})


def _ignores_settings(kind, self, context):
    known = {key: value for key, value in context.config.items() if key != "unheard_of"}
    kind.__init__(self, replace(context, config=known))


def _repeats_settings(kind, self, context):
    try:
        kind.__init__(self, context)
    except ChainError as error:
        raise type(error)(f"{error.detail} {dict(context.config)}") from None


async def _says_it_is_unknown(kind, self, signed):
    try:
        return await kind.submit(self, signed)
    except ChainError as error:
        raise OutcomeUnknown(error.detail) from None


async def _says_it_failed(kind, self, signed):
    try:
        return await kind.submit(self, signed)
    except OutcomeUnknown as error:
        raise NonceConflict(error.detail) from None


async def _remembers_the_best(kind, self, txid, unsigned=None):
    """A confirmation that no reorganisation takes back."""
    status = await kind.get_status(self, txid, unsigned)
    best = self.__dict__.setdefault("best", {})
    if status.state in (TransactionState.INCLUDED, TransactionState.CONFIRMED):
        best[txid] = status
    return best.get(txid, status) if status.state is TransactionState.PENDING else status


async def _waits_for_ever(kind, self, signed):
    """A node's refusal is kept quiet."""
    try:
        return await kind.submit(self, signed)
    except ChainError:
        return signed.txid


async def _stops_while_reversible(kind, self, txid, unsigned=None):
    """The first confirmation is taken for the last word."""
    async for status in kind.stream_status(self, txid, unsigned):
        yield status
        if status.state is TransactionState.CONFIRMED:
            return


def _ignores_the_payer(kind, self, intent, metadata):
    return kind.build(self, replace(intent, fee_payer=None), metadata)


EXCLUDES_ALL = overriding(excludes=lambda kind, self, payload, other, chain: True)
EXCLUDES_NONE = overriding(excludes=lambda kind, self, payload, other, chain: False)

REPLACES = "test_replacement_pays_once_for_a_higher_fee"
CANCELS = "test_cancellation_moves_nothing"
IMPORTS = "test_imported_payloads_are_what_was_asked_for"
EVENTS = "test_deposits_are_told_and_streams_resume"
CLAIMS = "test_claims_are_those_of_the_codec"

DEFECTS = {
    "replaces by paying again": Defect(REPLACES, overriding(build_replacement=_fresh_payment)),
    "replaces for the same fee": Defect(REPLACES, overriding(build_replacement=_same_fee)),
    "replaces whatever is named": Defect(REPLACES, overriding(build_replacement=_any_replacement)),
    "cannot show what it replaces": Defect(REPLACES, codec=EXCLUDES_NONE),
    "replaces without saying so": Defect(REPLACES, claiming(drop=("replace",))),
    "cancels in words alone": Defect(CANCELS, overriding(build_cancellation=_cancels_by_paying)),
    "cancels without saying so": Defect(CANCELS, claiming(drop=("cancel",))),
    "excludes every other payment": Defect("test_other_payments_are_not_excluded", codec=EXCLUDES_ALL),
    "imports anything": Defect(IMPORTS, overriding(import_transfer=_imports_anything)),
    "imports without saying so": Defect(IMPORTS, claiming(drop=("import",))),
    "keeps what it imported": Defect(
        "test_discarded_imports_hold_nothing", overriding(import_transfer=_imports_for_itself)
    ),
    "lets anybody pay": Defect("test_another_account_pays_the_fee", codec=overriding(build=_ignores_the_payer)),
    "says that others may pay": Defect("test_another_account_pays_the_fee", claiming(add=("fee_payer",))),
    "tells nothing": Defect(EVENTS, overriding(stream_events=_no_events)),
    "forgets the cursor": Defect(EVENTS, overriding(stream_events=_forgets_the_cursor)),
    "streams without saying so": Defect(EVENTS, claiming(drop=("stream_events",))),
    "tells deposits alone": Defect("test_payments_are_told_for_both_sides", overriding(stream_events=_deposits_alone)),
    "watches anything": Defect("test_event_streams_can_be_left", overriding(stream_events=_watches_anything)),
    "never takes back": Defect("test_dropped_deposits_are_taken_back", overriding(stream_events=_never_takes_back)),
    "says that it knows documents": Defect(CLAIMS, claiming(add=("typed_data",))),
    "has messages without saying so": Defect(CLAIMS, claiming(drop=("message",))),
    "has memos without saying so": Defect(CLAIMS, claiming(drop=("memo",))),
    "has no word for empty accounts": Defect("test_funds_are_spent_once", overriding(submit=_says_it_is_unknown)),
    "takes any fee": Defect("test_fees_have_bounds", overriding(build_transfer=_takes_any_fee)),
    "ignores settings": Defect("test_unknown_settings_are_refused", overriding(__init__=_ignores_settings)),
    "repeats settings": Defect("test_unknown_settings_are_refused", overriding(__init__=_repeats_settings)),
    "keeps refusals quiet": Defect("test_what_a_node_refuses_is_refused_for_good", overriding(submit=_waits_for_ever)),
    "takes a lost answer for a no": Defect(
        "test_lost_answers_are_no_licence_to_pay_again", overriding(submit=_says_it_failed)
    ),
    "takes a reversible state for the end": Defect(
        "test_stream_tells_every_change_and_ends", overriding(stream_status=_stops_while_reversible)
    ),
    "does not see dropped blocks": Defect(
        "test_dropped_blocks_lead_back_and_forward_again", overriding(get_status=_remembers_the_best)
    ),
}


@pytest.fixture
async def make_target(plugin, ledger_url):
    """A target whose codec and adapter have a defect."""
    targets = plugin.module("targets")
    made: list[Any] = []
    async with aiohttp.ClientSession() as http:

        def make(name: str, defect: Defect) -> Any:
            honest = plugin.module("keyquorum_toy.adapter").ToyAdapter
            codec = defect.codec(honest.codec)
            adapter = defect.adapter(type("WithCodec", (honest,), {"codec": codec}))

            class Target(targets.ToyChainTarget):
                async def configured(self, signer, changes) -> ChainAdapter:
                    config = {**self.config, **changes}
                    context = local_context(self.chain, signer, self._http, config, reservations=self.reservations)
                    return adapter(context)

            Target.codec = codec()
            target = Target(name, ledger_url, http)
            made.append(target)
            return target

        yield make
        for target in made:
            await target.close()


@pytest.mark.parametrize("name", DEFECTS)
async def test_defect_is_caught(make_target, name):
    """By the test that is named for it."""
    defect = DEFECTS[name]
    with pytest.raises((AssertionError, ChainError, TimeoutError)):
        async with asyncio.timeout(DEFECT_S):
            await getattr(AdapterConformance(), defect.test)(make_target(name, defect))


async def test_nothing_is_caught_where_nothing_is_wrong(make_target):
    """A defect's test passes without the defect, with the same target and patience."""
    for test in sorted({defect.test for defect in DEFECTS.values()}):
        async with asyncio.timeout(PATIENCE_S):
            await getattr(AdapterConformance(), test)(make_target(test, Defect(test)))


def test_every_property_is_shown_to_work():
    """A test that is added to the suite needs a defect that it catches; those of transfers have theirs on Solana."""
    suite = {name for name in dir(AdapterConformance) if name.startswith("test_")}
    transfers = {name for name in dir(TransferConformance) if name.startswith("test_")}
    assert suite - transfers == {defect.test for defect in DEFECTS.values()} - transfers
