"""Text that a person approves must be the text that is signed: nothing invisible, nothing that reorders it."""

from keyquorum_plugin_api.errors import InvalidPayload

_BIDIRECTIONAL = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_INVISIBLE = frozenset("\u00ad\u200b\u2060\ufeff")  # as Bitcoin's and Ethereum's codecs: two texts that look alike
_LINE_SEPARATORS = frozenset("\u2028\u2029")


def require_readable(text: str) -> bytes:
    """UTF-8 of a text, or :class:`InvalidPayload`.

    Refused: the empty text, control characters other than the newline, marks that change the direction of writing, and
    lone surrogates. The sets are fixed, so that parties with different Unicode tables agree.
    """
    if not text:
        raise InvalidPayload("the text is empty")
    for character in text:
        code = ord(character)
        control = (code < 0x20 and character != "\n") or 0x7F <= code < 0xA0
        if control or character in _BIDIRECTIONAL | _INVISIBLE | _LINE_SEPARATORS:
            raise InvalidPayload(f"the text contains the control character U+{code:04X}")
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidPayload("the text is not Unicode") from None
