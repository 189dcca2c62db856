"""The online half: balances, building, submitting and following transactions on one chain."""

import re
from collections.abc import AsyncIterator, Mapping, Sequence

from keyquorum_eth import network
from keyquorum_eth.addresses import checksummed, parse_address
from keyquorum_eth.builder import Builder
from keyquorum_eth.codec import EthereumCodec, transaction_of
from keyquorum_eth.config import parse_config
from keyquorum_eth.events import EventReader
from keyquorum_eth.fees import FeeOracle
from keyquorum_eth.gas import GasEstimator
from keyquorum_eth.heads import Heads
from keyquorum_eth.ledger import Cost
from keyquorum_eth.node import EthereumNode
from keyquorum_eth.nonces import NonceAllocator
from keyquorum_eth.rpc import JsonRpc
from keyquorum_eth.status import StatusReader
from keyquorum_eth.submission import Submission, Submitter
from keyquorum_eth.tokens import Tokens
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
from keyquorum_plugin_api.errors import (
    ChainError,
    ChainUnavailable,
    InvalidPayload,
    NonceConflict,
    OutcomeUnknown,
    Unsupported,
    UnsupportedAsset,
)

ASSETS_MAX = 256  # balances that can be asked for at a time
SILENCE_S_MAX = 3600.0  # that a stream follows a hash no node knows
OUTAGE_S_MAX = 60.0  # that a stream outlives its node
FINAL = frozenset({TransactionState.CONFIRMED, TransactionState.FAILED, TransactionState.EXPIRED})
_TXID = re.compile(r"0x[0-9a-f]{64}")


class EthereumAdapter(ChainAdapter):
    """One chain. ``context.config`` is described by :class:`~keyquorum_eth.config.EthereumConfig`."""

    codec = EthereumCodec

    def __init__(self, context: ChainContext) -> None:
        super().__init__(context)
        network.chain_id_of(context.chain)
        self._chain = context.chain
        self._config = config = parse_config(context.config)
        rpc = JsonRpc(
            context.http,
            config.rpc_url,
            timeout_s=config.request_timeout_s,
            response_bytes_max=config.response_bytes_max,
        )
        clock, age_s_max = context.clock, config.poll_interval_s
        self._node = EthereumNode(rpc, self._chain, clock, config.final_confirmations)
        self._heads = Heads(self._node, context.http, config.ws_url, clock, context.log, age_s_max=age_s_max)
        self._tokens = Tokens(rpc, self._node)
        self._nonces = NonceAllocator(
            self._node, self._heads, context.reservations, clock, self._chain, age_s_max=age_s_max
        )
        fees, gas = FeeOracle(self._node, config), GasEstimator(self._node, config.gas_margin_percent)
        self._builder = Builder(self._heads, fees, gas, self._tokens, self._nonces)
        self._submitter = Submitter(self._node)
        self._statuses = StatusReader(self._node, config)
        self._events = EventReader(self._node, self._heads, clock, self._chain, config.tokens)

    def info(self) -> ChainInfo:
        """The chain."""
        known = network.NETWORKS.get(self._chain)
        return ChainInfo(
            chain=self._chain,
            name=self._config.name or (known.name if known else "Ethereum (private network)"),
            native_asset=network.native_asset(self._chain),
            symbol=network.SYMBOL,
            decimals=network.DECIMALS,
            aliases=(*(known.aliases if known else ()), *self._config.aliases),
            capabilities=frozenset(
                {"transfer", "message", "typed_data", "stream_status", "stream_events", "replace", "cancel"}
            ),
        )

    async def close(self) -> None:
        """Stop listening. What was submitted stays submitted."""
        await self._heads.close()

    async def health(self) -> Mapping[str, str]:
        """Chain id, version, and the latest block."""
        return await self._node.health()

    async def get_balances(self, address: str, assets: Sequence[str] = ()) -> tuple[Balance, ...]:
        """Wei and the configured tokens, or the named assets in their order.

        A configured token that does not answer is left out and logged; a named one is :class:`UnsupportedAsset`.
        """
        owner = checksummed(parse_address(address))
        if len(assets) > ASSETS_MAX:
            raise Unsupported(f"at most {ASSETS_MAX} balances can be asked for at a time")
        named: list[bytes | None] = [network.parse_asset(asset, self._chain) for asset in assets]
        wanted = named or [None, *map(parse_address, self._config.tokens)]
        contracts = [contract for contract in dict.fromkeys(wanted) if contract is not None]
        wei, amounts = await self._tokens.balances(owner, contracts)
        held = dict(zip(contracts, amounts, strict=True))
        found = []
        for contract in wanted:
            try:
                found.append(await self._balance(contract, wei if contract is None else held[contract]))
            except UnsupportedAsset as error:
                if named:
                    raise
                self.context.log.warning("ethereum.token_unreadable", reason=error.detail)
        return tuple(found)

    async def _balance(self, contract: bytes | None, amount: int | None) -> Balance:
        if amount is None:
            raise UnsupportedAsset("the contract does not answer as an ERC-20 token does")
        if contract is None:
            return Balance(network.native_asset(self._chain), amount, network.DECIMALS, network.SYMBOL)
        token = await self._tokens.token(contract)
        return Balance(network.token_asset(self._chain, contract), amount, token.decimals, token.symbol)

    async def build_transfer(self, intent: TransferIntent, options: Mapping[str, str]) -> UnsignedTransaction:
        """Build a transfer with a nonce of its own; see :mod:`.builder`.

        ``options`` knows ``gas_limit``, ``max_fee_per_gas`` and ``max_priority_fee_per_gas`` (wei), decimal; ceilings hold for
        them, too.
        """
        self._require_chain(intent.chain)
        return await self._builder.transfer(intent, options)

    async def build_replacement(
        self, intent: TransferIntent, replaced: UnsignedTransaction, options: Mapping[str, str]
    ) -> UnsignedTransaction:
        """The same transfer under the same nonce, with both fees raised by an eighth at least."""
        self._require_chain(intent.chain)
        self._require_chain(replaced.chain)
        return await self._builder.replacement(intent, replaced, options)

    async def build_cancellation(
        self, source: SignerAccount, replaced: UnsignedTransaction, options: Mapping[str, str]
    ) -> UnsignedTransaction:
        """A transfer of nothing from the account to itself under the same nonce, with both fees raised."""
        self._require_chain(replaced.chain)
        return await self._builder.cancellation(source, replaced, options)

    async def discard(self, unsigned: UnsignedTransaction) -> None:
        """Free the nonce, unless the transaction was sent; the next build takes it."""
        self._require_chain(unsigned.chain)
        transaction, signer = transaction_of(unsigned)
        await self._nonces.give_back(checksummed(signer), transaction.nonce, unsigned.payload)

    async def submit(self, signed: SignedTransaction) -> str:
        """Submit bytes whose nonce is theirs; see :mod:`.submission`."""
        self._require_chain(signed.chain)
        submission = Submission.parse(signed)
        try:
            claim = await self._nonces.claim(
                submission.account, submission.transaction.nonce, submission.payload, Cost.of(submission.transaction)
            )
        except NonceConflict:
            if await self._submitter.knows(submission):
                return submission.txid
            raise
        try:
            await self._submitter.submit(submission, replaces=claim.replaces)
        except OutcomeUnknown:
            claim.sent()
            raise
        except ChainUnavailable:
            await claim.not_sent()
            raise
        except ChainError:
            await claim.refused()
            raise
        claim.sent()
        return submission.txid

    async def get_status(self, txid: str, unsigned: UnsignedTransaction | None = None) -> TransactionStatus:
        """The status at the configured depths; with ``unsigned``, whether another transaction took its nonce for good."""
        if not isinstance(txid, str) or not _TXID.fullmatch(txid):
            raise InvalidPayload("a transaction hash is 0x and 64 lower-case hexadecimal digits")
        signer = None
        if unsigned is not None:
            transaction, address = transaction_of(unsigned)
            signer = (checksummed(address), transaction.nonce)
        return await self._statuses.read(txid, signer)

    async def stream_status(
        self, txid: str, unsigned: UnsignedTransaction | None = None
    ) -> AsyncIterator[TransactionStatus]:
        """Every change, looked for with every block and at every poll; ends with a status that nothing takes back.

        What was submitted here and forgotten by the node (a reorganisation, a full pool) is sent to it again, the same
        bytes. The stream also ends for a hash that no node knows for an hour, and with ChainUnavailable if the node stays away.
        """
        clock = self.context.clock
        told: tuple[TransactionState, str, str, bool] | None = None
        heard = known = clock.monotonic()
        async with self._heads.watch() as changed:
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
                    news = (status.state, status.block, status.detail, status.reversible)
                    if news != told:
                        told = news
                        yield status
                    if status.state in FINAL and not status.reversible:
                        return
                    if status.state is not TransactionState.UNKNOWN:
                        known = now
                    elif now - known > SILENCE_S_MAX:
                        return
                    else:
                        await self._submitter.again(txid)
                await self._heads.pause(changed)

    def stream_events(self, addresses: Sequence[str], cursor: str = "") -> AsyncIterator[ChainEvent]:
        """Coins and configured tokens; see :mod:`.events`."""
        return self._events.stream(addresses, cursor)

    def _require_chain(self, chain: str) -> None:
        if chain != self._chain:
            raise Unsupported("this adapter serves another chain")
