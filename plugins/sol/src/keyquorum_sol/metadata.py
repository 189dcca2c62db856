"""The metadata that ``build`` takes: what the adapter learnt online, as text, each value with one spelling.

Always ``blockhash`` (base58), and as decimals ``compute_unit_limit`` and ``compute_unit_price`` (micro-lamports per unit);
then ``last_valid_block_height``, or, where the blockhash is the value of a nonce account, ``nonce_account`` and
``nonce_slot`` (at which it was read). For a token also ``token_program`` and ``token_decimals``; for a new nonce account
``nonce_seed``. A missing or an unknown key is refused.
"""

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Final

from solders.hash import Hash
from solders.pubkey import Pubkey

from keyquorum_plugin_api.errors import InvalidAddress, InvalidPayload
from keyquorum_sol.addresses import parse_address
from keyquorum_sol.limits import U64_MAX
from keyquorum_sol.panics import containing_panics

BLOCKHASH: Final = "blockhash"
COMPUTE_UNIT_LIMIT: Final = "compute_unit_limit"
COMPUTE_UNIT_PRICE: Final = "compute_unit_price"
LAST_VALID_BLOCK_HEIGHT: Final = "last_valid_block_height"
NONCE_ACCOUNT: Final = "nonce_account"
NONCE_SLOT: Final = "nonce_slot"
NONCE_SEED: Final = "nonce_seed"
TOKEN_PROGRAM: Final = "token_program"  # noqa: S105 no secret
TOKEN_DECIMALS: Final = "token_decimals"  # noqa: S105 no secret

METADATA_FEE: Final = frozenset({BLOCKHASH, COMPUTE_UNIT_LIMIT, COMPUTE_UNIT_PRICE})

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,19}")


def parse_decimal(text: str) -> int | None:
    """A u64 in its one decimal spelling; None for any other text."""
    return number if _DECIMAL.fullmatch(text) and (number := int(text)) <= U64_MAX else None


def require_keys(metadata: Mapping[str, str], keys: AbstractSet[str]) -> None:
    """Refuse any other keys than these."""
    if metadata.keys() != keys:
        raise InvalidPayload(f"metadata is {', '.join(sorted(keys))}")


def number_of(metadata: Mapping[str, str], key: str) -> int:
    """A decimal u64."""
    number = parse_decimal(metadata.get(key, ""))
    if number is None:
        raise InvalidPayload(f"{key} is not a decimal u64")
    return number


def key_of(metadata: Mapping[str, str], key: str) -> Pubkey:
    """An address."""
    try:
        return parse_address(metadata.get(key, ""))
    except InvalidAddress as error:
        raise InvalidPayload(f"{key}: {error.detail}") from None


def blockhash_of(metadata: Mapping[str, str]) -> Hash:
    """A blockhash, or the value of a nonce account."""
    refusal = InvalidPayload("blockhash is not 32 bytes in base58")
    with containing_panics(refusal):
        blockhash = Hash.from_string(metadata.get(BLOCKHASH, ""))
        if blockhash == Hash.default():  # what tools fill in before they know one
            raise refusal
        return blockhash
