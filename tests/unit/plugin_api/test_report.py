"""The report: only what a passed test saw counts, and every gap has a reason."""

from keyquorum_plugin_api.chain import CAPABILITIES
from keyquorum_plugin_api.errors import InvalidAddress, Unsupported
from keyquorum_plugin_api.testing import Suite
from keyquorum_plugin_api.testing.report import Ended, error_codes, report


def record(test: str, outcome: str = "passed", codec: str = "none-such", **evidence: object) -> Ended:
    empty = {"claimed": None, "exercised": [], "refused": [], "codes": [], "not_run": {}}
    return Ended(codec, f"{codec}:1", test, outcome, 0.5, {**empty, **evidence})


def one(*records: Ended) -> dict:
    (plugin,) = report(records)["plugins"]
    return plugin


def test_nothing_that_ran_is_nothing_that_passed():
    """An empty report is no success."""
    assert report([]) == {"format": 1, "passed": False, "plugins": []}


def test_every_capability_and_error_has_a_row():
    """Also those of which nothing was seen, with the reason."""
    plugin = one(record("a"))
    assert set(plugin["capabilities"]) == CAPABILITIES
    assert set(plugin["errors"]) == set(error_codes()) >= {"chain-error", "invalid-address", "outcome-unknown"}
    assert all(each["reason"] for each in (*plugin["capabilities"].values(), *plugin["errors"].values()))


def test_a_failed_test_proves_nothing():
    """What it saw before it failed is not credited, and the plugin has not passed."""
    plugin = one(
        record("a", "failed", claimed=["replace"], exercised=["replace"], codes=["nonce-conflict"]),
        record("b", claimed=["replace"]),
    )
    assert plugin["passed"] is False
    assert plugin["capabilities"]["replace"] == {
        "claimed": True, "exercised": [], "refused": [], "reason": "no test of it passed",
    }  # fmt: skip
    assert plugin["errors"]["nonce-conflict"]["provoked"] == []


def test_tests_are_named_for_what_they_saw():
    """Each capability and error lists them, once each, in order."""
    plugin = one(
        record("b", codes=["invalid-address"], claimed=["memo"], exercised=["memo"]),
        record("a", codes=["invalid-address"]),
        record("c", claimed=["memo"], refused=["replace"]),
    )
    assert plugin["errors"]["invalid-address"] == {"provoked": ["a", "b"], "reason": ""}
    assert plugin["capabilities"]["memo"] == {"claimed": True, "exercised": ["b"], "refused": [], "reason": ""}
    assert plugin["capabilities"]["replace"]["reason"] == "not claimed, and refused as unsupported"
    assert plugin["passed"] is True


def test_what_was_not_run_has_the_suites_reason():
    """For errors, capabilities and properties."""
    reasons = {"error:outcome-unknown": "no", "capability:message": "never", "property:dropped-blocks": "cannot"}
    plugin = one(record("a", claimed=["message"], not_run=reasons))
    assert plugin["errors"]["outcome-unknown"]["reason"] == "no"
    assert plugin["capabilities"]["message"]["reason"] == "never"
    assert plugin["not_run"] == {"dropped-blocks": "cannot"}


def test_each_codec_has_a_part_of_its_own():
    """Two plugins in one run; a failure of one is not one of the other, but the run has failed."""
    found = report([record("a", codec="one-such"), record("a", "failed", codec="two-such")])
    assert [(plugin["codec"], plugin["passed"]) for plugin in found["plugins"]] == [
        ("one-such", True), ("two-such", False),
    ]  # fmt: skip
    assert found["passed"] is False


def test_an_installed_codec_is_named_with_its_hash():
    """As parties pin it; one that is not installed, as its source says."""
    (installed,) = report([record("a", codec="bitcoin")])["plugins"]
    assert (installed["distribution"], len(installed["sha256"])) == ("keyquorum-btc", 64)
    (source,) = report([record("a")], {"name": "keyquorum-x", "version": "3"})["plugins"]
    assert (source["distribution"], source["version"], source["sha256"]) == ("keyquorum-x", "3", "")


def test_a_suite_keeps_the_evidence_of_one_test():
    """An instance is a test; what is caught, claimed and left out is in its record."""
    suite, other = Suite(), Suite()
    with suite.refused(InvalidAddress):
        raise InvalidAddress("x")
    with suite.unclaimed("import"):
        raise Unsupported("x")
    suite.exercised("memo")
    suite.not_run("error:x", "why")
    assert suite.evidence.record() == {
        "claimed": None,
        "exercised": ["memo"],
        "refused": ["import"],
        "codes": ["invalid-address", "unsupported-operation"],
        "not_run": {"error:x": "why"},
    }
    assert other.evidence.record()["codes"] == []
