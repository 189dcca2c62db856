"""The choice among all candidates: the one that wastes least."""

from collections.abc import Sequence

from keyquorum_btc.coin import Coin
from keyquorum_btc.limits import INPUTS_MAX
from keyquorum_btc.selection.branch_and_bound import branch_and_bound
from keyquorum_btc.selection.candidates import Payment, Selection, Target, by_value
from keyquorum_btc.selection.fallbacks import RandBelow, largest_first, single_random_draw
from keyquorum_plugin_api.errors import InsufficientFunds, InvalidAmount, InvalidPayload


def select(
    coins: Sequence[Coin],
    target: Target,
    fee_rate: int,
    *,
    long_term_fee_rate: int,
    randbelow: RandBelow,
    required: Sequence[Coin] = (),
) -> Selection:
    """At most 16 of ``coins``, all of ``required`` among them, that pay ``target`` at ``fee_rate``.

    Rates are satoshi per 1,000 virtual bytes; ``long_term_fee_rate`` is what spending a coin later is expected to cost:
    below it, more coins are spent than needed, above it, fewer. The result depends on the arguments alone, and not on
    the order of ``coins``. Raises :class:`InsufficientFunds`.
    """
    assert min(fee_rate, long_term_fee_rate) >= 0
    if target.amount <= 0:
        raise InvalidAmount("an amount is above zero")
    if len(required) > INPUTS_MAX:
        raise InvalidPayload(f"a transaction spends at most {INPUTS_MAX} coins")
    for named in (coins, required):
        if len({coin.outpoint for coin in named}) != len(named):
            raise InvalidPayload("a coin is listed twice")
    payment = Payment(target, fee_rate, long_term_fee_rate, tuple(required))
    held = {coin.outpoint for coin in required}
    free = by_value((coin for coin in coins if coin.outpoint not in held), payment)
    found = [selection for selection in _candidates(free, payment, randbelow) if selection is not None]
    if not found:
        raise InsufficientFunds(_why_not(free, payment))
    return min(found, key=lambda selection: (selection.waste, len(selection.coins)))


def _candidates(free: Sequence[Coin], payment: Payment, randbelow: RandBelow) -> list[Selection | None]:
    drawn = {
        "required": (),
        "branch and bound": branch_and_bound(free, payment),
        "single random draw": single_random_draw(free, payment, randbelow),
        "largest first": largest_first(free, payment),
    }
    return [payment.selection(chosen, name) for name, chosen in drawn.items() if chosen is not None]


def _why_not(free: Sequence[Coin], payment: Payment) -> str:
    if sum(map(payment.effective, free)) >= payment.goal:
        return f"the account holds enough, but in more than {INPUTS_MAX} coins: pay less, or gather coins first"
    return "the account's coins do not pay for amount and fee"
