"""Keys and tables that every process's configuration shares."""

import ipaddress
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationInfo


class Section(BaseModel):
    """A table in which every key is known."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def split_address(text: str) -> tuple[str, int]:
    """``host:port`` or ``[v6]:port`` as a pair; raises ValueError. Port 0 asks the system for a free one."""
    host, separator, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    if not separator or not host or (":" in host) != bracketed:
        raise ValueError("not host:port")
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ValueError("the port is 0 to 65535")
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether a literal host can only be reached from this machine; names other than localhost are not trusted to be."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _address(text: str) -> str:
    split_address(text)
    return text


def _plaintext_address(text: str) -> str:
    if not is_loopback(split_address(text)[0]):
        raise ValueError("a listener without TLS stays on loopback")
    return text


def _collector(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme == "https" and parts.hostname:
        return text
    if parts.scheme == "http" and parts.hostname and is_loopback(parts.hostname):
        return text
    raise ValueError("an https:// address, or http:// on loopback")


def _below_folder(path: Path, info: ValidationInfo) -> Path:
    folder = (info.context or {}).get("folder")
    return path if folder is None else Path(folder) / path


Address = Annotated[str, AfterValidator(_address)]
PlaintextAddress = Annotated[str, AfterValidator(_plaintext_address)]
Collector = Annotated[str, AfterValidator(_collector)]
ConfigPath = Annotated[Path, AfterValidator(_below_folder)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\z")]


class Transport(Section):
    """The TLS certificate that peers pin in their rosters, and its key."""

    certificate: ConfigPath
    key: ConfigPath


class Log(Section):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"


class Telemetry(Section):
    """Where traces and metrics go; nothing leaves the process unless it is set here."""

    otlp_endpoint: Collector | None = None
    span_file: ConfigPath | None = None  # one JSON object per finished span, for a machine without a collector
    metrics_listen: PlaintextAddress | None = None
