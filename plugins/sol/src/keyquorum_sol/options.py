"""The options of a transfer."""

from collections.abc import Mapping
from dataclasses import dataclass

from solders.pubkey import Pubkey

from keyquorum_plugin_api.errors import InvalidAddress, InvalidPayload, Unsupported
from keyquorum_sol.addresses import parse_address
from keyquorum_sol.metadata import parse_decimal
from keyquorum_sol.movements import nonce_address

PRICE, DURABLE_NONCE, CREATE_NONCE = "compute_unit_price", "durable_nonce", "create_nonce"
KNOWN = (PRICE, DURABLE_NONCE, CREATE_NONCE)


@dataclass(frozen=True, slots=True)
class Options:
    """What a client may choose."""

    compute_unit_price: int | None = None  # micro-lamports per unit, instead of the percentile
    durable_nonce: Pubkey | None = None  # nonce account whose value is named instead of a recent blockhash
    create_nonce: str | None = None  # seed of the nonce account that is made, and is the destination

    @classmethod
    def parse(cls, options: Mapping[str, str]) -> "Options":
        """Read them; :class:`Unsupported` for one that is unknown or has no such value."""
        unknown = sorted(options.keys() - set(KNOWN))
        if unknown:
            raise Unsupported(f"unknown option {unknown[0]!r}; there are {', '.join(KNOWN)}")
        price = None
        if PRICE in options:
            price = parse_decimal(options[PRICE])
            if price is None:
                raise Unsupported(f"{PRICE} is a decimal number of micro-lamports per compute unit")
        return cls(price, _nonce_account(options.get(DURABLE_NONCE)), _seed(options.get(CREATE_NONCE)))


def _nonce_account(text: str | None) -> Pubkey | None:
    try:
        return None if text is None else parse_address(text)
    except InvalidAddress:
        raise Unsupported(f"{DURABLE_NONCE} is the address of a nonce account") from None


def _seed(text: str | None) -> str | None:
    try:
        if text is not None:
            nonce_address(Pubkey.default(), text)
    except InvalidPayload as error:
        raise Unsupported(f"{CREATE_NONCE}: {error.detail}") from None
    return text
