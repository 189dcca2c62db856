"""Text that a person approves must be the text that is signed: nothing invisible, nothing that reorders it."""

from keyquorum_plugin_api.errors import InvalidPayload

_DIRECTION_MARKS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_SEPARATORS = frozenset("\u2028\u2029")
_INVISIBLE = frozenset("\u00ad\u200b\u2060\ufeff")
_REFUSED = _DIRECTION_MARKS | _SEPARATORS | _INVISIBLE


def require_readable(text: str, bytes_max: int) -> bytes:
    """UTF-8 of a text, or :class:`InvalidPayload`.

    Refused: the empty text, one that is too long, control characters other than the newline, marks that change the direction
    of writing, characters without a shape, and lone surrogates. The sets are fixed, so that parties with different Unicode
    tables agree.
    """
    if not isinstance(text, str) or not text:
        raise InvalidPayload("the text is empty")
    for character in text[: bytes_max + 1]:
        code = ord(character)
        control = (code < 0x20 and character != "\n") or 0x7F <= code < 0xA0
        if control or character in _REFUSED:
            raise InvalidPayload(f"the text contains U+{code:04X}, which cannot be seen")
    try:
        encoded = text.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidPayload("the text is not Unicode") from None
    if len(encoded) > bytes_max:
        raise InvalidPayload(f"a text has at most {bytes_max} bytes")
    return encoded
