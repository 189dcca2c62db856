"""Extensions of Token-2022: behind the first 165 bytes of a mint or an account comes its type, then each extension as
type u16, length u16 and value, little endian."""

from collections.abc import Sequence

ACCOUNT_BYTES = 165
MINT_TYPE, ACCOUNT_TYPE = 1, 2


def read_extensions(data: bytes) -> Sequence[tuple[int, bytes]] | None:
    """Type and value of each, to the last byte; None where the bytes are no such list."""
    found: list[tuple[int, bytes]] = []
    at = ACCOUNT_BYTES + 1
    while at < len(data) and any(data[at:]):  # zeros are room that is not used
        kind, length = (int.from_bytes(data[at + offset : at + offset + 2], "little") for offset in (0, 2))
        if kind == 0 or at + 4 + length > len(data):
            return None
        found.append((kind, data[at + 4 : at + 4 + length]))
        at += 4 + length
    return found
