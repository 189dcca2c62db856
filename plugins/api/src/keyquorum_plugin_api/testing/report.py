"""The conformance report: what a plugin claims, what was seen to work, which errors were provoked, and what was not run."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from typing import Any, Final

from keyquorum_plugin_api import errors
from keyquorum_plugin_api.artifact import ArtifactError, artifact_hash, find_codec
from keyquorum_plugin_api.chain import CAPABILITIES
from keyquorum_plugin_api.errors import ChainError

FORMAT: Final = 1
PASSED: Final = "passed"

_BASE: Final = "no error is raised as such: each has a class of its own"
_NO_ADAPTER: Final = "the suite of adapters was not run"


@dataclass(frozen=True, slots=True)
class Ended:
    """One test of a suite, as it ended. ``evidence`` is :meth:`Evidence.record` of it."""

    codec: str
    chain: str
    test: str
    outcome: str  # passed, failed, skipped
    duration_s: float
    evidence: Mapping[str, Any]


def report(records: Iterable[Ended], fallback: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The report on every codec that was tested. ``fallback`` names a distribution and version that are not installed."""
    by_codec: dict[str, list[Ended]] = {}
    for record in records:
        by_codec.setdefault(record.codec, []).append(record)
    plugins = [_plugin(codec, tests, fallback or {}) for codec, tests in sorted(by_codec.items())]
    return {"format": FORMAT, "passed": bool(plugins) and all(p["passed"] for p in plugins), "plugins": plugins}


def error_codes() -> tuple[str, ...]:
    """The code of every error that a plugin can raise."""
    kinds = (each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, ChainError))
    return tuple(sorted(kind.code for kind in kinds))


def _plugin(codec: str, tests: Sequence[Ended], fallback: Mapping[str, str]) -> dict[str, Any]:
    claimed = next((set(t.evidence["claimed"]) for t in tests if t.evidence["claimed"] is not None), None)
    return {
        **_distribution(codec, fallback),
        "codec": codec,
        "chains": sorted({test.chain for test in tests}),
        "passed": all(test.outcome == PASSED for test in tests),
        "capabilities": {name: _capability(name, claimed, tests) for name in sorted(CAPABILITIES)},
        "errors": {code: _error(code, claimed, tests) for code in error_codes()},
        "not_run": _not_run(tests, "property:"),
        "tests": [
            {"test": test.test, "outcome": test.outcome, "duration_s": round(test.duration_s, 3)} for test in tests
        ],
    }


def _distribution(codec: str, fallback: Mapping[str, str]) -> dict[str, str]:
    try:
        distribution, _ = find_codec(codec)
        return {
            "distribution": distribution.metadata["Name"],
            "version": distribution.version,
            "sha256": artifact_hash(distribution).hex(),
        }
    except (ArtifactError, PackageNotFoundError):
        return {"distribution": fallback.get("name", ""), "version": fallback.get("version", ""), "sha256": ""}


def _capability(name: str, claimed: set[str] | None, tests: Sequence[Ended]) -> dict[str, Any]:
    exercised = _tests_with(tests, "exercised", name)
    refused = _tests_with(tests, "refused", name)
    is_claimed = claimed is not None and name in claimed
    reason = ""
    if claimed is None:
        reason = _NO_ADAPTER
    elif not is_claimed:
        reason = "not claimed" + (", and refused as unsupported" if refused else "")
    elif not exercised:
        reason = _not_run(tests, f"capability:{name}").get("", "no test of it passed")
    return {"claimed": is_claimed, "exercised": exercised, "refused": refused, "reason": reason}


def _error(code: str, claimed: set[str] | None, tests: Sequence[Ended]) -> dict[str, Any]:
    provoked = _tests_with(tests, "codes", code)
    reason = ""
    if not provoked:
        said = _not_run(tests, f"error:{code}").get("")
        default = _NO_ADAPTER if claimed is None else "nothing that was done to this chain led to it"
        reason = _BASE if code == ChainError.code else said or default
    return {"provoked": provoked, "reason": reason}


def _tests_with(tests: Sequence[Ended], kind: str, name: str) -> list[str]:
    """The passed tests whose evidence has it."""
    return sorted({test.test for test in tests if test.outcome == PASSED and name in test.evidence[kind]})


def _not_run(tests: Sequence[Ended], prefix: str) -> dict[str, str]:
    reasons = {what: reason for test in tests for what, reason in test.evidence["not_run"].items()}
    return {what[len(prefix) :]: reason for what, reason in sorted(reasons.items()) if what.startswith(prefix)}
