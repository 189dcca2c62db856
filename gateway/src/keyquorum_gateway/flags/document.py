"""The flags file: JSON, every key known, nothing said twice. What is wrong is refused as a whole, so that no half counts.

``{"chains": {"<CAIP-2 id>": {"enabled", "percent", "tenants", "sticky", "salt", "kill", "note"}}}``; every key of a chain
may be left out. deploy/config/flags.sample.json shows them, docs/operations.md explains them.
"""

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from keyquorum_gateway.config import CaipChain
from keyquorum_gateway.flags.rollout import Rollout, Sticky

FLAGS_BYTES_MAX: Final = 1024 * 1024
"""A flags file of some ten thousand tenants; what is longer is not read."""

Tenant = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,128}$")]
Percent = Annotated[int, Field(ge=0, le=100)]


class FlagsInvalid(Exception):
    """The file cannot be used; the text says where and why, for its operator."""


class ChainFlag(BaseModel):
    """One chain's table. Without ``percent``, listed tenants are all there are, and an empty list means everybody."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    enabled: bool | None = None
    percent: Percent | None = None
    tenants: Annotated[tuple[Tenant, ...], Field(max_length=10_000)] = ()
    sticky: Sticky = "tenant"
    salt: Annotated[str, StringConstraints(max_length=64)] = ""
    kill: bool = False
    note: Annotated[str, StringConstraints(max_length=1000)] = ""

    @model_validator(mode="after")
    def _says_what_it_means(self) -> Self:
        if self.enabled is None and (self.percent is not None or self.tenants):
            raise ValueError("percent and tenants need enabled")
        if len(set(self.tenants)) != len(self.tenants):
            raise ValueError("a tenant is listed twice")
        return self

    def rollout(self) -> Rollout:
        """What the rules work with."""
        everybody = 0 if self.tenants else 100
        return Rollout(
            enabled=self.enabled,
            percent=everybody if self.percent is None else self.percent,
            tenants=frozenset(self.tenants),
            sticky=self.sticky,
            salt=self.salt,
            kill=self.kill,
        )


class FlagsDocument(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    chains: dict[CaipChain, ChainFlag]

    def rollouts(self) -> Mapping[str, Rollout]:
        """By chain."""
        return {chain: flag.rollout() for chain, flag in self.chains.items()}


def parse(data: bytes) -> FlagsDocument:
    """The document of a file's bytes; :class:`FlagsInvalid` for anything else."""
    try:
        tree = json.loads(data.decode("utf-8"), object_pairs_hook=_each_once, parse_constant=_no_constant)
        if not isinstance(tree, dict):
            raise FlagsInvalid("not a JSON object")
        return FlagsDocument.model_validate_json(data)
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, e['loc'])) or '(file)'}: {e['msg']}" for e in error.errors(include_input=False)]
        raise FlagsInvalid("; ".join(wrong)[:1000]) from None
    except UnicodeDecodeError:
        raise FlagsInvalid("not UTF-8") from None
    except ValueError as error:
        raise FlagsInvalid(f"not JSON: {error}") from None
    except RecursionError:
        raise FlagsInvalid("nested too deeply") from None


def read(path: Path) -> bytes:
    """The file's bytes; :class:`FlagsInvalid` where there are none, too many, or where strangers could write them.

    Opened without blocking, so that a pipe in its place holds nobody up.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise FlagsInvalid(f"cannot be read: {error.strerror}") from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise FlagsInvalid("not a file")
        if found.st_mode & stat.S_IWOTH:
            raise FlagsInvalid("anybody may write it (chmod o-w)")
        with os.fdopen(os.dup(descriptor), "rb") as file:
            data = file.read(FLAGS_BYTES_MAX + 1)
    except OSError as error:
        raise FlagsInvalid(f"cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)
    if len(data) > FLAGS_BYTES_MAX:
        raise FlagsInvalid(f"more than {FLAGS_BYTES_MAX} bytes")
    return data


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
