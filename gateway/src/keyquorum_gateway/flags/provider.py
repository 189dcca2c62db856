"""An OpenFeature provider over one file, which it looks at again and again by itself.

The file is read whole at every look and compared byte by byte, so that neither a clock's grain nor a copied time stamp
hides a change. What is new counts once it was read twice in a row: a file that somebody is still writing is not judged.
A file that goes bad, or goes away, leaves the last good state in force; until there was one, nothing is resolved.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Never

import structlog
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEventDetails
from openfeature.exception import ErrorCode, ProviderNotReadyError, TypeMismatchError
from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType
from openfeature.flag_evaluation import Reason as FlagReason
from openfeature.provider import AbstractProvider, Metadata

from keyquorum_gateway.flags.document import FlagsInvalid, parse, read
from keyquorum_gateway.flags.rollout import Asker, At, Decision, Reason, Rollout

NAME: Final = "keyquorum-file"
KEY_PREFIX: Final = "chain."
LOOK_S: Final = 0.2
"""Pause between two looks at the file. A change takes effect after two of them at most, and is asked for within 2 s."""

STOP_S: Final = 5.0

_FLAG_REASONS: Final = {
    Reason.KILLED: FlagReason.DISABLED,
    Reason.DISABLED: FlagReason.DISABLED,
    Reason.TENANT: FlagReason.TARGETING_MATCH,
    Reason.CANARY: FlagReason.SPLIT,
    Reason.OUTSIDE: FlagReason.SPLIT,
}


def flag_key(chain: str) -> str:
    """The OpenFeature key of a chain's flag."""
    return KEY_PREFIX + chain


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the file says. ``rollouts`` is None until it was readable once; ``problem`` is why it is not now."""

    rollouts: Mapping[str, Rollout] | None = None
    problem: str = ""


class FileProvider(AbstractProvider):
    """Boolean flags ``chain.<CAIP-2 id>``. The context's attributes: ``tenant_id``, ``wallet_id``, and ``at``.

    Emits PROVIDER_CONFIGURATION_CHANGED with the flags that differ, PROVIDER_STALE while the last good state is in force,
    PROVIDER_ERROR where there is none, PROVIDER_READY once the file is good again.
    """

    def __init__(self, path: Path, *, look_s: float = LOOK_S) -> None:
        super().__init__()
        self._path = path
        self._look_s = look_s
        self._snapshot = Snapshot()
        self._settled: bytes | str | None = None
        self._latest: bytes | str | None = None
        self._stopped = threading.Event()
        self._watcher: threading.Thread | None = None

    @property
    def snapshot(self) -> Snapshot:
        """What counts now. Replaced as a whole, by the watching thread."""
        return self._snapshot

    def get_metadata(self) -> Metadata:
        """The provider's name."""
        return Metadata(NAME)

    def initialize(self, evaluation_context: EvaluationContext) -> None:  # noqa: ARG002 the file names no context
        """Read the file and begin to watch it; ``ProviderNotReadyError`` where it cannot be used, which is watched too."""
        self._latest = self._read()
        self._take(self._latest)
        self._watcher = threading.Thread(target=self._watch, name="chain-flags", daemon=True)
        self._watcher.start()
        if self._snapshot.rollouts is None:
            raise ProviderNotReadyError(self._snapshot.problem)

    def shutdown(self) -> None:
        """Stop watching. May be called twice."""
        self._stopped.set()
        if self._watcher is not None and self._watcher is not threading.current_thread():
            self._watcher.join(STOP_S)

    def look(self) -> None:
        """Look at the file once; what was there at the last look too, and is new, counts from now on."""
        found, before = self._read(), self._latest
        self._latest = found
        if found == before and found != self._settled:
            self._announce(self._take(found))

    def resolve_boolean_details(
        self,
        flag_key: str,
        default_value: bool,  # noqa: FBT001 OpenFeature's signature
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[bool]:
        """A chain's flag for the asker in the context; ``FLAG_NOT_FOUND`` where the file leaves it to the default."""
        rollouts = self._snapshot.rollouts
        if rollouts is None:
            return FlagResolutionDetails(
                value=default_value,
                error_code=ErrorCode.PROVIDER_NOT_READY,
                error_message=self._snapshot.problem,
                reason=FlagReason.ERROR,
            )
        chain = flag_key.removeprefix(KEY_PREFIX)
        rollout = rollouts.get(chain) if flag_key.startswith(KEY_PREFIX) else None
        decision = rollout.decide(chain, *_asker(evaluation_context)) if rollout is not None else None
        if decision is None:
            return FlagResolutionDetails(
                value=default_value,
                error_code=ErrorCode.FLAG_NOT_FOUND,
                error_message="the file does not decide it",
                reason=FlagReason.DEFAULT,
            )
        return _resolution(decision)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """There are none."""
        _refuse(flag_key, default_value, evaluation_context)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """There are none."""
        _refuse(flag_key, default_value, evaluation_context)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        """There are none."""
        _refuse(flag_key, default_value, evaluation_context)

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[FlagValueType] | Mapping[str, FlagValueType],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[FlagValueType] | Mapping[str, FlagValueType]]:
        """There are none."""
        _refuse(flag_key, default_value, evaluation_context)

    def _watch(self) -> None:
        log: Any = structlog.get_logger("keyquorum_gateway.flags")
        while not self._stopped.wait(self._look_s):
            try:
                self.look()
            except Exception:  # a kill must be seen after whatever this was
                log.exception("flags.look_failed")

    def _read(self) -> bytes | str:
        """The file's bytes, or why there are none."""
        try:
            return read(self._path)
        except FlagsInvalid as problem:
            return str(problem)

    def _take(self, found: bytes | str) -> Snapshot:
        """Take what was found as the file's state; what counted before."""
        before, self._settled = self._snapshot, found
        if isinstance(found, str):
            self._snapshot = Snapshot(before.rollouts, found)
            return before
        try:
            self._snapshot = Snapshot(parse(found).rollouts())
        except FlagsInvalid as problem:
            self._snapshot = Snapshot(before.rollouts, str(problem))
        return before

    def _announce(self, before: Snapshot) -> None:
        """Tell whoever listens what has become of the file."""
        now = self._snapshot
        if now.rollouts is None:
            details = ProviderEventDetails(message=now.problem, error_code=ErrorCode.PROVIDER_NOT_READY)
            self.emit_provider_error(details)
            return
        if now.problem:
            self.emit_provider_stale(ProviderEventDetails(message=now.problem))
            return
        if before.problem:
            self.emit_provider_ready(ProviderEventDetails())
        old = before.rollouts or {}
        changed = [flag_key(chain) for chain in {**old, **now.rollouts} if old.get(chain) != now.rollouts.get(chain)]
        if changed:
            self.emit_provider_configuration_changed(ProviderEventDetails(flags_changed=changed))


def _asker(context: EvaluationContext | None) -> tuple[Asker, At]:
    """Who asks, and when. What is missing opens nothing: no tenant is in no list, and no phase is the strictest."""
    attributes = context.attributes if context is not None else {}
    asker = Asker(str(attributes.get("tenant_id", "")), str(attributes.get("wallet_id", "")))
    match attributes.get("at"):
        case "read":
            return asker, "read"
        case "broadcast":
            return asker, "broadcast"
        case _:
            return asker, "build"


def _resolution(decision: Decision) -> FlagResolutionDetails[bool]:
    reason = _FLAG_REASONS.get(decision.reason, FlagReason.STATIC)
    return FlagResolutionDetails(value=decision.allowed, variant=decision.reason.value, reason=reason)


def _refuse(flag_key: str, *_: object) -> Never:
    raise TypeMismatchError(f"{flag_key}: flags of chains are boolean")
