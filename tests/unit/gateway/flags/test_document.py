"""The flags file: what is read, and what is refused as a whole."""

import json
import os
from pathlib import Path

import pytest

from keyquorum_gateway.flags.document import FLAGS_BYTES_MAX, FlagsInvalid, parse, read
from keyquorum_gateway.flags.rollout import Rollout

CHAIN = "toy:main"
SAMPLE = Path(__file__).parents[4] / "deploy" / "config" / "flags.sample.json"


def document(flag):
    """A file with one chain."""
    return json.dumps({"chains": {CHAIN: flag}}).encode()


def test_the_sample_is_a_flags_file():
    """And shows every key that there is."""
    flags = parse(SAMPLE.read_bytes()).chains.values()
    shown = set().union(*(flag.model_fields_set for flag in flags))
    assert shown == set(type(next(iter(flags))).model_fields)
    assert {flag.rollout().stage for flag in flags} == {"enabled", "canary", "disabled"}


@pytest.mark.parametrize(
    ("flag", "rollout"),
    [
        ({}, Rollout(percent=100)),
        ({"kill": True}, Rollout(percent=100, kill=True)),
        ({"enabled": True}, Rollout(enabled=True, percent=100)),
        ({"enabled": True, "tenants": ["a"]}, Rollout(enabled=True, percent=0, tenants=frozenset("a"))),
        ({"enabled": True, "tenants": ["a"], "percent": 100}, Rollout(True, 100, frozenset("a"))),
        ({"enabled": True, "percent": 0}, Rollout(enabled=True, percent=0)),
        ({"enabled": False, "percent": 7, "sticky": "wallet"}, Rollout(False, 7, sticky="wallet")),
    ],
)
def test_what_is_left_out_means_what_it_means_in_the_configuration(flag, rollout):
    """A list of tenants without a percentage is for them alone; no list and no percentage is for everybody."""
    assert parse(document(flag)).rollouts() == {CHAIN: rollout}


@pytest.mark.parametrize(
    "wrong",
    [
        {"enabled": "true"},
        {"enabled": 1},
        {"enabled": True, "percent": 101},
        {"enabled": True, "percent": -1},
        {"enabled": True, "percent": 10.0},
        {"enabled": True, "percent": "10"},
        {"enabled": True, "percent": True},
        {"enabled": True, "tenants": "acme"},
        {"enabled": True, "tenants": ["a b"]},
        {"enabled": True, "tenants": [""]},
        {"enabled": True, "tenants": ["a", "a"]},
        {"enabled": True, "tenants": [1]},
        {"enabled": True, "sticky": "user"},
        {"enabled": True, "salt": "x" * 65},
        {"percent": 10},
        {"tenants": ["acme"]},
        {"kill": "yes"},
        {"kill": None},
        {"killed": True},
        {"audit": False},
        {"fee_ceiling": "1"},
        None,
        [],
        True,
    ],
)
def test_a_wrong_flag_is_refused(wrong):
    """With the chain in the text; a flag has no key for anything but who is in."""
    with pytest.raises(FlagsInvalid, match="toy:main"):
        parse(document(wrong))


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff", "UTF-8"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"{}", "chains"),
        (b'{"chains": []}', "chains"),
        (b'{"chains": {}, "quorum": {}}', "quorum"),
        (b'{"chains": {"Toy": {}}}', "Toy"),
        (b'{"chains": {"toy:main": {"kill": true, "kill": false}}}', "twice"),
        (b'{"chains": {"toy:main": {"kill": true}, "toy:main": {}}}', "twice"),
        (b'{"chains": {}, "chains": {}}', "twice"),
        (b'{"chains": {"toy:main": {"percent": NaN}}}', "NaN"),
        (b'{"chains": {}} trailing', "not JSON"),
        (b"[" * 200_000, "nested"),
    ],
)
def test_a_wrong_file_is_refused(data, complaint):
    """Never half of it: a kill that stands twice is no kill and no revival."""
    with pytest.raises(FlagsInvalid, match=complaint):
        parse(data)


def test_every_beginning_of_a_file_is_refused():
    """A file that is being written in place is not taken for one that is written."""
    whole = document({"enabled": True, "percent": 10, "tenants": ["acme"]})
    for length in range(len(whole)):
        with pytest.raises(FlagsInvalid):
            parse(whole[:length])


def test_what_is_no_readable_file_is_refused(tmp_path):
    """Missing, a folder, a pipe that nobody writes, a file that anybody may write, and one without end."""
    with pytest.raises(FlagsInvalid, match="No such file"):
        read(tmp_path / "none")
    with pytest.raises(FlagsInvalid, match="not a file"):
        read(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FlagsInvalid, match="not a file"):
        read(tmp_path / "pipe")
    path = tmp_path / "flags.json"
    path.write_bytes(document({}))
    path.chmod(0o646)
    with pytest.raises(FlagsInvalid, match="anybody may write"):
        read(path)
    path.chmod(0o644)
    assert read(path) == document({})
    path.write_bytes(b" " * (FLAGS_BYTES_MAX + 1))
    with pytest.raises(FlagsInvalid, match="more than"):
        read(path)
