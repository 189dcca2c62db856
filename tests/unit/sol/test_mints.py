"""Mints and token accounts as nodes give them: understood to the last byte, or refused."""

import pytest
from solders.pubkey import Pubkey

from keyquorum_plugin_api.errors import ChainUnavailable, UnsupportedAsset
from keyquorum_sol.addresses import SYSTEM_PROGRAM, TOKEN_2022_PROGRAM, TOKEN_PROGRAM
from keyquorum_sol.extensions import read_extensions
from keyquorum_sol.limits import MINT_BYTES_MAX
from keyquorum_sol.mints import Mint, read_mint
from keyquorum_sol.token_accounts import read_token_account

MINT = Pubkey(bytes([9]) * 32)
OWNER = Pubkey(bytes([8]) * 32)
BASE = bytes(44) + bytes([6, 1]) + bytes(36)


def extension(kind: int, value: bytes = b"") -> bytes:
    return kind.to_bytes(2, "little") + len(value).to_bytes(2, "little") + value


def extended(*extensions: bytes) -> bytes:
    return BASE.ljust(165, b"\x00") + b"\x01" + b"".join(extensions)


def read(data: bytes, program: Pubkey = TOKEN_2022_PROGRAM, size: int | None = None) -> Mint:
    return read_mint(MINT, program, data[:MINT_BYTES_MAX], len(data) if size is None else size)


def account(*, mint: Pubkey = MINT, amount: int = 7, state: int = 1, extensions: bytes = b"") -> bytes:
    base = bytes(mint) + bytes(OWNER) + amount.to_bytes(8, "little") + bytes(36) + bytes([state]) + bytes(56)
    return base + (b"\x02" + extensions if extensions else b"")


def test_mints_that_are_moved() -> None:
    """Both programs, bare and with extensions that change nothing."""
    assert read(BASE, TOKEN_PROGRAM) == Mint(MINT, TOKEN_PROGRAM, 6)
    assert read(BASE) == Mint(MINT, TOKEN_2022_PROGRAM, 6)
    harmless = [
        extension(3, bytes(32)),
        extension(18, bytes(64)),
        extension(19, b"name" * 200),
        extension(25, bytes(56)),
    ]
    assert read(extended(*harmless)) == Mint(MINT, TOKEN_2022_PROGRAM, 6)
    assert read(extended(*harmless, bytes(11))) == Mint(MINT, TOKEN_2022_PROGRAM, 6)
    assert read(extended(extension(6, b"\x02"))).new_accounts_frozen
    assert not read(extended(extension(6, b"\x01"))).new_accounts_frozen


@pytest.mark.parametrize("kind", [1, 2, 4, 5, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 24, 26, 27, 28, 29, 999, 65535])
def test_other_extensions_are_refused(kind: int) -> None:
    """Those that give others a hand, those of accounts, and those that nobody has heard of, wherever they stand."""
    for data in (extended(extension(kind, bytes(8))), extended(extension(18, bytes(64)), extension(kind, bytes(8)))):
        with pytest.raises(UnsupportedAsset):
            read(data)


@pytest.mark.parametrize(
    ("data", "program"),
    [
        (b"", TOKEN_PROGRAM),
        (BASE[:-1], TOKEN_PROGRAM),
        (BASE + b"\x00", TOKEN_PROGRAM),
        (BASE, SYSTEM_PROGRAM),
        (BASE, OWNER),
        (BASE[:45] + b"\x00" + BASE[46:], TOKEN_PROGRAM),
        (BASE[:45] + b"\x02" + BASE[46:], TOKEN_2022_PROGRAM),
        (extended(), TOKEN_PROGRAM),
        (account(), TOKEN_PROGRAM),
        (account(), TOKEN_2022_PROGRAM),
        (account(extensions=extension(7)), TOKEN_2022_PROGRAM),
        (extended()[:165] + b"\x00", TOKEN_2022_PROGRAM),
        (extended().ljust(355, b"\x00"), TOKEN_2022_PROGRAM),
        (extended(b"\x12"), TOKEN_2022_PROGRAM),
        (extended(extension(18, bytes(64))[:-1]), TOKEN_2022_PROGRAM),
        (extended(b"\x12\x00\xff\xff"), TOKEN_2022_PROGRAM),
        (extended(bytes(4), extension(14, bytes(64))), TOKEN_2022_PROGRAM),
        (extended(extension(19, bytes(MINT_BYTES_MAX))), TOKEN_2022_PROGRAM),
        (extended(extension(19, bytes(3_900)), extension(1, bytes(108))), TOKEN_2022_PROGRAM),
    ],
)
def test_what_is_no_mint_is_refused(data: bytes, program: Pubkey) -> None:
    """Cut, padded, of another type or program, hidden behind empty room, or longer than is looked through."""
    with pytest.raises(UnsupportedAsset):
        read(data, program)


def test_size_is_believed_no_more_than_the_data() -> None:
    """A node that gives less than the account has could leave out an extension."""
    with pytest.raises(UnsupportedAsset):
        read(extended(extension(18, bytes(64))), size=400)
    with pytest.raises(UnsupportedAsset):
        read(extended(extension(14, bytes(64))), size=82)


def test_token_accounts() -> None:
    """Owner, amount, and what stops a transfer."""
    plain = read_token_account(MINT, account(amount=2**64 - 1))
    assert (plain.owner, plain.amount, plain.frozen, plain.demands_memo) == (OWNER, 2**64 - 1, False, False)
    assert read_token_account(MINT, account(state=2)).frozen
    demanding = account(extensions=extension(7) + extension(8, b"\x01"))
    assert read_token_account(MINT, demanding).demands_memo
    assert not read_token_account(MINT, account(extensions=extension(8, b"\x00"))).demands_memo


@pytest.mark.parametrize(
    "data",
    [
        b"",
        account()[:-1],
        account() + b"\x00",
        account() + b"\x01" + extension(7),
        account(mint=OWNER),
        account(state=0),
        account(state=3),
        account(extensions=b"\x07\x00\x09\x00"),
    ],
)
def test_what_is_no_token_account_is_a_fault_of_the_node(data: bytes) -> None:
    """The token programs put nothing else at an associated address."""
    with pytest.raises(ChainUnavailable):
        read_token_account(MINT, data)


def test_extensions_end_with_the_data() -> None:
    """Nothing is skipped, and nothing is read beyond the end."""
    assert read_extensions(extended(extension(18, b"ab"), extension(3))) == [(18, b"ab"), (3, b"")]
    assert read_extensions(extended()) == []
    assert read_extensions(BASE) == []
    assert read_extensions(extended(extension(18, b"ab"))[:-1]) is None
