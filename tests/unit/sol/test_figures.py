"""Fees, rent and funds: the arithmetic that decides before anything is signed."""

import pytest

from keyquorum_plugin_api.errors import ChainUnavailable, FeeTooHigh, InsufficientFunds, InvalidAddress, InvalidAmount
from keyquorum_sol.fees import percentile, require_affordable, require_units, unit_limit
from keyquorum_sol.funds import require_arrival, require_destination, require_fee, require_payment
from keyquorum_sol.limits import NONCE_ACCOUNT_BYTES, TOKEN_ACCOUNT_BYTES, rent_exemption
from keyquorum_sol.node import Account

RENT = 890_880
FEE = 5_000


def account(lamports: int, *, executable: bool = False) -> Account:
    shape = {"lamports": lamports, "executable": executable, "space": 0, "owner": "1" * 32, "data": ["", "base64"]}
    return Account.model_validate(shape)


def check(amount: int, held: int | None, received: int | None) -> None:
    require_payment(None if held is None else account(held), amount, FEE, rent=RENT)
    require_arrival(None if received is None else account(received), amount, rent=RENT)


@pytest.mark.parametrize(
    ("prices", "percent", "expected"),
    [([], 75, 0), ([5], 0, 5), ([5], 100, 5), ([4, 1, 3, 2], 50, 2), ([4, 1, 3, 2], 75, 3), ([4, 1, 3, 2], 76, 4)],
)
def test_percentile_is_the_nearest_rank(prices: list[int], percent: int, expected: int) -> None:
    """A price that somebody paid, never one in between."""
    assert percentile(prices, percent) == expected


def test_compute_units_have_a_margin_and_a_limit() -> None:
    """Rounded up; a node that does not say is not believed."""
    assert require_units(450) == 450
    assert unit_limit(450, 20) == 540
    assert unit_limit(451, 20) == 542
    assert unit_limit(1_400_000, 20) == 1_400_000
    for unknown in (None, 0):
        with pytest.raises(ChainUnavailable):
            require_units(unknown)


def test_fee_above_the_ceiling_is_refused_not_cut() -> None:
    """At the ceiling it is paid."""
    require_affordable(1_000_000, 100_000, 100_000)
    with pytest.raises(FeeTooHigh, match=r"100001 .* 100000"):
        require_affordable(1_000_000, 100_001, 100_000)


@pytest.mark.parametrize(
    ("amount", "held", "received"),
    [
        (RENT, RENT + FEE, None),
        (RENT, 2 * RENT + FEE, None),
        (1, 1 + FEE, RENT),
        (1, RENT + 1 + FEE, RENT),
        (RENT - 7, 10 * RENT, 7),
    ],
)
def test_transfers_at_the_edge_are_possible(amount: int, held: int, received: int | None) -> None:
    """Exactly the rent exemption arrives or is left, or the source is emptied."""
    check(amount, held, received)


@pytest.mark.parametrize(
    ("amount", "held", "received", "kind"),
    [
        (1, None, RENT, InsufficientFunds),
        (RENT, RENT + FEE - 1, None, InsufficientFunds),
        (RENT, RENT + FEE + 1, None, InvalidAmount),
        (RENT, 2 * RENT + FEE - 1, None, InvalidAmount),
        (RENT - 1, 10 * RENT, None, InvalidAmount),
        (RENT - 8, 10 * RENT, 7, InvalidAmount),
    ],
)
def test_transfers_over_the_edge_are_not(
    amount: int, held: int | None, received: int | None, kind: type[Exception]
) -> None:
    """One lamport decides."""
    with pytest.raises(kind):
        check(amount, held, received)


def test_refusal_says_what_could_be_sent() -> None:
    """Everything, or so much that the rent exemption stays."""
    with pytest.raises(InvalidAmount, match=rf"send {2 * RENT} .* at most {RENT}$"):
        check(2 * RENT - 1, 2 * RENT + FEE, None)


def test_programs_are_no_destination() -> None:
    """Whatever their address."""
    require_destination(None)
    require_destination(account(RENT))
    with pytest.raises(InvalidAddress, match="program"):
        require_destination(account(RENT, executable=True))


def test_fee_payer_needs_the_fee_and_its_own_rent() -> None:
    """Or exactly the fee, which empties it."""
    for held in (FEE, FEE + RENT, 10 * RENT):
        require_fee(account(held), FEE, rent=RENT)
    for poor in (None, account(FEE - 1), account(FEE + 1), account(FEE + RENT - 1)):
        with pytest.raises(InsufficientFunds, match="payer of the fee"):
            require_fee(poor, FEE, rent=RENT)


def test_rent_is_what_clusters_ask_for() -> None:
    """The published figures for accounts with 0, 80 and 165 bytes."""
    assert [rent_exemption(size) for size in (0, NONCE_ACCOUNT_BYTES, TOKEN_ACCOUNT_BYTES)] == [
        RENT,
        1_447_680,
        2_039_280,
    ]
