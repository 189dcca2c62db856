"""Structured logs with redaction that no caller can forget: it runs on every line, whatever was passed.

No secret, token, share or full address appears in a log line. Values under telling names are dropped, anything that has
the form of an API key is cut out of any text, and addresses are shortened.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Final

import structlog

from keyquorum_gateway.config import LogConfig

_SECRET_NAMES: Final = re.compile(
    r"(secret|password|passphrase|pepper|seed|private|token|authorization|api_key$|share|signature$|mnemonic)",
    re.IGNORECASE,
)
_ADDRESS_NAMES: Final = re.compile(r"(address|destination|source|recipient|public_key)$", re.IGNORECASE)
_API_KEY: Final = re.compile(r"kq_[A-Za-z0-9_-]{20,}")
_REDACTED: Final = "[redacted]"
_ADDRESS_CHARS: Final = 8


def configure_logging(config: LogConfig) -> None:
    """Set the process's logging up; the standard library's loggers go through the same redaction."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer() if config.format == "json" else structlog.dev.ConsoleRenderer(colors=False)
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(config.level.upper())
    logging.getLogger("aiohttp.access").disabled = True
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Drop, cut out or shorten what must not be logged."""
    for name in list(event):
        event[name] = _redacted(name, event[name])
    return event


def _redacted(name: str, value: Any) -> Any:
    if _SECRET_NAMES.search(name):
        return _REDACTED
    if isinstance(value, dict):
        return {key: _redacted(str(key), each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(name, each) for each in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return f"[{len(value)} bytes]"
    return _shortened(name, value) if isinstance(value, str) else value


def _shortened(name: str, value: str) -> str:
    if _ADDRESS_NAMES.search(name) and len(value) > 2 * _ADDRESS_CHARS:
        return f"{value[:_ADDRESS_CHARS]}…"
    return _API_KEY.sub(_REDACTED, value)
