"""Texts that people approve before they are signed: memos and messages. What cannot be seen is not signed."""

from keyquorum_plugin_api.errors import InvalidPayload

# Fixed sets, not the tables of some Unicode version: all parties have to agree.
_CONTROLS = frozenset(map(chr, (*range(0x20), *range(0x7F, 0xA0)))) - {"\n"}
_REORDERING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_INVISIBLE = frozenset("\u00ad\u200b\u2028\u2029\u2060\ufeff")
_REFUSED = _CONTROLS | _REORDERING | _INVISIBLE


def to_utf8(text: str, bytes_max: int) -> bytes:
    """UTF-8 of a text of 1 to ``bytes_max`` bytes; :class:`InvalidPayload` for what is longer or hides something.

    Refused are control characters other than the newline, marks that change the direction of writing, characters
    without a shape, and lone surrogates.
    """
    if not isinstance(text, str) or not 0 < len(text) <= bytes_max:
        raise InvalidPayload(f"a text has 1 to {bytes_max} bytes")
    for character in text:
        if character in _REFUSED:
            raise InvalidPayload(f"the text contains U+{ord(character):04X}, which cannot be seen")
    try:
        encoded = text.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidPayload("the text is not Unicode") from None
    if len(encoded) > bytes_max:
        raise InvalidPayload(f"a text has 1 to {bytes_max} bytes")
    return encoded


def from_utf8(encoded: bytes, bytes_max: int) -> str:
    """The text, if :func:`to_utf8` encodes it like this; :class:`InvalidPayload` otherwise."""
    try:
        text = encoded.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidPayload("the text is not UTF-8") from None
    to_utf8(text, bytes_max)
    return text
