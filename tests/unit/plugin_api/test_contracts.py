"""The parts of the plugin API that are code: errors, hooks, the local host, and what may be imported."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pluggy
import pytest

import keyquorum_plugin_api
from keyquorum_plugin_api import errors, hookspecs
from keyquorum_plugin_api.errors import ChainError
from keyquorum_plugin_api.signer import SigningError
from keyquorum_plugin_api.testing import LocalAccount, LocalSigner, MemoryReservations, refused
from support.manual_clock import ManualClock
from support.solana_target import SolanaCodecTarget

PACKAGE = Path(keyquorum_plugin_api.__file__).parent


def all_errors() -> list[type[ChainError]]:
    members = vars(errors).values()
    return [member for member in members if isinstance(member, type) and issubclass(member, ChainError)]


def test_error_codes_are_distinct() -> None:
    """Clients tell errors apart by code; the base is never raised itself."""
    codes = [kind.code for kind in all_errors()]
    assert "chain-error" in codes
    assert len(codes) == len(set(codes))
    assert all(code == code.lower() and " " not in code for code in codes)


def test_only_safe_errors_are_retriable() -> None:
    """A retry builds anew: that is safe only where nothing was broadcast or can be included."""
    assert {kind.__name__ for kind in all_errors() if kind.retriable} == {"ChainUnavailable", "NonceConflict"}


def test_hook_specifications() -> None:
    """Small enough to be read whole, and what pluggy makes of them."""
    assert len(Path(hookspecs.__file__).read_text().splitlines()) < 100
    host = pluggy.PluginManager(hookspecs.PROJECT)
    host.add_hookspecs(hookspecs)
    assert host.hook.keyquorum_chains.spec is not None
    assert host.hook.keyquorum_adapter.spec.opts["firstresult"]


def imports() -> Iterator[tuple[str, str]]:
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                yield from ((str(file.relative_to(PACKAGE)), alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, file
                yield str(file.relative_to(PACKAGE)), node.module or ""


def test_imports_nothing_but_the_standard_library_pluggy_and_pydantic() -> None:
    """Whoever writes a plugin gets nothing else into the process."""
    allowed = {*sys.stdlib_module_names, "pluggy", "pydantic", "keyquorum_plugin_api"}
    assert [(file, name) for file, name in imports() if name.partition(".")[0] not in allowed] == []


async def test_local_signer_signs_what_the_codec_explains() -> None:
    """And refuses, as a party would, what it explains differently."""
    target = SolanaCodecTarget()
    unsigned = target.codec.build_message(target.account(0).account, target.chain, "hello")
    signer = LocalSigner(target.codec, [target.account(0)])
    assert target.codec.combine(unsigned, await signer.sign(unsigned)).txid
    for wrong in (replace(unsigned, effects=()), replace(unsigned, payload=b"x"), replace(unsigned, requests=())):
        with pytest.raises(SigningError, match="intent-invalid"):
            await signer.sign(wrong)
    with pytest.raises(SigningError, match="intent-invalid"):
        await LocalSigner(target.codec, [target.account(1)]).sign(unsigned)
    assert signer.signed == [unsigned]


def test_local_account_does_not_show_its_key() -> None:
    """The callback may close over one."""
    assert "sign" not in repr(LocalAccount(SolanaCodecTarget().account(0).account, lambda request: b"secret"))


async def test_reservations_are_exclusive_until_released_or_expired() -> None:
    """Per chain, account and item; the holder may extend."""
    clock = ManualClock()
    reservations = MemoryReservations(clock)
    assert await reservations.reserve("c", "a", "coin", "me", 10)
    assert await reservations.reserve("c", "a", "coin", "me", 20)
    assert not await reservations.reserve("c", "a", "coin", "you", 10)
    assert await reservations.reserve("c", "b", "coin", "you", 10)
    assert await reservations.held("c", "a") == {"coin": "me"}
    await reservations.release("c", "a", "coin", "you")
    assert await reservations.held("c", "a") == {"coin": "me"}
    await clock.advance(20)
    assert await reservations.held("c", "a") == {}
    assert await reservations.reserve("c", "a", "coin", "you", 10)
    await reservations.release("c", "a", "coin", "you")
    assert await reservations.reserve("c", "a", "coin", "me", 10)


def test_refused_wants_the_right_refusal_with_a_reason() -> None:
    """Silence, another error and an empty reason all fail."""
    with refused(errors.Expired):
        raise errors.Expired("too late")
    with pytest.raises(AssertionError, match="not refused"), refused(errors.Expired):
        pass
    with pytest.raises(errors.FeeTooLow), refused(errors.Expired):
        raise errors.FeeTooLow("x")
    with pytest.raises(AssertionError, match="says nothing"), refused(errors.Expired):
        raise errors.Expired("")
