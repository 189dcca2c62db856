"""What a client may ask for beside the transfer itself."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from keyquorum_btc.fees import FEE_RATE_OPTION, rate_option
from keyquorum_btc.limits import INPUTS_MAX
from keyquorum_plugin_api.errors import Unsupported

COINS_OPTION = "coins"
BUMP_OPTION = "bump"
_OUTPOINT = re.compile(r"[0-9a-f]{64}:(0|[1-9][0-9]{0,4})", re.ASCII)
_CPFP = re.compile(r"cpfp:([0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a build. ``fee_rate`` is satoshi per 1,000 virtual bytes."""

    fee_rate: int | None = None
    coins: frozenset[str] | None = None  # the only ones that may be spent, as txid:vout
    lifts: str = ""  # the stuck transaction (txid) that the new one is to pay for, too

    @classmethod
    def parse(cls, options: Mapping[str, str], *known: str) -> Self:
        """Options of these names; :class:`Unsupported` for other names and for nonsense."""
        unknown = sorted(options.keys() - set(known))
        if unknown:
            raise Unsupported(f"unknown option {unknown[0][:32]!r}; there is {', '.join(sorted(known))}")
        lifts = _CPFP.fullmatch(options.get(BUMP_OPTION, ""))
        if BUMP_OPTION in options and lifts is None:
            raise Unsupported(f"{BUMP_OPTION} is cpfp: and the id of a transaction")
        return cls(
            fee_rate=rate_option(options.get(FEE_RATE_OPTION)),
            coins=_coins(options[COINS_OPTION]) if COINS_OPTION in options else None,
            lifts=lifts[1] if lifts else "",
        )


def _coins(text: str) -> frozenset[str]:
    named = text.split(",", INPUTS_MAX)
    if len(named) > INPUTS_MAX or not all(map(_OUTPOINT.fullmatch, named)) or len(set(named)) != len(named):
        raise Unsupported(f"{COINS_OPTION} are 1 to {INPUTS_MAX} different txid:vout, separated by commas")
    return frozenset(named)
