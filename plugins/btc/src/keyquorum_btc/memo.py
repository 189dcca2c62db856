"""A memo: one output of nothing whose script is OP_RETURN and the text, in the shortest push there is."""

from typing import Final

from keyquorum_btc.limits import MEMO_BYTES_MAX
from keyquorum_btc.readable import from_utf8, to_utf8
from keyquorum_plugin_api.errors import InvalidPayload

_OP_RETURN: Final = b"\x6a"
_OP_PUSHDATA1: Final = b"\x4c"
_DIRECT_PUSH_MAX: Final = 75


def memo_script(text: str) -> bytes:
    """The scriptPubKey that carries a text of 1 to 80 bytes; :class:`InvalidPayload` for another."""
    body = to_utf8(text, MEMO_BYTES_MAX)
    push = bytes([len(body)]) if len(body) <= _DIRECT_PUSH_MAX else _OP_PUSHDATA1 + bytes([len(body)])
    return _OP_RETURN + push + body


def is_memo(script: bytes) -> bool:
    """Whether a script claims to be a memo: nobody can ever spend what starts with OP_RETURN."""
    return script.startswith(_OP_RETURN)


def memo_of(script: bytes) -> str:
    """The text; :class:`InvalidPayload` unless :func:`memo_script` makes the same script."""
    header = 3 if script[1:2] == _OP_PUSHDATA1 else 2
    text = from_utf8(script[header:], MEMO_BYTES_MAX)
    if memo_script(text) != script:
        raise InvalidPayload("an OP_RETURN output holds one text")
    return text
