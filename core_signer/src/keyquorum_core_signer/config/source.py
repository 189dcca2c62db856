"""From a TOML file and ``KEYQUORUM_…`` variables to a validated configuration.

A variable overrides one scalar: ``KEYQUORUM_LISTEN`` is ``listen``, ``KEYQUORUM_LOG__LEVEL`` is ``level`` of ``[log]``.
Lists of tables are set in the file alone. Relative paths count from the file's folder, so that a folder can be moved.
"""

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

PREFIX: Final = "KEYQUORUM_"
_NESTING: Final = "__"
_FILE_BYTES_MAX: Final = 1024 * 1024

C = TypeVar("C", bound=BaseModel)


class ConfigError(Exception):
    """Proves that a configuration cannot be used; ``problems`` has one line for each thing that is wrong."""

    def __init__(self, source: str, problems: list[str]) -> None:
        self.source = source
        self.problems = problems
        super().__init__("\n".join(f"{source}: {problem}" for problem in problems))


def load_config(model: type[C], path: Path, environ: Mapping[str, str] | None = None) -> C:
    """Read and validate ``path`` as ``model``, ``environ`` (by default the process's) on top; raises ConfigError."""
    environ = os.environ if environ is None else environ
    source = str(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(source, [error.strerror or "cannot be read"]) from None
    if len(data) > _FILE_BYTES_MAX:
        raise ConfigError(source, [f"larger than {_FILE_BYTES_MAX} bytes"])
    try:
        table = tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(source, [f"not TOML: {error}"]) from None
    for keys in _scalars(model):
        value = environ.get(_variable(keys))
        if value is not None:
            _override(table, keys, value)
    try:
        return model.model_validate(table, context={"folder": path.parent.absolute()})
    except ValidationError as error:
        raise ConfigError(source, [_problem(entry) for entry in error.errors()]) from None


def unused_overrides(model: type[BaseModel], environ: Mapping[str, str]) -> list[str]:
    """``KEYQUORUM_…`` variables that this configuration has no key for: meant for another process, or misspelt."""
    known = {_variable(keys) for keys in _scalars(model)}
    return sorted(name for name in environ if name.startswith(PREFIX) and name not in known)


def _variable(keys: tuple[str, ...]) -> str:
    return PREFIX + _NESTING.join(keys).upper()


def _scalars(model: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of all keys that hold neither a table nor a list, through every variant of a union of tables."""
    for name, field in model.model_fields.items():
        variants = list(_variants(field.annotation))
        tables = [variant for variant in variants if isinstance(variant, type) and issubclass(variant, BaseModel)]
        if tables:
            for table in tables:
                yield from _scalars(table, (*above, name))
        elif not any(get_origin(variant) in (tuple, list) for variant in variants):
            yield (*above, name)


def _variants(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is Annotated:
        yield from _variants(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType):
        for variant in get_args(annotation):
            if variant is not NoneType:
                yield from _variants(variant)
    else:
        yield annotation


def _override(table: dict[str, Any], keys: tuple[str, ...], value: str) -> None:
    *sections, last = keys
    for section in sections:
        inner = table.setdefault(section, {})
        if not isinstance(inner, dict):
            return  # the file is wrong here, and validation will say so
        table = inner
    table[last] = value


def _problem(entry: Any) -> str:
    """One line: where, and what; never the value, which might be a secret pasted into the wrong place."""
    where = ".".join(str(part) for part in entry["loc"])
    what = "unknown key" if entry["type"] == "extra_forbidden" else str(entry["msg"]).removeprefix("Value error, ")
    return f"{where}: {what}" if where else what
