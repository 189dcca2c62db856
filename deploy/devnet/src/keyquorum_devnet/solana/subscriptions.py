"""Websocket subscriptions: signatures, slots and accounts.

Each connection polls its own subscriptions whenever the ledger changes. Changes that arrive while a slow client is being
written to are coalesced, so that nothing queues up: a client always gets the newest state and every signature once.
"""

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from aiohttp import WSMsgType, web
from solders.pubkey import Pubkey
from solders.signature import Signature

from keyquorum_devnet.solana.blocks import Commitment
from keyquorum_devnet.solana.faults import INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR, RpcFault, error_json
from keyquorum_devnet.solana.ledger import Ledger
from keyquorum_devnet.solana.params import Params
from keyquorum_devnet.solana.shapes import account_json, in_context

SUBSCRIPTIONS_MAX = 10_000  # per connection
HEARTBEAT_S = 30.0
_RANK = {Commitment.PROCESSED: 0, Commitment.CONFIRMED: 1, Commitment.FINALIZED: 2}


class Subscription(ABC):
    """Something that a client wants to hear about."""

    method: str
    once = False

    @abstractmethod
    def news(self, ledger: Ledger) -> Any:
        """What is new since the last call, or None."""


class SignatureSubscription(Subscription):
    """One notification, when a transaction has the commitment asked for."""

    method = "signatureNotification"
    once = True

    def __init__(self, _ledger: Ledger, params: Params) -> None:
        self._signature: Signature = params.signature(0)
        self._least = params.config(1).commitment()

    def news(self, ledger: Ledger) -> Any:
        record = ledger.record(self._signature)
        if record is None or _RANK[ledger.commitment_of(record)] < _RANK[self._least]:
            return None
        return in_context(ledger.blocks.at(self._least), {"err": error_json(record.outcome.error)})


class SlotSubscription(Subscription):
    """Every new slot."""

    method = "slotNotification"

    def __init__(self, ledger: Ledger, _params: Params) -> None:
        self._slot = ledger.blocks.tip.slot

    def news(self, ledger: Ledger) -> Any:
        slot = ledger.blocks.tip.slot
        if slot == self._slot:
            return None
        self._slot = slot
        return {"parent": slot - 1, "root": ledger.blocks.at(Commitment.FINALIZED).slot, "slot": slot}


class AccountSubscription(Subscription):
    """Every change of an account."""

    method = "accountNotification"

    def __init__(self, ledger: Ledger, params: Params) -> None:
        self._address: Pubkey = params.pubkey(0)
        config = params.config(1)
        self._encoding = config.choice("encoding", "base58", "base58", "base64", "jsonParsed")
        self._least = config.commitment()
        self._last = account_json(ledger.svm.get_account(self._address), self._encoding)

    def news(self, ledger: Ledger) -> Any:
        account = account_json(ledger.svm.get_account(self._address), self._encoding)
        if account == self._last:
            return None
        self._last = account
        return in_context(ledger.blocks.at(self._least), account or _NO_ACCOUNT)


_NO_ACCOUNT = {
    "data": ["", "base64"],
    "executable": False,
    "lamports": 0,
    "owner": str(Pubkey.default()),
    "rentEpoch": 0,
    "space": 0,
}
_SUBSCRIBE: dict[str, Callable[[Ledger, Params], Subscription]] = {
    "signatureSubscribe": SignatureSubscription,
    "slotSubscribe": SlotSubscription,
    "accountSubscribe": AccountSubscription,
}
_UNSUBSCRIBE: dict[str, type[Subscription]] = {
    "signatureUnsubscribe": SignatureSubscription,
    "slotUnsubscribe": SlotSubscription,
    "accountUnsubscribe": AccountSubscription,
}


class Connection:
    """One websocket."""

    def __init__(self, ledger: Ledger, socket: web.WebSocketResponse) -> None:
        self._ledger = ledger
        self._socket = socket
        self._subscriptions: dict[int, Subscription] = {}
        self._next_id = 0
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Serve until the client goes."""
        self._ledger.observers.append(self._changed.set)
        publisher = asyncio.create_task(self._publish())
        try:
            with suppress(ConnectionResetError):  # the client is gone before it was answered
                async for message in self._socket:
                    if message.type is WSMsgType.TEXT:
                        await self._socket.send_json(self._answer(message.data))
                        self._changed.set()  # a subscription may have news at once
        finally:
            self._ledger.observers.remove(self._changed.set)
            publisher.cancel()
            await asyncio.gather(publisher, return_exceptions=True)

    def _answer(self, text: str) -> dict[str, Any]:
        request_id: Any = None
        try:
            request = _parsed(text)
            request_id = request.get("id")
            result = self._call(request["method"], Params(request.get("params")))
        except RpcFault as fault:
            return {"jsonrpc": "2.0", "id": request_id, "error": fault.to_json()}
        return {"jsonrpc": "2.0", "id": request_id, "result": result}

    def _call(self, method: str, params: Params) -> Any:
        if method in _SUBSCRIBE:
            if len(self._subscriptions) >= SUBSCRIPTIONS_MAX:
                raise RpcFault(INVALID_REQUEST, "too many subscriptions")
            self._next_id += 1
            self._subscriptions[self._next_id] = _SUBSCRIBE[method](self._ledger, params)
            return self._next_id
        if method in _UNSUBSCRIBE:
            subscription = self._subscriptions.get(params.integer(0))
            if not isinstance(subscription, _UNSUBSCRIBE[method]):
                raise RpcFault(INVALID_REQUEST, "Invalid subscription id.")
            del self._subscriptions[params.integer(0)]
            return True
        raise RpcFault(METHOD_NOT_FOUND, "Method not found")

    async def _publish(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            for number, subscription in list(self._subscriptions.items()):
                news = subscription.news(self._ledger)
                if news is None:
                    continue
                if subscription.once:
                    self._subscriptions.pop(number, None)
                await self._socket.send_json(
                    {
                        "jsonrpc": "2.0",
                        "method": subscription.method,
                        "params": {"result": news, "subscription": number},
                    }
                )


def _parsed(text: str) -> dict[str, Any]:
    try:
        request = json.loads(text)
    except (ValueError, RecursionError):
        raise RpcFault(PARSE_ERROR, "Parse error") from None
    if not isinstance(request, dict) or not isinstance(request.get("method"), str):
        raise RpcFault(INVALID_REQUEST, "Invalid request")
    return request


async def serve_websocket(request: web.Request, ledger: Ledger) -> web.WebSocketResponse:
    """Answer an upgrade request and serve the connection."""
    socket = web.WebSocketResponse(heartbeat=HEARTBEAT_S, max_msg_size=64 * 1024)
    await socket.prepare(request)
    await Connection(ledger, socket).run()
    return socket
