"""Policy on a transaction by itself."""

import dataclasses

import pytest

from keyquorum_devnet.bitcoin.policy import TxRefused, check_sanity, check_standard, dust_limit, money
from keyquorum_devnet.bitcoin.transactions import Outpoint, Transaction, TxIn, TxOut

P2TR = b"\x51\x20" + bytes(32)
COIN = TxIn(Outpoint("11" * 32, 0), b"", 0xFFFFFFFF)


def made(**changes: object) -> Transaction:
    """A sane, standard transaction but for ``changes``."""
    sane = Transaction(2, (COIN,), (TxOut(10_000, P2TR),), 0, bytes(160), "22" * 32, "22" * 32, 94)
    return dataclasses.replace(sane, **changes)


@pytest.mark.parametrize(
    ("script", "limit"),
    [
        (b"\x76\xa9\x14" + bytes(20) + b"\x88\xac", 546),
        (b"\xa9\x14" + bytes(20) + b"\x87", 540),
        (b"\x00\x14" + bytes(20), 294),
        (b"\x00\x20" + bytes(32), 330),
        (P2TR, 330),
        (b"\x6a\x02ab", 0),
    ],
    ids=["p2pkh", "p2sh", "p2wpkh", "p2wsh", "p2tr", "op_return"],
)
def test_dust_limits_are_those_everyone_knows(script, limit):
    """Core's figures at 3 sat/vB; one satoshi less is dust."""
    assert dust_limit(TxOut(0, script)) == limit
    if limit:
        check_standard(made(outputs=(TxOut(limit, script),)))
        with pytest.raises(TxRefused, match=r"^dust$"):
            check_standard(made(outputs=(TxOut(limit - 1, script),)))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"outputs": ()}, "bad-txns-vout-empty"),
        ({"stripped_size": 1_000_001}, "bad-txns-oversize"),
        ({"outputs": (TxOut(-1, P2TR),)}, "bad-txns-vout-negative"),
        ({"outputs": (TxOut(21_000_000 * 10**8 + 1, P2TR),)}, "bad-txns-vout-toolarge"),
        ({"outputs": (TxOut(21_000_000 * 10**8, P2TR), TxOut(1, P2TR))}, "bad-txns-txouttotal-toolarge"),
        ({"inputs": (COIN, COIN)}, "bad-txns-inputs-duplicate"),
        ({"inputs": (TxIn(Outpoint("00" * 32, 0xFFFFFFFF), b"", 0),)}, "coinbase"),
        ({"inputs": (COIN, TxIn(Outpoint("00" * 32, 0xFFFFFFFF), b"", 0))}, "bad-txns-prevout-null"),
    ],
)
def test_insane_transactions(changes, reason):
    """Each rule of consensus that a transaction can break alone."""
    check_sanity(made())
    with pytest.raises(TxRefused, match=f"^{reason}$"):
        check_sanity(made(**changes))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": 0}, "version"),
        ({"version": 3}, "version"),
        ({"stripped_size": 100_001, "raw": bytes(100_001)}, "tx-size"),
        ({"inputs": (TxIn(COIN.outpoint, bytes(1651), 0),)}, "scriptsig-size"),
        ({"inputs": (TxIn(COIN.outpoint, b"\x76", 0),)}, "scriptsig-not-pushonly"),
        ({"outputs": (TxOut(10_000, b"\x51"),)}, "scriptpubkey"),
        ({"outputs": (TxOut(10_000, b""),)}, "scriptpubkey"),
        ({"outputs": (TxOut(0, b"\x6a\x4c\x51" + bytes(81)),)}, "scriptpubkey"),
        ({"outputs": (TxOut(0, b"\x6a\x01a"), TxOut(0, b"\x6a\x01b"))}, "multi-op-return"),
        ({"stripped_size": 64}, "tx-size-small"),
    ],
)
def test_nonstandard_transactions(changes, reason):
    """Each rule of relay that a transaction can break alone."""
    check_standard(made())
    with pytest.raises(TxRefused, match=f"^{reason}$"):
        check_standard(made(**changes))


@pytest.mark.parametrize(
    ("satoshis", "text"),
    [(0, "0.00"), (1, "0.00000001"), (110, "0.0000011"), (5_000_000_000, "50.00"), (-10, "-0.0000001")],
)
def test_money_as_core_writes_it(satoshis, text):
    """At least two decimals, no needless zeros."""
    assert money(satoshis) == text
