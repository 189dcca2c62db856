"""The online half: balances, building, submitting and following transactions on one network."""

from collections.abc import AsyncIterator, Mapping, Sequence

from keyquorum_btc.bitcoind import BitcoindNode
from keyquorum_btc.broadcast import Broadcaster
from keyquorum_btc.builder import Builder
from keyquorum_btc.codec import BitcoinCodec
from keyquorum_btc.config import BitcoinConfig, parse_config
from keyquorum_btc.crosscheck import Crosscheck
from keyquorum_btc.esplora import EsploraNode
from keyquorum_btc.events import ADDRESSES_MAX, EventStream
from keyquorum_btc.fees import FEE_RATE_OPTION, FeeRates
from keyquorum_btc.funds import FundsReader
from keyquorum_btc.jsonrpc import Credentials, JsonRpc
from keyquorum_btc.messages import is_message
from keyquorum_btc.network import DECIMALS, require_native, require_network
from keyquorum_btc.node import BitcoinNode, BlockRef, Outpoint
from keyquorum_btc.nodes import Nodes
from keyquorum_btc.options import BUMP_OPTION, COINS_OPTION, Options
from keyquorum_btc.psbt import read
from keyquorum_btc.replacement import MempoolFamilies
from keyquorum_btc.reserved import CoinReservations
from keyquorum_btc.scripts import canonical_address, parse_destination
from keyquorum_btc.status import StatusReader, require_txid
from keyquorum_btc.submission import Submission, Submitter
from keyquorum_btc.transport import Transport
from keyquorum_plugin_api.chain import (
    Balance,
    ChainAdapter,
    ChainContext,
    ChainEvent,
    ChainInfo,
    TransactionState,
    TransactionStatus,
)
from keyquorum_plugin_api.codec import SignedTransaction, SignerAccount, TransferIntent, UnsignedTransaction
from keyquorum_plugin_api.errors import ChainError, ChainUnavailable, InvalidAddress, OutcomeUnknown, Unsupported

CAPABILITIES = frozenset(
    {"transfer", "memo", "message", "stream_status", "stream_events", "replace", "cancel", "import"}
)
SILENCE_S_MAX = 900.0  # that a stream follows an id that no node knows and that was not built here
OUTAGE_S_MAX = 60.0  # that a stream outlives its node
LOOK_S = 30.0  # between looks at a transaction while no block comes


class BitcoinAdapter(ChainAdapter):
    """One network. ``context.config`` is described by :class:`~keyquorum_btc.config.BitcoinConfig`."""

    codec = BitcoinCodec

    def __init__(self, context: ChainContext) -> None:
        super().__init__(context)
        self._network = require_network(context.chain)
        self._chain = self._network.chain
        self._config = config = parse_config(context.config)
        self._nodes = Nodes(_clients(context, config), self._chain, context.clock)
        self._funds = FundsReader(self._nodes, self._chain, context.clock, max_age_s=config.coins_max_age_s)
        self._reservations = CoinReservations(context.reservations, self._chain)
        self._crosscheck = Crosscheck(self._chain)
        self._builder = Builder(
            self._chain,
            funds=self._funds,
            rates=FeeRates(self._nodes, config, context.clock, context.log),
            families=MempoolFamilies(self._nodes),
            reservations=self._reservations,
            crosscheck=self._crosscheck,
        )
        self._submitter = Submitter(self._nodes, final_confirmations=config.final_confirmations)
        self._statuses = StatusReader(
            self._nodes,
            self._submitter,
            confirmations=config.confirmations,
            final_confirmations=config.final_confirmations,
        )
        self._broadcaster = Broadcaster(
            self._nodes,
            self._submitter,
            context.clock,
            context.log,
            interval_s=config.rebroadcast_interval_s,
            final_confirmations=config.final_confirmations,
        )

    def info(self) -> ChainInfo:
        """The network."""
        return ChainInfo(
            chain=self._chain,
            name=self._config.name or self._network.name,
            native_asset=self._network.native_asset,
            symbol=self._network.symbol,
            decimals=DECIMALS,
            aliases=tuple(dict.fromkeys((*self._network.aliases, *self._config.aliases))),
            capabilities=CAPABILITIES,
        )

    async def start(self) -> None:
        """Import the second reader aside, so that no request waits for it."""
        await self._crosscheck.load()

    async def close(self) -> None:
        """Stop rebroadcasting. What was submitted stays submitted."""
        await self._broadcaster.close()

    async def health(self) -> Mapping[str, str]:
        """Genesis hash, version, height and hash of the tip."""
        return await self._nodes.health()

    async def get_balances(self, address: str, assets: Sequence[str] = ()) -> tuple[Balance, ...]:
        """Satoshi that the address holds according to blocks: what waits is neither counted nor deducted."""
        canonical = canonical_address(address, self._chain)
        for asset in assets:
            require_native(asset, self._chain)
        held = await self._funds.balance(canonical)
        return (Balance(self._network.native_asset, held, DECIMALS, self._network.symbol),)

    async def build_transfer(self, intent: TransferIntent, options: Mapping[str, str]) -> UnsignedTransaction:
        """Build a transfer from coins that nothing else is built to spend.

        ``options``: ``fee_rate`` (satoshi per virtual byte, decimal) instead of the estimate and under the same ceiling;
        ``coins`` (``txid:vout``, comma-separated) to spend exactly these; ``bump`` (``cpfp:<txid>``) to spend what a
        stuck transaction pays this account, too, and to pay for both.
        """
        return await self._builder.transfer(intent, Options.parse(options, FEE_RATE_OPTION, COINS_OPTION, BUMP_OPTION))

    async def build_replacement(
        self, intent: TransferIntent, replaced: UnsignedTransaction, options: Mapping[str, str]
    ) -> UnsignedTransaction:
        """The same transfer from the same coins, and more if the fee takes them (BIP125). ``options``: ``fee_rate``."""
        return await self._builder.replacement(intent, replaced, Options.parse(options, FEE_RATE_OPTION))

    async def build_cancellation(
        self, source: SignerAccount, replaced: UnsignedTransaction, options: Mapping[str, str]
    ) -> UnsignedTransaction:
        """The coins of ``replaced`` back to ``source`` (BIP125). ``options``: ``fee_rate``."""
        return await self._builder.cancellation(source, replaced, Options.parse(options, FEE_RATE_OPTION))

    async def build_child(self, source: SignerAccount, txid: str, options: Mapping[str, str]) -> UnsignedTransaction:
        """A transaction that returns to ``source`` what the stuck one ``txid``, incoming or our own, pays it, for a fee that
        lifts both to the rate (CPFP). Its effects are change and fee alone. ``options``: ``fee_rate``."""
        return await self._builder.child(source, require_txid(txid), Options.parse(options, FEE_RATE_OPTION))

    async def import_transfer(self, intent: TransferIntent, payload: bytes) -> UnsignedTransaction:
        """A PSBT (BIP174, version 0) that was made elsewhere."""
        return await self._builder.adopted(intent, payload)

    async def discard(self, unsigned: UnsignedTransaction) -> None:
        """Release the coins, but for those that belong to a transaction that this one was to replace."""
        if not is_message(unsigned.payload):
            await self._reservations.release(unsigned)

    async def sign(self, unsigned: UnsignedTransaction) -> SignedTransaction:
        """Sign, if the coins are still held for this payload, and hold them for as long as it may wait in mempools."""
        if not is_message(unsigned.payload):
            await self._reservations.extend(unsigned)
        return await super().sign(unsigned)

    async def submit(self, signed: SignedTransaction) -> str:
        """Submit, and keep sending the same bytes until they are buried or can never be; see :mod:`.submission`."""
        if signed.chain != self._chain:
            raise Unsupported("this adapter serves another network")
        submission = Submission.parse(signed.raw, signed.txid)
        first = await self._reservations.mark_sent(submission.txid)
        sent_before = not first or self._broadcaster.follows(submission.txid)
        try:
            await self._submitter.submit(submission, sent_before=sent_before)
        except OutcomeUnknown:
            self._broadcaster.add(submission)
            raise
        except ChainError:
            if not sent_before:
                await self._reservations.mark_unsent(submission.txid)
            raise
        self._broadcaster.add(submission)
        return submission.txid

    async def get_status(self, txid: str, unsigned: UnsignedTransaction | None = None) -> TransactionStatus:
        """The status by depth. Expiry can be told with ``unsigned``, or of what was submitted here."""
        return await self._status(require_txid(txid), unsigned)

    async def stream_status(
        self, txid: str, unsigned: UnsignedTransaction | None = None
    ) -> AsyncIterator[TransactionStatus]:
        """Every change until it is buried or can never be included.

        It also ends for an id that was not built here and that no node knows for a long time, and with ChainUnavailable if
        the nodes stay away.
        """
        clock = self.context.clock
        told: tuple[TransactionState, str, str, bool] | None = None
        heard = known = clock.monotonic()
        tip: BlockRef | None = None
        while True:
            now = clock.monotonic()
            try:
                tip = await self._nodes.tip(self._config.poll_interval_s / 2)
                status = await self._status(require_txid(txid), unsigned, self._config.poll_interval_s / 2)
            except ChainUnavailable:
                if now - heard > OUTAGE_S_MAX:
                    raise
                await clock.sleep(self._config.poll_interval_s)
                continue
            heard = now
            news = (status.state, status.block, status.detail, status.reversible)
            if news != told:
                told = news
                yield status
            if _is_final(status):
                return
            if status.state is not TransactionState.UNKNOWN or unsigned is not None:
                known = now
            elif now - known > SILENCE_S_MAX:
                return
            await self._pause(None if status.state is TransactionState.UNKNOWN else tip)

    async def stream_events(self, addresses: Sequence[str], cursor: str = "") -> AsyncIterator[ChainEvent]:
        """What blocks move to and from ``addresses``; see :mod:`.events`."""
        if not 0 < len(addresses) <= ADDRESSES_MAX:
            raise InvalidAddress(f"1 to {ADDRESSES_MAX} addresses can be watched")
        scripts = {parse_destination(address, self._chain): address for address in addresses}
        stream = EventStream(
            self._nodes, self.context.clock, self._chain, scripts, poll_interval_s=self._config.poll_interval_s
        )
        async for event in stream.follow(cursor):
            yield event

    async def _status(
        self, txid: str, unsigned: UnsignedTransaction | None, tip_age_s: float = 0.0
    ) -> TransactionStatus:
        spent = self._broadcaster.spends(txid)
        if unsigned is not None and not is_message(unsigned.payload):
            spend = read(unsigned.payload)
            if spend.txid == txid:
                spent = tuple(Outpoint(coin.txid, coin.vout) for coin in spend.coins)
            else:
                unsigned = None
        status = await self._statuses.read(txid, spent, submitted=self._broadcaster.follows(txid), tip_age_s=tip_age_s)
        if unsigned is not None and _is_final(status):
            await self._settle(status, unsigned)
        return status

    async def _settle(self, status: TransactionStatus, unsigned: UnsignedTransaction) -> None:
        """Spent coins need no reservation, and the coins of what can never be included are free."""
        if not unsigned.requests:
            return
        if status.state is TransactionState.EXPIRED:
            await self._reservations.release(unsigned)
        else:
            await self._reservations.settle(unsigned)
        self._funds.forget(unsigned.requests[0].signer)

    async def _pause(self, tip: BlockRef | None) -> None:
        """Wait until something may have changed: while a transaction waits or is buried, only a block changes it."""
        clock, interval_s = self.context.clock, self._config.poll_interval_s
        until = clock.monotonic() + (LOOK_S if tip is not None else 0.0)
        while True:
            await clock.sleep(interval_s)
            if clock.monotonic() >= until:
                return
            try:
                if await self._nodes.tip(interval_s / 2) != tip:
                    return
            except ChainUnavailable:
                return


def _is_final(status: TransactionStatus) -> bool:
    confirmed = status.state is TransactionState.CONFIRMED and not status.reversible
    return confirmed or status.state is TransactionState.EXPIRED


def _clients(context: ChainContext, config: BitcoinConfig) -> list[BitcoinNode]:
    def transport(url: str) -> Transport:
        return Transport(
            context.http,
            url,
            timeout_s=config.request_timeout_s,
            response_bytes_max=config.response_bytes_max,
        )

    clients: list[BitcoinNode] = []
    if config.esplora_url is not None:
        clients.append(EsploraNode(transport(config.esplora_url)))
    if config.bitcoind_url is not None:
        credentials = Credentials(config.bitcoind_user, config.bitcoind_password_file)
        clients.append(BitcoindNode(JsonRpc(transport(config.bitcoind_url), credentials)))
    return clients
