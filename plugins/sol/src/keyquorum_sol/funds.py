"""Whether two accounts can take part in a transfer: funds, rent exemption, and what the destination is."""

from keyquorum_plugin_api.errors import InsufficientFunds, InvalidAddress, InvalidAmount
from keyquorum_sol.node import Account


def require_destination(destination: Account | None) -> None:
    """Refuse a program: nobody could move what it receives."""
    if destination is not None and destination.executable:
        raise InvalidAddress("the destination is a program: what it receives is lost")


def require_funds(
    amount: int,
    fee: int,
    source: Account | None,
    destination: Account | None,
    *,
    source_rent: int,
    destination_rent: int,
) -> None:
    """Refuse a transfer that the runtime would refuse, with the figures that a client needs to correct it.

    Both accounts must hold their rent exemption afterwards; the source may be emptied instead, which closes it.
    All figures are lamports.
    """
    held = 0 if source is None else source.lamports
    if held < amount + fee:
        raise InsufficientFunds(f"the account holds {held} lamports; amount and fee take {amount + fee}")
    left = held - amount - fee
    if 0 < left < source_rent:
        most = max(0, held - fee - source_rent)
        raise InvalidAmount(
            f"{left} lamports would be left, which is below the rent exemption of {source_rent}: "
            f"send {held - fee} (everything) or at most {most}"
        )
    received = amount + (0 if destination is None else destination.lamports)
    if received < destination_rent:
        raise InvalidAmount(
            f"the destination would hold {received} lamports, below its rent exemption of {destination_rent}"
        )
