"""Whether accounts can take part in a transfer: funds, rent exemption, and what the destination is. Figures are lamports."""

from keyquorum_plugin_api.errors import InsufficientFunds, InvalidAddress, InvalidAmount
from keyquorum_sol.node import Account


def require_destination(destination: Account | None) -> None:
    """Refuse a program: nobody could move what it receives."""
    if destination is not None and destination.executable:
        raise InvalidAddress("the destination is a program: what it receives is lost")


def require_payment(payer: Account | None, amount: int, costs: int, *, rent: int) -> None:
    """Refuse what an account cannot pay, with the figures that a client needs to correct it.

    ``costs`` are what is paid beside the amount: fee, and rent of what is made. Afterwards the account must hold its rent
    exemption; it may be emptied instead, which closes it.
    """
    held = 0 if payer is None else payer.lamports
    if held < amount + costs:
        raise InsufficientFunds(f"the account holds {held} lamports; amount and fee take {amount + costs}")
    left = held - amount - costs
    if 0 < left < rent:
        most = max(0, held - costs - rent)
        raise InvalidAmount(
            f"{left} lamports would be left, which is below the rent exemption of {rent}: "
            f"send {held - costs} (everything) or at most {most}"
        )


def require_fee(payer: Account | None, costs: int, *, rent: int) -> None:
    """Refuse a fee, and rent of what is made, that its payer cannot pay."""
    held = 0 if payer is None else payer.lamports
    if held < costs or 0 < held - costs < rent:
        raise InsufficientFunds(f"the payer of the fee holds {held} lamports; {costs + rent} are needed")


def require_arrival(destination: Account | None, amount: int, *, rent: int) -> None:
    """Refuse an amount that leaves the destination below its rent exemption."""
    received = amount + (0 if destination is None else destination.lamports)
    if received < rent:
        raise InvalidAmount(f"the destination would hold {received} lamports, below its rent exemption of {rent}")
