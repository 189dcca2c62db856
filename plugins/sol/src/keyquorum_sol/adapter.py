"""The online half: balances, building, submitting and following transfers on one cluster."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence

from solders.pubkey import Pubkey
from solders.signature import Signature

from keyquorum_plugin_api.chain import (
    Balance,
    ChainAdapter,
    ChainContext,
    ChainEvent,
    ChainInfo,
    TransactionState,
    TransactionStatus,
)
from keyquorum_plugin_api.codec import SignedTransaction, TransferIntent, UnsignedTransaction
from keyquorum_plugin_api.errors import (
    ChainUnavailable,
    Expired,
    InvalidPayload,
    NonceConflict,
    OutcomeUnknown,
    Unsupported,
    UnsupportedAsset,
)
from keyquorum_sol import network
from keyquorum_sol.addresses import parse_address, parse_destination
from keyquorum_sol.broadcast import Broadcaster
from keyquorum_sol.codec import SolanaCodec
from keyquorum_sol.config import parse_config
from keyquorum_sol.drafts import Drafter
from keyquorum_sol.events import EventReader
from keyquorum_sol.feed import SignatureFeed
from keyquorum_sol.holdings import read_holdings
from keyquorum_sol.lifetimes import Lifetime, UntilHeight, UntilNonceAdvances, lifetime_of, stored_nonce
from keyquorum_sol.messages import is_message
from keyquorum_sol.node import SolanaNode
from keyquorum_sol.options import Options
from keyquorum_sol.panics import containing_panics
from keyquorum_sol.reserved import PayloadReservations, nonce_item
from keyquorum_sol.rpc import JsonRpc
from keyquorum_sol.status import SETTLED, StatusReader
from keyquorum_sol.submission import Submission, Submitter
from keyquorum_sol.transfers import Transfer

LIFETIMES_MAX = 50_000  # that are remembered, of blockhashes and nonces given out and of ids submitted
ASSETS_MAX = 64  # whose balances are read in one call
WATCHED_ADDRESSES_MAX = 100  # of one stream of events
SAME_MESSAGE_MAX = 64  # equal transfers under one blockhash
SILENCE_S_MAX = 180.0  # that a stream follows an id no node knows; every recent blockhash has expired by then
OUTAGE_S_MAX = 60.0  # that a stream outlives its node
FINAL = frozenset({TransactionState.CONFIRMED, TransactionState.FAILED, TransactionState.EXPIRED})


class SolanaAdapter(ChainAdapter):
    """One cluster. ``context.config`` is described by :class:`~keyquorum_sol.config.SolanaConfig`."""

    codec = SolanaCodec

    def __init__(self, context: ChainContext) -> None:
        super().__init__(context)
        self._chain = network.require_chain(context.chain)
        self._config = config = parse_config(context.config)
        self._rpc = rpc = JsonRpc(
            context.http,
            config.rpc_url,
            timeout_s=config.request_timeout_s,
            response_bytes_max=config.response_bytes_max,
            batch_max=config.rpc_batch_max,
        )
        self._node = SolanaNode(rpc, config, self._chain, context.clock)
        self._drafter = Drafter(self._node, config, context.clock)
        self._reservations = PayloadReservations(context.reservations, self._chain)
        self._submitter = Submitter(self._node)
        self._statuses = StatusReader(self._node, config.commitment)
        self._feed = SignatureFeed(
            context.http, config.ws_url, context.clock, context.log, commitment=config.commitment
        )
        self._broadcaster = Broadcaster(
            self._node,
            context.clock,
            context.log,
            interval_s=config.rebroadcast_interval_s,
            settled=SETTLED[config.commitment],
        )
        self._events = EventReader(self._node, context.log, tuple(config.tokens))
        self._lifetimes: OrderedDict[str, Lifetime] = OrderedDict()  # by blockhash, nonce or txid

    def info(self) -> ChainInfo:
        """The cluster."""
        cluster = network.CLUSTERS.get(self._chain)
        return ChainInfo(
            chain=self._chain,
            name=self._config.name or (cluster.name if cluster else "Solana (private cluster)"),
            native_asset=network.native_asset(self._chain),
            symbol=network.SYMBOL,
            decimals=network.DECIMALS,
            aliases=(*(cluster.aliases if cluster else ()), *self._config.aliases),
            capabilities=frozenset({"transfer", "memo", "message", "stream_status", "stream_events", "fee_payer"}),
        )

    async def close(self) -> None:
        """Stop rebroadcasting and listening. What was submitted stays submitted."""
        await self._broadcaster.close()
        await self._feed.close()
        await self._node.close()
        await self._rpc.close()

    async def health(self) -> Mapping[str, str]:
        """Genesis hash, version, slot and block height."""
        return await self._node.health()

    async def get_balances(self, address: str, assets: Sequence[str] = ()) -> tuple[Balance, ...]:
        """Lamports and configured tokens, or the assets named; 0 for an account that does not exist.

        Tokens are those in the owner's associated account, which is where transfers are made from.
        """
        owner = parse_destination(address)
        native = network.native_asset(self._chain)
        listed = [network.token_asset(self._chain, parse_address(mint)) for mint in self._config.tokens]
        wanted = list(dict.fromkeys(assets)) or [native, *listed]
        if len(wanted) > ASSETS_MAX:
            raise UnsupportedAsset(f"at most {ASSETS_MAX} assets at a time")
        mints = [network.parse_asset(asset, self._chain) for asset in wanted]
        try:
            async with asyncio.TaskGroup() as together:
                reads = [together.create_task(self._balance(owner, mint)) for mint in mints]
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return tuple(read.result() for read in reads)

    async def _balance(self, owner: Pubkey, mint: Pubkey | None) -> Balance:
        if mint is None:
            lamports = await self._node.balance(str(owner))
            return Balance(network.native_asset(self._chain), lamports, network.DECIMALS, network.SYMBOL)
        holdings = await read_holdings(self._node, mint, owner)
        (held,) = holdings.accounts
        amount = held.amount if held is not None and held.owner == owner else 0
        symbol = self._config.tokens.get(str(mint)) or f"{str(mint)[:4]}…{str(mint)[-4:]}"
        return Balance(network.token_asset(self._chain, mint), amount, holdings.mint.decimals, symbol)

    async def build_transfer(self, intent: TransferIntent, options: Mapping[str, str]) -> UnsignedTransaction:
        """Build a transfer that no other one equals.

        ``options`` knows ``compute_unit_price`` (micro-lamports per unit, decimal), which is offered instead of the
        percentile, under the same ceiling; ``durable_nonce``, a nonce account of the source whose value is named instead
        of a recent blockhash; and ``create_nonce``, the seed of a nonce account that the amount makes, at the destination.
        """
        self._require_chain(intent.chain)
        draft = await self._drafter.draft(intent, Options.parse(options))
        for extra_units in range(SAME_MESSAGE_MAX):
            unsigned = self.codec().build(intent, draft.metadata(extra_units))
            if await self._reservations.reserve(unsigned, intent.source.address, draft.nonce):
                if (lifetime := lifetime_of(unsigned)) is not None:
                    self._remember(draft.blockhash, lifetime)
                return unsigned
            if draft.nonce is not None:
                raise NonceConflict("another transaction that is not settled yet uses the nonce account")
        raise NonceConflict("too many equal transfers at a time: wait a second for the next blockhash")

    async def discard(self, unsigned: UnsignedTransaction) -> None:
        """Release the message or the nonce."""
        if not is_message(unsigned.payload):
            found = Transfer.decode(unsigned.payload)
            nonce = None if found.nonce_account is None else nonce_item(found.nonce_account, found.blockhash)
            await self._reservations.release(unsigned, str(found.source), nonce)

    async def sign(self, unsigned: UnsignedTransaction) -> SignedTransaction:
        """Sign, unless too few blocks are left for a ceremony and the submission after it, or the nonce has moved on.

        Expired is raised before anything is signed, and after what was reserved was given back: building again, with
        another blockhash, is safe.
        """
        stale = await self._staleness(lifetime_of(unsigned))
        if stale:
            await self.discard(unsigned)
            raise Expired(f"{stale}; build the transaction again")
        return await super().sign(unsigned)

    async def _staleness(self, lifetime: Lifetime | None) -> str:
        """Why it is too late to begin to sign; empty where it is not."""
        if isinstance(lifetime, UntilHeight):
            left = lifetime.last_block_height - (await self._node.epoch_info()).block_height
            return (
                ""
                if left >= self._config.expiry_margin_blocks
                else f"{max(left, 0)} blocks are left to sign and submit in"
            )
        if isinstance(lifetime, UntilNonceAdvances):
            slot, stored = await stored_nonce(self._node, lifetime.account)
            moved = slot >= lifetime.slot and (stored is None or stored.value != lifetime.value)
            return f"the nonce account {lifetime.account} has moved on" if moved else ""
        return ""

    async def submit(self, signed: SignedTransaction) -> str:
        """Submit, and keep sending the same bytes until they are settled or expired; see :mod:`.submission`."""
        self._require_chain(signed.chain)
        submission = Submission.parse(signed.raw, signed.txid)
        lifetime = await self._lifetime(submission)
        height = lifetime.last_block_height if isinstance(lifetime, UntilHeight) else None
        try:
            await self._submitter.submit(submission, lifetime, sent_before=self._broadcaster.follows(submission.txid))
        except OutcomeUnknown:
            self._broadcaster.add(submission.txid, submission.raw, height)
            raise
        self._broadcaster.add(submission.txid, submission.raw, height)
        return submission.txid

    async def get_status(self, txid: str, unsigned: UnsignedTransaction | None = None) -> TransactionStatus:
        """The status at the configured commitment. Expiry can be told with ``unsigned``, or of what was submitted here."""
        _require_txid(txid)
        lifetime = (lifetime_of(unsigned) if unsigned is not None else None) or self._lifetimes.get(txid)
        return await self._statuses.read(txid, lifetime, submitted=self._broadcaster.follows(txid))

    async def stream_status(
        self, txid: str, unsigned: UnsignedTransaction | None = None
    ) -> AsyncIterator[TransactionStatus]:
        """Every change of state, woken by the websocket and by polling; ends with a final state.

        It also ends for an id that no node knows for longer than any blockhash lives, and with ChainUnavailable if the
        node stays away.
        """
        clock = self.context.clock
        told: tuple[TransactionState, str, str] | None = None
        heard = known = clock.monotonic()
        async with self._feed.watch(txid) as changed:
            while True:
                changed.clear()
                now = clock.monotonic()
                try:
                    status = await self.get_status(txid, unsigned)
                except ChainUnavailable:
                    if now - heard > OUTAGE_S_MAX:
                        raise
                else:
                    heard = now
                    news = (status.state, status.block, status.detail)
                    if news != told:
                        told = news
                        yield status
                    if status.state in FINAL:
                        return
                    if status.state is not TransactionState.UNKNOWN:
                        known = now
                    elif now - known > SILENCE_S_MAX:
                        return
                await self._pause(changed)

    async def stream_events(self, addresses: Sequence[str], cursor: str = "") -> AsyncIterator[ChainEvent]:
        """What reaches and leaves the addresses in finalized blocks; see :mod:`.events`. Nothing is ever taken back."""
        watched = [parse_address(address) for address in dict.fromkeys(addresses)]
        if len(watched) > WATCHED_ADDRESSES_MAX:
            raise Unsupported(f"at most {WATCHED_ADDRESSES_MAX} addresses in one stream")
        clock, heard = self.context.clock, self.context.clock.monotonic()
        stream = self._events.open(self._chain, watched, cursor)
        while True:
            try:
                events = await stream.poll()
            except ChainUnavailable:
                if clock.monotonic() - heard > OUTAGE_S_MAX:
                    raise
            else:
                heard = clock.monotonic()
                for event in events:
                    yield event
            await clock.sleep(self._config.event_poll_interval_s)

    async def _pause(self, changed: asyncio.Event) -> None:
        """Wait until something may have changed."""

        def wake(_: object) -> None:
            changed.set()

        poll = asyncio.ensure_future(self.context.clock.sleep(self._config.poll_interval_s))
        poll.add_done_callback(wake)
        try:
            await changed.wait()
        finally:
            poll.remove_done_callback(wake)
            poll.cancel()

    async def _lifetime(self, submission: Submission) -> Lifetime | None:
        """Until when the transaction may be included: known if it was built here, learnt from its first sight if not."""
        known = self._lifetimes.get(submission.blockhash) or self._lifetimes.get(submission.txid)
        if known is None and not submission.uses_nonce:
            known = UntilHeight.bounded((await self._node.epoch_info()).block_height)
        elif known is None and (account := submission.nonce_account) is not None:
            slot, stored = await stored_nonce(self._node, account)
            if stored is not None and str(stored.value) == submission.blockhash:
                known = UntilNonceAdvances(account, stored.value, slot)
        if known is not None:
            self._remember(submission.txid, known)
        return known

    def _remember(self, key: str, lifetime: Lifetime) -> None:
        self._lifetimes[key] = lifetime
        self._lifetimes.move_to_end(key)
        if len(self._lifetimes) > LIFETIMES_MAX:
            self._lifetimes.popitem(last=False)

    def _require_chain(self, chain: str) -> None:
        if chain != self._chain:
            raise Unsupported("this adapter serves another cluster")


def _require_txid(txid: str) -> None:
    with containing_panics(InvalidPayload("a transaction id is 64 bytes in base58")):
        Signature.from_string(txid)
