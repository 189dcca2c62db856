"""The toy chain itself: balances and transactions in memory, and switches for everything that can go wrong."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from keyquorum_plugin_api.chain import TransactionState


@dataclass
class Ledger:
    """One chain. ``submitted`` keeps every broadcast's bytes, in order."""

    balances: dict[str, int] = field(default_factory=dict)
    states: dict[str, TransactionState] = field(default_factory=dict)
    submitted: list[bytes] = field(default_factory=list)
    discarded: list[bytes] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    reversible: set[str] = field(default_factory=set)  # ids whose end is not final
    events: list[Any] = field(default_factory=list)  # ChainEvents, or the error that ends a stream
    streams_closed: int = 0
    confirm: bool = True
    down: bool = False
    start_fails: int = 0
    starts: int = 0
    build_delay_s: float = 0.0
    builds: int = 0
    submit_errors: list[Exception] = field(default_factory=list)
    on_build: Callable[[Any, Any, Any], Any] | None = None  # (adapter, intent, honest unsigned) -> unsigned
    on_sign: Callable[[Any, Any], Any] | None = None  # (adapter, unsigned) -> coroutine of a signed transaction

    def apply(self, raw: bytes, txid: str) -> None:
        """Take a transaction; a second time nothing happens."""
        if txid in self.states:
            return
        for effect in json.loads(raw[64:])["effects"]:
            if effect["kind"] == "transfer":
                self.balances[effect["destination"]] = self.balances.get(effect["destination"], 0) + effect["amount"]
            if effect["kind"] in ("transfer", "fee"):
                self.balances[effect["source"]] = self.balances.get(effect["source"], 0) - effect["amount"]
        self.set_state(txid, TransactionState.CONFIRMED if self.confirm else TransactionState.PENDING)

    def set_state(self, txid: str, state: TransactionState) -> None:
        """Move a transaction on, and tell whoever streams it."""
        self.states[txid] = state
        self.changed.set()
        self.changed = asyncio.Event()


LEDGERS: dict[str, Ledger] = {}
