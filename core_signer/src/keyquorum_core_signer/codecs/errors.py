"""How asking a codec can end, other than with an answer."""


class CodecError(Exception):
    """Base of everything below; ``detail`` is printable, bounded, and may be a codec's own words."""

    def __init__(self, detail: str) -> None:
        self.detail = detail
        super().__init__(detail)


class CodecRefused(CodecError):
    """Proves that the codec would not start as pinned: another hash or version, or it does not load."""


class CodecRejected(CodecError):
    """The codec says that its input is not acceptable, with a code of ``keyquorum_plugin_api.errors``."""

    def __init__(self, code: str, detail: str) -> None:
        self.code = code
        super().__init__(detail)


class CodecFault(CodecError):
    """Proves that the codec or its process broke its contract: crashed, ran out of time, answered nonsense.

    Nothing is known about the payload then. The process was ended; the next question starts another.
    """
