"""The second reader: a payload that does anything else than was asked for is not handed out to be signed."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from keyquorum_btc.coin import Coin, format_coins
from keyquorum_btc.crosscheck import Crosscheck
from keyquorum_btc.network import NETWORKS
from keyquorum_btc.psbt import read, write
from keyquorum_btc.spending import Output
from keyquorum_plugin_api.codec import TransferIntent
from keyquorum_plugin_api.errors import InvalidPayload
from support.bitcoin_codec_target import AMOUNT, CHANGE, COINS, FEE, BitcoinCodecTarget, bitcoin_account

TARGET = BitcoinCodecTarget()
SOURCE, FRIEND, THIEF = (TARGET.account(index).account for index in range(3))
INTENT = TransferIntent(TARGET.chain, SOURCE, FRIEND.address, TARGET.asset, AMOUNT)


def payload_of(intent: TransferIntent) -> bytes:
    return TARGET.codec.build(intent, TARGET.metadata).payload


async def refuse(payload: bytes, intent: TransferIntent | None = INTENT, **asked: object) -> None:
    given = {"source": SOURCE.address, "coins": COINS, "fee": FEE, **asked}
    with pytest.raises(InvalidPayload):
        await Crosscheck(TARGET.chain).require(payload, intent=intent, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("chain", sorted(NETWORKS))
@pytest.mark.parametrize("memo", ["", TARGET.memo, "x" * 80])
async def test_agrees_with_what_was_asked_for(chain: str, memo: str) -> None:
    """On every network, with and without a memo; and with a cancellation."""
    accounts = [bitcoin_account(b"codec", index, chain).account for index in range(2)]
    intent = TransferIntent(chain, accounts[0], accounts[1].address, NETWORKS[chain].native_asset, AMOUNT, memo=memo)
    check = Crosscheck(chain)
    await check.require(payload_of(intent), source=accounts[0].address, coins=COINS, fee=FEE, intent=intent)
    back = TARGET.codec.build_cancellation(accounts[0], chain, TARGET.metadata).payload
    await check.require(back, source=accounts[0].address, coins=COINS, fee=FEE, intent=None)


@pytest.mark.parametrize(
    "address",
    [
        "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn",
        "2MzQwSSnBHWHqSAqtTVQ6v47XtaisrJa1Vc",
        "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080",
        "bcrt1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qzf4jry",
    ],
)
async def test_agrees_about_every_kind_of_destination(address: str) -> None:
    """P2PKH, P2SH, P2WPKH and P2WSH, by address and by script."""
    intent = replace(INTENT, destination=address)
    await Crosscheck(TARGET.chain).require(
        payload_of(intent), source=SOURCE.address, coins=COINS, fee=FEE, intent=intent
    )


async def test_notices_each_difference() -> None:
    """Recipient, amount, memo, change, fee, coins and their amounts."""
    good = payload_of(INTENT)
    await refuse(good, replace(INTENT, destination=THIEF.address))
    await refuse(good, replace(INTENT, amount=AMOUNT + 1))
    await refuse(good, replace(INTENT, amount=AMOUNT - 1))
    await refuse(good, replace(INTENT, memo="x"))
    await refuse(good, replace(INTENT, source=THIEF))
    await refuse(good, None)
    await refuse(good, source=THIEF.address)
    await refuse(good, fee=FEE + 1)
    await refuse(good, fee=FEE + CHANGE)
    await refuse(good, coins=COINS[:1])
    first, second = COINS
    await refuse(good, coins=(replace(first, vout=first.vout + 7), second))
    await refuse(good, coins=(replace(first, amount=first.amount + 1), second))
    spend = read(good)
    (_, own), paid = sorted((out.amount, out.script) for out in spend.outputs)
    assert paid[0] == AMOUNT
    await refuse(write(replace(spend, outputs=(Output(own, CHANGE - 1_000), Output(paid[1], AMOUNT)))))
    await refuse(good[:100])
    await refuse(b"psbt\xff\x01\x00\xfe\xff\xff\xff\xff" + good)
    await refuse(b"\x00" + good)


async def test_coins_are_compared_in_the_order_that_is_signed() -> None:
    """BIP69, whatever order they were chosen in."""
    await Crosscheck(TARGET.chain).require(
        payload_of(INTENT), source=SOURCE.address, coins=COINS[::-1], fee=FEE, intent=INTENT
    )
    other = Coin("00" * 31 + "01", 0, COINS[0].amount)
    metadata = {"coins": format_coins([other, COINS[1]]), "fee": str(FEE)}
    await refuse(TARGET.codec.build(INTENT, metadata).payload)


def test_importing_the_library_leaves_nothing_behind(tmp_path: Path) -> None:
    """No folder in anybody's home, no log, no setting of the environment, no warning, no message on standard error."""
    script = (
        "import asyncio, logging, os\n"
        "from keyquorum_btc.crosscheck import Crosscheck\n"
        f"asyncio.run(Crosscheck({TARGET.chain!r}).load())\n"
        "import bitcoinlib\n"
        "logging.getLogger('bitcoinlib.transactions').error('to nobody')\n"
        "print(os.environ.get('BCL_DATA_DIR'))\n"
    )
    environment = {**os.environ, "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    environment.pop("BCL_DATA_DIR", None)
    command = [sys.executable, "-W", "error", "-c", script]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert (shown.stdout, shown.stderr) == ("None\n", "")
    assert list(tmp_path.iterdir()) == []
