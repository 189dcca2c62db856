"""What a suite's tests find out on their way: the part of a conformance report that an outcome alone does not tell."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from keyquorum_plugin_api.chain import ChainAdapter
from keyquorum_plugin_api.errors import ChainError, Unsupported
from keyquorum_plugin_api.signer import SigningError
from keyquorum_plugin_api.testing.refusals import Refusal, refused


@dataclass(slots=True)
class Evidence:
    """Of one test. It counts only if the test passed.

    ``not_run`` maps ``capability:…``, ``error:…`` or ``property:…`` to the reason why this target shows nothing of it.
    """

    claimed: frozenset[str] | None = None  # capabilities, where an adapter was asked
    exercised: set[str] = field(default_factory=set)  # capabilities that were seen to work
    refused: set[str] = field(default_factory=set)  # capabilities that are not claimed, and were refused
    codes: set[str] = field(default_factory=set)  # of errors that were provoked
    not_run: dict[str, str] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """As it travels between processes."""
        return {
            "claimed": None if self.claimed is None else sorted(self.claimed),
            "exercised": sorted(self.exercised),
            "refused": sorted(self.refused),
            "codes": sorted(self.codes),
            "not_run": dict(self.not_run),
        }


class Suite:
    """Base of the suites: an instance runs one test, and keeps its evidence."""

    @property
    def evidence(self) -> Evidence:
        """What was found out until now."""
        found: Evidence = self.__dict__.setdefault("_evidence", Evidence())
        return found

    @contextmanager
    def refused(self, *kinds: type[ChainError] | type[SigningError], what: str = "") -> Iterator[Refusal]:
        """As :func:`refused`, and the error's code is evidence."""
        with refused(*kinds, what=what) as refusal:
            yield refusal
        if isinstance(refusal.error, ChainError):
            self.evidence.codes.add(refusal.error.code)

    @contextmanager
    def unclaimed(self, capability: str) -> Iterator[None]:
        """Fail unless what is done inside is refused as an operation that is not offered."""
        with self.refused(Unsupported, what=f"although {capability} is not claimed"):
            yield
        self.evidence.refused.add(capability)

    def claims(self, adapter: ChainAdapter, capability: str) -> bool:
        """Whether the adapter says that it offers this."""
        self.evidence.claimed = adapter.info().capabilities
        return capability in self.evidence.claimed

    def exercised(self, *capabilities: str) -> None:
        """These were seen to work."""
        self.evidence.exercised.update(capabilities)

    def not_run(self, what: str, reason: str) -> None:
        """Say in the report why this target shows nothing of ``what``."""
        self.evidence.not_run[what] = reason
