"""The file provider: it notices every change and no half of one, keeps the last good state, and tells what happened."""

import json
import os
import threading
import time

import pytest
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent
from openfeature.exception import ErrorCode, OpenFeatureError, ProviderNotReadyError

from keyquorum_gateway.flags.provider import FileProvider, flag_key
from keyquorum_gateway.flags.rollout import Rollout

CHAIN, OTHER = "toy:main", "toy:other"
ON, OFF, KILL = {"enabled": True}, {"enabled": False}, {"kill": True}


def document(flags):
    return json.dumps({"chains": flags}).encode()


@pytest.fixture
def path(tmp_path):
    """A flags file where one chain is open."""
    file = tmp_path / "flags.json"
    file.write_bytes(document({CHAIN: ON}))
    return file


@pytest.fixture
def make(path):
    """Providers that look when they are told to, with what they emit; stopped at the end."""
    made = []

    def making(*, look_s=3600.0, readable=True):
        provider = FileProvider(path, look_s=look_s)
        provider.heard = []
        provider.attach(lambda _, event, details: provider.heard.append((event, details)))
        made.append(provider)
        if readable:
            provider.initialize(EvaluationContext())
        else:
            with pytest.raises(ProviderNotReadyError):
                provider.initialize(EvaluationContext())
        return provider

    yield making
    for provider in made:
        provider.shutdown()


def ask(provider, chain=CHAIN, at="build", tenant="acme"):
    """An evaluation, as value and variant."""
    context = EvaluationContext(tenant, {"tenant_id": tenant, "wallet_id": "", "at": at})
    found = provider.resolve_boolean_details(flag_key(chain), default_value=False, evaluation_context=context)
    return found.error_code or (found.value, found.variant)


def look_twice(provider):
    provider.look()
    provider.look()


def events(provider):
    return [event for event, _ in provider.heard]


def test_it_resolves_what_the_file_says(make):
    """A chain that is not in it is left to the default, and so is a key that names no chain."""
    provider = make()
    assert ask(provider) == (True, "everyone")
    assert ask(provider, OTHER) is ErrorCode.FLAG_NOT_FOUND
    found = provider.resolve_boolean_details(CHAIN, default_value=True)
    assert (found.error_code, found.value) == (ErrorCode.FLAG_NOT_FOUND, True)


def test_without_a_context_it_is_asked_most_strictly(make, path):
    """A caller that forgets who asks, or when, opens nothing."""
    path.write_bytes(document({CHAIN: {"enabled": True, "tenants": ["acme"]}}))
    provider = make()
    assert provider.resolve_boolean_details(flag_key(CHAIN), default_value=True).value is False
    assert ask(provider, at="anything") == (True, "tenant")
    assert ask(provider, at="anything", tenant="globex") == (False, "not-in-canary")


@pytest.mark.parametrize(("kind", "default"), [("string", "x"), ("integer", 1), ("float", 1.0), ("object", {"a": 1})])
def test_there_are_boolean_flags_alone(make, kind, default):
    """Asked for anything else, it does not guess."""
    with pytest.raises(OpenFeatureError) as caught:
        getattr(make(), f"resolve_{kind}_details")(flag_key(CHAIN), default)
    assert caught.value.error_code is ErrorCode.TYPE_MISMATCH


def test_a_change_counts_when_it_was_seen_twice(make, path):
    """And the event names the flags that differ, and no others."""
    path.write_bytes(document({CHAIN: ON, OTHER: OFF}))
    provider = make()
    path.write_bytes(document({CHAIN: KILL, OTHER: OFF}))
    provider.look()
    assert ask(provider) == (True, "everyone")
    provider.look()
    assert ask(provider) == (False, "killed")
    [(event, details)] = provider.heard
    assert event is ProviderEvent.PROVIDER_CONFIGURATION_CHANGED
    assert details.flags_changed == [flag_key(CHAIN)]
    look_twice(provider)
    assert len(provider.heard) == 1


def test_another_spelling_of_the_same_flags_is_no_change(make, path):
    """Spaces, a note, an explicit default."""
    provider = make()
    path.write_text(json.dumps({"chains": {CHAIN: {**ON, "note": "open", "percent": 100}}}, indent=4))
    look_twice(provider)
    assert provider.heard == []


@pytest.mark.parametrize("name", [CHAIN, OTHER])
def test_flags_that_come_and_go_are_changes(make, path, name):
    """A removed flag leaves its chain to the configuration again."""
    provider = make()
    path.write_bytes(document({} if name == CHAIN else {CHAIN: ON, OTHER: ON}))
    look_twice(provider)
    assert provider.heard[0][1].flags_changed == [flag_key(name)]
    assert ask(provider, CHAIN) == (ErrorCode.FLAG_NOT_FOUND if name == CHAIN else (True, "everyone"))


def test_a_change_is_seen_whatever_its_time_stamp_and_size(make, path):
    """Same length, same inode, same times: the bytes are compared."""
    path.write_bytes(document({CHAIN: {"enabled": True, "percent": 10}}))
    before = path.stat()
    provider = make()
    with path.open("r+b") as file:
        file.write(document({CHAIN: {"enabled": True, "percent": 90}}))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    look_twice(provider)
    assert provider.snapshot.rollouts == {CHAIN: Rollout(enabled=True, percent=90)}


BROKEN = {
    "not JSON": lambda path: path.write_bytes(b"{"),
    "empty": lambda path: path.write_bytes(b""),
    "an unknown key": lambda path: path.write_bytes(document({CHAIN: {"colour": "red"}})),
    "gone": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "anybody's": lambda path: path.chmod(0o666),
}


@pytest.mark.parametrize("breaks", BROKEN.values(), ids=BROKEN)
def test_a_file_that_goes_bad_leaves_the_last_good_state(make, path, breaks):
    """A kill stays a kill; the event says that the state is old, and another one that the file is good again."""
    path.write_bytes(document({CHAIN: KILL}))
    provider = make()
    breaks(path)
    look_twice(provider)
    assert ask(provider) == (False, "killed")
    assert ask(provider, OTHER) is ErrorCode.FLAG_NOT_FOUND
    assert provider.snapshot.problem
    if path.is_dir():
        path.rmdir()
    elif path.exists():
        path.unlink()
    path.write_bytes(document({CHAIN: KILL}))
    look_twice(provider)
    assert provider.snapshot.problem == ""
    assert events(provider) == [ProviderEvent.PROVIDER_STALE, ProviderEvent.PROVIDER_READY]


@pytest.mark.parametrize("breaks", BROKEN.values(), ids=BROKEN)
def test_a_file_that_was_never_good_resolves_nothing(make, path, breaks):
    """It might hold a kill. Once it is good it counts, and whoever waits is told."""
    breaks(path)
    provider = make(readable=False)
    assert ask(provider) is ErrorCode.PROVIDER_NOT_READY
    assert ask(provider, OTHER, at="broadcast") is ErrorCode.PROVIDER_NOT_READY
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    path.write_bytes(document({CHAIN: ON}))
    look_twice(provider)
    assert ask(provider) == (True, "everyone")
    assert events(provider) == [ProviderEvent.PROVIDER_READY, ProviderEvent.PROVIDER_CONFIGURATION_CHANGED]


def test_a_file_that_is_still_being_written_is_not_judged(make, path):
    """Written in place, byte by byte, with a look after each: no state in between, and no alarm."""
    provider = make()
    data = document({CHAIN: OFF})
    path.write_bytes(b"")
    for length in range(1, len(data) + 1):
        path.write_bytes(data[:length])
        provider.look()
        assert ask(provider) == (True, "everyone")
    provider.look()
    assert ask(provider) == (False, "disabled")
    assert events(provider) == [ProviderEvent.PROVIDER_CONFIGURATION_CHANGED]


def test_it_looks_by_itself_until_it_is_shut_down(make, path):
    """In a thread of its own, which ends."""
    provider = make(look_s=0.01)
    path.write_bytes(document({CHAIN: OFF}))
    deadline = time.monotonic() + 10
    while ask(provider) != (False, "disabled"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    provider.shutdown()
    provider.shutdown()
    assert not any(thread.name == "chain-flags" and thread.is_alive() for thread in threading.enumerate())
    path.write_bytes(document({CHAIN: ON}))
    time.sleep(0.1)
    assert ask(provider) == (False, "disabled")


def test_evaluations_beside_a_reload_see_one_state_or_the_other(make, path):
    """Two chains are always switched together; no evaluation of a snapshot finds them apart."""
    path.write_bytes(document({CHAIN: ON, OTHER: ON}))
    provider = make()
    apart, done = [], threading.Event()

    def watch():
        while not done.is_set():
            rollouts = provider.snapshot.rollouts
            if rollouts[CHAIN].enabled is not rollouts[OTHER].enabled:
                apart.append(rollouts)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for turn in range(60):
        flag = ON if turn % 2 else OFF
        path.write_bytes(document({CHAIN: flag, OTHER: flag}))
        look_twice(provider)
    done.set()
    watcher.join()
    assert apart == []
    assert len(provider.heard) == 60


def test_the_watch_outlives_what_it_did_not_expect(make, path, monkeypatch):
    """A listener that fails, a disk that does: the next kill is seen."""
    provider = make(look_s=0.01)
    honest, failed = provider._read, threading.Event()

    def explode():
        failed.set()
        monkeypatch.setattr(provider, "_read", honest)
        raise MemoryError

    monkeypatch.setattr(provider, "_read", explode)
    assert failed.wait(10)
    path.write_bytes(document({CHAIN: KILL}))
    deadline = time.monotonic() + 10
    while ask(provider) != (False, "killed"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
