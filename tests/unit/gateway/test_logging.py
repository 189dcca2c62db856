"""Redaction that no caller can forget."""

import json
import logging

import pytest
import structlog

from keyquorum_gateway.config import LogConfig
from keyquorum_gateway.logging import configure_logging, redact
from keyquorum_gateway.state.api_keys import new_api_key

KEY = new_api_key()
ADDRESS = "9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin"


@pytest.mark.parametrize(
    "event",
    [
        {"event": f"presented {KEY}"},
        {"event": "x", "header": f"Bearer {KEY}"},
        {"event": "x", "authorization": "Basic abcd"},
        {"event": "x", "nested": {"list": [f"key={KEY}"], "pepper": "abcd"}},
        {"event": "x", "key_share": "abcd", "initiator_seed": "abcd", "signature": "abcd"},
        {"event": "x", "payload": b"abcd"},
        {"event": "x", "exception": f"Traceback: KeyError('{KEY}')"},
    ],
)
def test_secrets_are_cut_out(event):
    """By name, by form, at any depth, in any text."""
    text = json.dumps(redact(None, "info", event))
    assert KEY not in text
    assert "abcd" not in text


def test_addresses_are_shortened():
    """Enough to recognise one's own, not enough to follow somebody."""
    shown = redact(None, "info", {"event": "x", "destination": ADDRESS, "addresses": "n/a", "operation_id": "op_1"})
    assert shown["destination"] == "9xQeWvG8…"
    assert shown["operation_id"] == "op_1"


def _fail(local):
    raise ValueError(len(local))


@pytest.mark.parametrize("form", ["json", "console"])
def test_both_loggers_go_through_it(capsys, form):
    """The standard library's too, and tracebacks without local variables."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        configure_logging(LogConfig(level="info", format=form))
        structlog.get_logger("a").info("one", token="secret-token")
        logging.getLogger("b").warning("two %s", KEY)
        try:
            _fail(KEY + "local")
        except ValueError:
            structlog.get_logger("a").exception("three")
        structlog.get_logger("a").debug("four")
    finally:
        root.handlers[:], root.level = handlers, level
        structlog.reset_defaults()
    text = capsys.readouterr().err
    for word in ("one", "two", "three", "ValueError"):
        assert word in text
    for word in ("secret-token", KEY, "four"):
        assert word not in text
