"""Addresses: 32 bytes in base58.

A destination may be off the curve: vaults and multisignature accounts are program-derived addresses, and whoever owns
the program can move what arrives. What nobody can move again is refused: programs, sysvars and the incinerator.
"""

from solders import sysvar
from solders.pubkey import Pubkey

from keyquorum_plugin_api.errors import InvalidAddress
from keyquorum_sol.panics import containing_panics

SYSTEM_PROGRAM = Pubkey.from_string("11111111111111111111111111111111")
COMPUTE_BUDGET_PROGRAM = Pubkey.from_string("ComputeBudget111111111111111111111111111111")
MEMO_PROGRAM = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
TOKEN_PROGRAM = Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
TOKEN_2022_PROGRAM = Pubkey.from_string("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb")
ASSOCIATED_TOKEN_PROGRAM = Pubkey.from_string("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL")

_PROGRAMS = (
    SYSTEM_PROGRAM,
    COMPUTE_BUDGET_PROGRAM,
    MEMO_PROGRAM,
    TOKEN_PROGRAM,
    TOKEN_2022_PROGRAM,
    ASSOCIATED_TOKEN_PROGRAM,
    *map(
        Pubkey.from_string,
        (
            "AddressLookupTab1e1111111111111111111111111",
            "BPFLoader1111111111111111111111111111111111",
            "BPFLoader2111111111111111111111111111111111",
            "BPFLoaderUpgradeab1e11111111111111111111111",
            "Config1111111111111111111111111111111111111",
            "Ed25519SigVerify111111111111111111111111111",
            "Feature111111111111111111111111111111111111",
            "KeccakSecp256k11111111111111111111111111111",
            "LoaderV411111111111111111111111111111111111",
            "Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwQDxFMNo",
            "NativeLoader1111111111111111111111111111111",
            "Secp256r1SigVerify1111111111111111111111111",
            "Stake11111111111111111111111111111111111111",
            "StakeConfig11111111111111111111111111111111",
            "Vote111111111111111111111111111111111111111",
            "ZkE1Gama1Proof11111111111111111111111111111",
        ),
    ),
)
_SYSVARS = (
    sysvar.CLOCK,
    sysvar.EPOCH_SCHEDULE,
    sysvar.INSTRUCTIONS,
    sysvar.RECENT_BLOCKHASHES,
    sysvar.RENT,
    sysvar.REWARDS,
    sysvar.SLOT_HASHES,
    sysvar.STAKE_HISTORY,
    *map(
        Pubkey.from_string,
        (
            "Sysvar1111111111111111111111111111111111111",
            "SysvarEpochRewards1111111111111111111111111",
            "SysvarFees111111111111111111111111111111111",
            "SysvarLastRestartS1ot1111111111111111111111",
            "SysvarS1otHistory11111111111111111111111111",
        ),
    ),
)
_INCINERATOR = Pubkey.from_string("1nc1nerator11111111111111111111111111111111")

RESERVED = frozenset({*_PROGRAMS, *_SYSVARS, _INCINERATOR})


def parse_address(address: str) -> Pubkey:
    """The key of an address, which has one spelling; :class:`InvalidAddress` for any other text."""
    if not isinstance(address, str) or not 32 <= len(address) <= 44:
        raise InvalidAddress("a Solana address is 32 bytes in base58")
    with containing_panics(InvalidAddress("a Solana address is 32 bytes in base58")):
        return Pubkey.from_string(address)


def parse_destination(address: str) -> Pubkey:
    """The key of an address that coins may be sent to; :class:`InvalidAddress` for one nobody could move them from."""
    return require_destination(parse_address(address))


def require_destination(key: Pubkey) -> Pubkey:
    """The key, unless it is one of those from which nobody could move anything."""
    if key in RESERVED:
        raise InvalidAddress("the address belongs to the network itself: what it receives is lost")
    return key


def address_of(public_key: bytes) -> str:
    """The address of an account's Ed25519 public key; :class:`InvalidAddress` if it is no point of the curve."""
    if not isinstance(public_key, bytes) or len(public_key) != 32:
        raise InvalidAddress("an Ed25519 public key has 32 bytes")
    key = Pubkey.from_bytes(public_key)
    if not key.is_on_curve():
        raise InvalidAddress("the public key is no point of the curve, so nobody can sign for it")
    require_destination(key)  # 32 zero bytes are a point, and the system program
    return str(key)
