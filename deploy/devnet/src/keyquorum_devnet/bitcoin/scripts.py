"""Output scripts: their kinds, their regtest addresses, and their two textual forms (rust-bitcoin's and Core's)."""

import hashlib
from collections.abc import Iterator
from enum import Enum
from functools import lru_cache

import base58
from embit import bech32

HRP = "bcrt"
_OTHER_HRPS = ("bc1", "tb1")
_P2PKH_VERSION, _P2SH_VERSION = 0x6F, 0xC4  # shared by all test networks
_MAINNET_VERSIONS = (0x00, 0x05)
ADDRESS_CHARACTERS_MAX = 90  # BIP 173

_OP_RETURN = 0x6A
_FIRST_NAMED = 0x61
_NAME_ROW = (
    "NOP VER IF NOTIF VERIF VERNOTIF ELSE ENDIF VERIFY RETURN TOALTSTACK FROMALTSTACK 2DROP 2DUP 3DUP 2OVER 2ROT 2SWAP "
    "IFDUP DEPTH DROP DUP NIP OVER PICK ROLL ROT SWAP TUCK CAT SUBSTR LEFT RIGHT SIZE INVERT AND OR XOR EQUAL "
    "EQUALVERIFY RESERVED1 RESERVED2 1ADD 1SUB 2MUL 2DIV NEGATE ABS NOT 0NOTEQUAL ADD SUB MUL DIV MOD LSHIFT RSHIFT "
    "BOOLAND BOOLOR NUMEQUAL NUMEQUALVERIFY NUMNOTEQUAL LESSTHAN GREATERTHAN LESSTHANOREQUAL GREATERTHANOREQUAL MIN "
    "MAX WITHIN RIPEMD160 SHA1 SHA256 HASH160 HASH256 CODESEPARATOR CHECKSIG CHECKSIGVERIFY CHECKMULTISIG "
    "CHECKMULTISIGVERIFY NOP1 CHECKLOCKTIMEVERIFY CHECKSEQUENCEVERIFY NOP4 NOP5 NOP6 NOP7 NOP8 NOP9 NOP10 CHECKSIGADD"
)
_NAMES = tuple(_NAME_ROW.split())
_ESPLORA_NAMES = {"CHECKLOCKTIMEVERIFY": "CLTV", "CHECKSEQUENCEVERIFY": "CSV"}


class Kind(Enum):
    """What a script is: its name in Esplora, and its name in Core."""

    P2PK = ("p2pk", "pubkey")
    P2PKH = ("p2pkh", "pubkeyhash")
    P2SH = ("p2sh", "scripthash")
    P2WPKH = ("v0_p2wpkh", "witness_v0_keyhash")
    P2WSH = ("v0_p2wsh", "witness_v0_scripthash")
    P2TR = ("v1_p2tr", "witness_v1_taproot")
    WITNESS_UNKNOWN = ("unknown", "witness_unknown")
    OP_RETURN = ("op_return", "nulldata")
    EMPTY = ("empty", "nonstandard")
    NONSTANDARD = ("unknown", "nonstandard")

    @property
    def esplora(self) -> str:
        """As ``scriptpubkey_type`` has it."""
        return self.value[0]

    @property
    def core(self) -> str:
        """As ``scriptPubKey.type`` has it."""
        return self.value[1]


class InvalidAddress(ValueError):
    """The text is no address."""


class WrongNetwork(InvalidAddress):
    """The text is an address of another network."""


@lru_cache(maxsize=16_384)
def kind_of(script: bytes) -> Kind:
    """What a script is."""
    program = witness_program(script)
    if program is not None:
        known = {(0, 20): Kind.P2WPKH, (0, 32): Kind.P2WSH, (1, 32): Kind.P2TR}
        fallback = Kind.NONSTANDARD if program[0] == 0 else Kind.WITNESS_UNKNOWN
        return known.get((program[0], len(program[1])), fallback)
    return _older_kind(script) if script else Kind.EMPTY


def _older_kind(script: bytes) -> Kind:
    """What a script without a witness program is."""
    if len(script) == 25 and script[:3] == b"\x76\xa9\x14" and script[23:] == b"\x88\xac":
        return Kind.P2PKH
    if len(script) == 23 and script[:2] == b"\xa9\x14" and script[22] == 0x87:
        return Kind.P2SH
    if script[0] == _OP_RETURN:
        return Kind.OP_RETURN if is_push_only(script[1:]) else Kind.NONSTANDARD
    if len(script) in (35, 67) and script[0] == len(script) - 2 and script[-1] == 0xAC:
        return Kind.P2PK
    return Kind.NONSTANDARD


def witness_program(script: bytes) -> tuple[int, bytes] | None:
    """Version and program of a witness output (BIP 141); None for any other script."""
    if not 4 <= len(script) <= 42 or script[1] != len(script) - 2:
        return None
    if script[0] == 0:
        return 0, script[2:]
    return (script[0] - 0x50, script[2:]) if 0x51 <= script[0] <= 0x60 else None


def is_unspendable(script: bytes) -> bool:
    """Whether no coin comes of such an output."""
    return script[:1] == bytes([_OP_RETURN]) or len(script) > 10_000


@lru_cache(maxsize=16_384)
def address_of(script: bytes) -> str | None:
    """The regtest address of a script; None where there is none."""
    program = witness_program(script)
    if program is not None:
        encoded: str | None = bech32.encode(HRP, *program)
        return encoded
    kind = kind_of(script)
    if kind is Kind.P2PKH:
        return base58.b58encode_check(bytes([_P2PKH_VERSION]) + script[3:23]).decode()
    if kind is Kind.P2SH:
        return base58.b58encode_check(bytes([_P2SH_VERSION]) + script[2:22]).decode()
    return None


@lru_cache(maxsize=16_384)
def script_of(address: str) -> bytes:
    """The script that an address names; :class:`InvalidAddress`."""
    if len(address) > ADDRESS_CHARACTERS_MAX:
        raise InvalidAddress(address[:ADDRESS_CHARACTERS_MAX])
    lower = address.lower()
    if lower.startswith(_OTHER_HRPS):
        raise WrongNetwork(address)
    if lower.startswith(f"{HRP}1"):
        version, program = bech32.decode(HRP, address)
        if version is None or (version == 0 and len(program) not in (20, 32)):
            raise InvalidAddress(address)
        return bytes([version + 0x50 if version else 0, len(program), *program])
    try:
        payload = base58.b58decode_check(address)
    except ValueError:
        raise InvalidAddress(address) from None
    if len(payload) != 21:
        raise InvalidAddress(address)
    if payload[0] in _MAINNET_VERSIONS:
        raise WrongNetwork(address)
    if payload[0] == _P2PKH_VERSION:
        return b"\x76\xa9\x14" + payload[1:] + b"\x88\xac"
    if payload[0] == _P2SH_VERSION:
        return b"\xa9\x14" + payload[1:] + b"\x87"
    raise InvalidAddress(address)


def script_hash(script: bytes) -> str:
    """Esplora's name for a script."""
    return hashlib.sha256(script).hexdigest()


def is_push_only(script: bytes) -> bool:
    """Whether a script does nothing but push."""
    return all(opcode <= 0x60 and data is not None for opcode, data in _operations(script))


def esplora_asm(script: bytes) -> str:
    """The script as rust-bitcoin writes it."""
    return " ".join(_esplora_words(script))


def core_asm(script: bytes) -> str:
    """The script as Core writes it."""
    return " ".join(_core_word(opcode, data) for opcode, data in _operations(script))


def _operations(script: bytes) -> Iterator[tuple[int, bytes | None]]:
    """Opcodes with what they push; None for a push that ends early."""
    at = 0
    while at < len(script):
        opcode = script[at]
        at += 1
        if opcode > 0x4E:
            yield opcode, b""
            continue
        size = opcode
        if opcode >= 0x4C:
            width = 1 << (opcode - 0x4C)
            size = int.from_bytes(script[at : at + width], "little")
            at += width
        data = script[at : at + size]
        yield opcode, data if len(data) == size and at <= len(script) else None
        at += size


def _name(opcode: int) -> str:
    if opcode == 0x50:
        return "RESERVED"
    index = opcode - _FIRST_NAMED
    return _NAMES[index] if 0 <= index < len(_NAMES) else "INVALIDOPCODE"


def _esplora_words(script: bytes) -> Iterator[str]:
    for opcode, data in _operations(script):
        if data is None:
            yield "<unexpected end>"
        elif opcode == 0:
            yield "OP_0"
        elif opcode <= 0x4E:
            yield f"OP_PUSHBYTES_{opcode}" if opcode < 0x4C else f"OP_PUSHDATA{1 << (opcode - 0x4C)}"
            yield data.hex()
        elif opcode == 0x4F:
            yield "OP_PUSHNUM_NEG1"
        elif 0x51 <= opcode <= 0x60:
            yield f"OP_PUSHNUM_{opcode - 0x50}"
        else:
            name = _name(opcode)
            yield f"OP_{_ESPLORA_NAMES.get(name, name)}"


def _core_word(opcode: int, data: bytes | None) -> str:
    if data is None:
        return "[error]"
    if opcode == 0:
        return "0"
    if opcode <= 0x4E:
        return data.hex() if len(data) > 4 else str(_number(data))
    if opcode == 0x4F:
        return "-1"
    return str(opcode - 0x50) if 0x51 <= opcode <= 0x60 else f"OP_{_name(opcode)}"


def _number(data: bytes) -> int:
    value = int.from_bytes(data, "little")
    sign = 1 << (8 * len(data) - 1)
    return -(value & ~sign) if value & sign else value
