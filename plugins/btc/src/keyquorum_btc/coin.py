"""An unspent output of the account's address, as nodes list them and payloads spend them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from keyquorum_btc.limits import AMOUNT_MAX, INPUTS_MAX, VOUT_MAX
from keyquorum_plugin_api.errors import InvalidPayload

_COIN = re.compile(r"([0-9a-f]{64}):(0|[1-9][0-9]{0,4}):([1-9][0-9]{0,15})", re.ASCII)
_OUTPOINT = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Coin:
    """Transaction id (hex, as explorers show it), output index, and amount in satoshi. Sorts as BIP69 sorts inputs.

    Every instance is possible on the network; the constructor raises :class:`InvalidPayload` otherwise.
    """

    txid: str
    vout: int
    amount: int

    def __post_init__(self) -> None:
        """Check what no coin may be: the null outpoint (a coinbase's) among others."""
        if not isinstance(self.txid, str) or not _OUTPOINT.fullmatch(self.txid) or set(self.txid) == {"0"}:
            raise InvalidPayload("a coin is named by the id of a transaction, in lower-case hexadecimal")
        if type(self.vout) is not int or not 0 <= self.vout <= VOUT_MAX:
            raise InvalidPayload("a coin's output index is out of range")
        if type(self.amount) is not int or not 0 < self.amount <= AMOUNT_MAX:
            raise InvalidPayload("a coin's amount is out of range")

    @property
    def outpoint(self) -> str:
        """``txid:vout``, the item by which a coin is reserved."""
        return f"{self.txid}:{self.vout}"

    def __str__(self) -> str:
        """``txid:vout:amount``, as metadata have it."""
        return f"{self.outpoint}:{self.amount}"


def format_coins(coins: Iterable[Coin]) -> str:
    """Coins as the codec's metadata name them: ``txid:vout:amount``, separated by commas, in BIP69's order."""
    return ",".join(str(coin) for coin in sorted(coins))


def parse_coins(text: str) -> tuple[Coin, ...]:
    """The coins of a metadata value, 1 to 16; :class:`InvalidPayload` unless it is written as ``format_coins`` does."""
    parts = text.split(",", INPUTS_MAX)
    found = [_COIN.fullmatch(part) for part in parts]
    if len(parts) > INPUTS_MAX or not all(found):
        raise InvalidPayload(f"coins are 1 to {INPUTS_MAX} of txid:vout:amount, separated by commas")
    coins = tuple(Coin(match[1], int(match[2]), int(match[3])) for match in found if match)
    if format_coins(coins) != text:
        raise InvalidPayload("coins are sorted by txid and vout")
    return coins
