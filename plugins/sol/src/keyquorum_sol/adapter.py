"""The online half: balances, building, submitting and following transfers on one cluster."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence

from solders.signature import Signature

from keyquorum_plugin_api.chain import (
    Balance,
    ChainAdapter,
    ChainContext,
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
)
from keyquorum_sol import network
from keyquorum_sol.addresses import parse_destination
from keyquorum_sol.broadcast import Broadcaster
from keyquorum_sol.codec import LAST_VALID_BLOCK_HEIGHT, SolanaCodec
from keyquorum_sol.config import parse_config
from keyquorum_sol.drafts import Drafter
from keyquorum_sol.feed import SignatureFeed
from keyquorum_sol.node import SolanaNode
from keyquorum_sol.panics import containing_panics
from keyquorum_sol.reserved import MessageReservations
from keyquorum_sol.rpc import JsonRpc
from keyquorum_sol.status import SETTLED, StatusReader
from keyquorum_sol.submission import Submission, Submitter, Validity

HEIGHTS_MAX = 50_000  # last valid heights that are remembered, of blockhashes given out and of ids submitted
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
        rpc = JsonRpc(
            context.http,
            config.rpc_url,
            timeout_s=config.request_timeout_s,
            response_bytes_max=config.response_bytes_max,
        )
        self._node = SolanaNode(rpc, config, self._chain, context.clock)
        self._drafter = Drafter(self._node, config)
        self._reservations = MessageReservations(context.reservations, self._chain)
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
        self._last_valid: OrderedDict[str, int] = OrderedDict()  # blockhash or txid -> last valid block height

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
            capabilities=frozenset({"transfer", "memo", "message", "stream_status"}),
        )

    async def close(self) -> None:
        """Stop rebroadcasting and listening. What was submitted stays submitted."""
        await self._broadcaster.close()
        await self._feed.close()

    async def health(self) -> Mapping[str, str]:
        """Genesis hash, version, slot and block height."""
        return await self._node.health()

    async def get_balances(self, address: str, assets: Sequence[str] = ()) -> tuple[Balance, ...]:
        """Lamports; 0 for an account that does not exist."""
        parse_destination(address)
        for asset in assets:
            network.require_native(asset, self._chain)
        lamports = await self._node.balance(address)
        return (Balance(network.native_asset(self._chain), lamports, network.DECIMALS, network.SYMBOL),)

    async def build_transfer(self, intent: TransferIntent, options: Mapping[str, str]) -> UnsignedTransaction:
        """Build a transfer that no other one equals.

        ``options`` knows ``compute_unit_price`` (micro-lamports per unit, decimal), which is offered instead of the
        percentile; the ceiling holds for it, too.
        """
        self._require_chain(intent.chain)
        draft = await self._drafter.draft(intent, options)
        for extra_units in range(SAME_MESSAGE_MAX):
            unsigned = self.codec().build(intent, draft.metadata(extra_units))
            if await self._reservations.reserve(unsigned):
                self._remember(draft.blockhash, draft.last_valid_block_height)
                return unsigned
        raise NonceConflict("too many equal transfers at a time: wait a second for the next blockhash")

    async def discard(self, unsigned: UnsignedTransaction) -> None:
        """Release the message."""
        await self._reservations.release(unsigned)

    async def sign(self, unsigned: UnsignedTransaction) -> SignedTransaction:
        """Sign, unless too few blocks are left for a ceremony and the submission after it."""
        last_valid = unsigned.expires.get(LAST_VALID_BLOCK_HEIGHT)
        if last_valid is not None:
            left = last_valid - (await self._node.epoch_info()).block_height
            if left < self._config.expiry_margin_blocks:
                raise Expired(f"{max(left, 0)} blocks are left to sign and submit in; build the transaction again")
        return await super().sign(unsigned)

    async def submit(self, signed: SignedTransaction) -> str:
        """Submit, and keep sending the same bytes until they are settled or expired; see :mod:`.submission`."""
        self._require_chain(signed.chain)
        submission = Submission.parse(signed.raw, signed.txid)
        validity = await self._validity(submission)
        last_valid = None if validity is None else validity.last_block_height
        try:
            await self._submitter.submit(submission, validity, sent_before=self._broadcaster.follows(submission.txid))
        except OutcomeUnknown:
            self._broadcaster.add(submission.txid, submission.raw, last_valid)
            raise
        self._broadcaster.add(submission.txid, submission.raw, last_valid)
        return submission.txid

    async def get_status(self, txid: str, unsigned: UnsignedTransaction | None = None) -> TransactionStatus:
        """The status at the configured commitment. Expiry can be told with ``unsigned``, or of what was submitted here."""
        _require_txid(txid)
        last_valid = unsigned.expires.get(LAST_VALID_BLOCK_HEIGHT) if unsigned is not None else None
        if last_valid is None:
            last_valid = self._last_valid.get(txid)
        return await self._statuses.read(txid, last_valid, submitted=self._broadcaster.follows(txid))

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

    async def _pause(self, changed: asyncio.Event) -> None:
        """Wait until something may have changed."""
        waits = {
            asyncio.ensure_future(changed.wait()),
            asyncio.ensure_future(self.context.clock.sleep(self._config.poll_interval_s)),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _validity(self, submission: Submission) -> Validity | None:
        """Until when the transaction may be included: known if it was built here, bounded from its first sight if not."""
        if not submission.may_expire:
            return None
        built = self._last_valid.get(submission.blockhash)
        if built is not None:
            self._remember(submission.txid, built)
            return Validity(built)
        bound = self._last_valid.get(submission.txid)
        if bound is None:
            bound = Validity.bounded((await self._node.epoch_info()).block_height).last_block_height
            self._remember(submission.txid, bound)
        return Validity(bound, exact=False)

    def _remember(self, key: str, last_valid_block_height: int) -> None:
        self._last_valid[key] = last_valid_block_height
        self._last_valid.move_to_end(key)
        if len(self._last_valid) > HEIGHTS_MAX:
            self._last_valid.popitem(last=False)

    def _require_chain(self, chain: str) -> None:
        if chain != self._chain:
            raise Unsupported("this adapter serves another cluster")


def _require_txid(txid: str) -> None:
    with containing_panics(InvalidPayload("a transaction id is 64 bytes in base58")):
        Signature.from_string(txid)
