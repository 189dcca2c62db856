"""How a codec host talks: frames of a 4-byte big-endian length and one JSON object, ``bytes`` as base64."""

import base64
import binascii
import json
import os
from collections.abc import Mapping
from typing import Any, Final

FRAME_BYTES_MAX: Final = 2 * 1024 * 1024  # sixteen 64 KiB messages in base64, with room to spare

_LENGTH_BYTES: Final = 4


class FrameError(Exception):
    """Proves that the other side does not speak this protocol; there is no way to go on."""


def read_frame(descriptor: int) -> dict[str, Any] | None:
    """The next object; None at the end of the stream."""
    header = _read_exactly(descriptor, _LENGTH_BYTES)
    if header is None:
        return None
    length = int.from_bytes(header, "big")
    if not 0 < length <= FRAME_BYTES_MAX:
        raise FrameError("a frame is empty or too long")
    body = _read_exactly(descriptor, length)
    if body is None:
        raise FrameError("the stream ends inside a frame")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise FrameError("a frame is not JSON") from None
    if not isinstance(value, dict):
        raise FrameError("a frame is not an object")
    return value


def encode_frame(value: Mapping[str, Any]) -> bytes:
    """The bytes of one frame; ValueError if it is too long."""
    body = json.dumps(value, separators=(",", ":")).encode()
    if len(body) > FRAME_BYTES_MAX:
        raise ValueError("the frame is too long")
    return len(body).to_bytes(_LENGTH_BYTES, "big") + body


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of ``data`` to a blocking descriptor."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def to_base64(data: bytes) -> str:
    """Bytes as they travel."""
    return base64.b64encode(data).decode()


def from_base64(text: object) -> bytes:
    """Bytes as they came; FrameError for anything but canonical base64."""
    if not isinstance(text, str):
        raise FrameError("bytes travel as base64 text")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise FrameError("bytes travel as base64 text") from None
    return data


def _read_exactly(descriptor: int, length: int) -> bytes | None:
    """``length`` bytes; None if the stream ends before the first."""
    parts: list[bytes] = []
    missing = length
    while missing:
        part = os.read(descriptor, min(missing, 1 << 20))
        if not part:
            if missing == length:
                return None
            raise FrameError("the stream ends inside a frame")
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)
