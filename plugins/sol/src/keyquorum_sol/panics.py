"""Containment of what Rust code under solders can throw."""

from collections.abc import Iterator
from contextlib import contextmanager

from keyquorum_plugin_api.errors import ChainError

_PANIC = "PanicException"  # pyo3's; derived from BaseException, and not importable by name


@contextmanager
def containing_panics(refusal: ChainError) -> Iterator[None]:
    """Turn any failure inside, panics of Rust code included, into ``refusal``; chain errors pass as they are."""
    try:
        yield
    except ChainError:
        raise
    except Exception:  # noqa: BLE001 solders has many, and none of them may decide more than a refusal
        raise refusal from None
    except BaseException as error:
        if type(error).__name__ != _PANIC:
            raise
        raise refusal from None
