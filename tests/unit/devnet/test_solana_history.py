"""What the development chain remembers of an address, and what it says when it has forgotten."""

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from keyquorum_devnet.solana import ledger as ledger_module
from keyquorum_devnet.solana.ledger import Ledger
from keyquorum_devnet.solana.server import call
from keyquorum_devnet.solana.shapes import token_amount_json


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(b"history", lambda: 1_700_000_000.0)


def asked(ledger: Ledger, method: str, *params: object) -> object:
    """The result of a call."""
    answer = call(ledger, {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)})
    assert "error" not in answer, answer
    return answer["result"]


def signatures(ledger: Ledger, address: Pubkey) -> list[str]:
    """The ids in an address's history."""
    found = asked(ledger, "getSignaturesForAddress", str(address), {"commitment": "processed"})
    assert isinstance(found, list)
    return [entry["signature"] for entry in found]


def test_forgotten_transactions_are_in_no_history(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the chain says from which slot on it remembers all of them."""
    monkeypatch.setattr(ledger_module, "RECORDS_MAX", 3)
    address = Keypair().pubkey()
    assert asked(ledger, "getFirstAvailableBlock") == ledger.blocks.tip.slot
    txids, slots = [], []
    for _ in range(5):
        txids.append(asked(ledger, "requestAirdrop", str(address), 10**9))
        slots.append(ledger.blocks.tip.slot)
        ledger.advance(2)
    assert signatures(ledger, address) == list(reversed(txids[2:]))
    assert signatures(ledger, ledger.faucet.pubkey()) == list(reversed(txids[2:]))
    assert slots[1] < asked(ledger, "getFirstAvailableBlock") <= slots[2]


def test_history_of_a_stranger_is_empty(ledger: Ledger) -> None:
    """No transaction names it."""
    assert signatures(ledger, Keypair().pubkey()) == []


def test_token_accounts_are_told_from_mints(ledger: Ledger) -> None:
    """A mint holds nothing, an account mints nothing."""
    owner = Keypair().pubkey()
    mint = asked(ledger, "devnet_createMint", 0)
    asked(ledger, "devnet_mintTokens", mint, str(owner), 3)
    found = asked(ledger, "getTokenAccountsByOwner", str(owner), {"mint": mint})
    assert isinstance(found, dict)
    (entry,) = found["value"]
    for method, address in (("getTokenSupply", entry["pubkey"]), ("getTokenAccountBalance", mint)):
        assert "error" in call(ledger, {"id": 1, "method": method, "params": [address]})
    assert "error" in call(ledger, {"id": 1, "method": "devnet_mintTokens", "params": [entry["pubkey"], str(owner), 1]})


@pytest.mark.parametrize(
    ("amount", "decimals", "shown"),
    [(0, 0, "0"), (0, 6, "0"), (1, 6, "0.000001"), (1_500_000, 6, "1.5"), (100, 0, "100"), (2_000_000, 6, "2")],
)
def test_amounts_are_shown_as_people_write_them(amount: int, decimals: int, shown: str) -> None:
    """Without superfluous zeros."""
    found = token_amount_json(amount, decimals)
    assert (found["amount"], found["uiAmountString"]) == (str(amount), shown)
