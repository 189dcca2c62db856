"""What the operators of a cell do before it starts: identities, comparing fingerprints, pinning, key-encryption keys.

Every step is a command of ``keyquorum-signer`` that a real operator types; this plays all of them on one machine. What was
done is not done again.
"""

import asyncio
import json
import re
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from keyquorum_devnet.layout import CELL, GATEWAY, PARTIES, ROLES, TENANT, Layout, command, new_secret
from keyquorum_devnet.ports import HOST

T = TypeVar("T")

STEP_S_MAX: Final = 120.0  # unpacking SoftHSM the first time takes the longest
FETCH_S_MAX: Final = 240.0  # a chain engine of some ten megabytes, over a slow line
PROGRESS_S: Final = 3.0
SCOPES: Final = ("read", "transact", "admin")
_FINGERPRINT: Final = re.compile(r"(?:[0-9a-f]{4} ){15}[0-9a-f]{4}")


class StepFailed(Exception):
    """A command of an operator failed; the text holds its error output."""


async def run(*argv: str, environment: Mapping[str, str] | None = None, within_s: float = STEP_S_MAX) -> str:
    """Run one command to its end; its standard output. :class:`StepFailed` with its errors otherwise."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    try:
        out, errors = await asyncio.wait_for(process.communicate(), within_s)
    except TimeoutError:
        raise StepFailed(f"{Path(argv[0]).name} {argv[1]} took more than {within_s:.0f} s") from None
    finally:
        if process.returncode is None:  # too slow, or we were interrupted
            process.kill()
            await process.wait()
    if process.returncode:
        raise StepFailed(f"{Path(argv[0]).name} {' '.join(argv[1:3])}: {errors.decode(errors='replace').strip()}")
    return out.decode()


async def all_of(steps: Iterable[Awaitable[T]]) -> list[T]:
    """What every step gives, once all of them have ended: none is left running when one fails."""
    ended = await asyncio.gather(*steps, return_exceptions=True)
    results: list[T] = []
    for result in ended:
        if isinstance(result, BaseException):
            raise result
        results.append(result)
    return results


async def make_identities(layout: Layout, ports: Mapping[str, int]) -> dict[str, str]:
    """``keyquorum-signer init`` at each node; the client's own key beside them. The fingerprint of each node."""
    new_secret(layout.root_key)
    signer = command("keyquorum-signer")

    async def make(name: str) -> str:
        card = layout.file(name, "card.toml")
        if card.exists():
            return _fingerprint(await run(signer, "fingerprint", str(card)))
        where = ["--address", f"{HOST}:{ports[name]}"] if name in PARTIES else []
        folder = str(layout.node(name))
        return _fingerprint(
            await run(signer, "init", "--node-id", name, "--role", ROLES[name], "--dir", folder, *where)
        )

    if all((layout.node(name) / "roster.toml").exists() for name in ROLES):
        return {}  # compared before
    return dict(zip(ROLES, await all_of(map(make, ROLES)), strict=True))


async def pin_rosters(layout: Layout, ports: Mapping[str, int], fingerprints: Mapping[str, str]) -> None:
    """``keyquorum-signer enroll`` at each node, from the same cards and the fingerprints that were read out."""
    if fingerprints:
        cards = [str(layout.file(name, "card.toml")) for name in ROLES]
        expected = [part for name, told in fingerprints.items() for part in ("--expect", f"{name}={told}")]
        tenant = f"{TENANT}=@{GATEWAY},{root_public_key(layout).hex()}"

        async def enroll(name: str) -> str:
            folder = str(layout.node(name))
            common = ["--cell", CELL, "--tenant", tenant, "--yes"]
            said = await run(command("keyquorum-signer"), "enroll", "--dir", folder, *common, *expected, *cards)
            return said.rpartition("roster hash:")[2].strip()

        if len(set(await all_of(map(enroll, ROLES)))) != 1:
            raise StepFailed("the operators pinned different rosters")
    for name in ROLES:
        _set_addresses(layout.node(name) / "roster.toml", ports)


async def make_keks(layout: Layout, environment: Mapping[str, Mapping[str, str]], done: str) -> None:
    """``keyquorum-signer kek init`` at each party; ``done`` names the marker, one per kind of key."""

    async def make(name: str) -> None:
        marker = layout.node(name) / done
        if not marker.exists():
            arguments = ("kek", "init", "--config", str(layout.config(name)))
            await run(command("keyquorum-signer"), *arguments, environment=environment.get(name))
            marker.touch()

    await all_of(map(make, PARTIES))


async def make_api_key(layout: Layout) -> None:
    """``keyquorum keys create`` at the gateway: the key that the printed commands use."""
    if layout.api_key.exists():
        return
    scopes = [part for scope in SCOPES for part in ("--scope", scope)]
    config, out = str(layout.config(GATEWAY)), str(layout.api_key)
    await run(
        command("keyquorum"), "keys", "create", "--config", config, "--tenant", TENANT, "--name", "local", *scopes,
        "--out", out,
    )  # fmt: skip


async def codec_pin(name: str, folder: Path | None = None) -> str:
    """What a party pins for an installed codec: TOML. ``folder`` is where pip --target put it, if not with us."""
    where = ["--path", str(folder)] if folder is not None else []
    return await run(command("keyquorum-signer"), "codec", name, *where)


async def bring_tool(script: Path, say: Callable[[str], None]) -> str:
    """The path of a chain engine's binary, which ``script`` finds, or fetches the first time: then ``say`` is told."""
    began = time.monotonic()
    fetching = asyncio.create_task(run(sys.executable, str(script), "binary", within_s=FETCH_S_MAX))
    try:
        while not (await asyncio.wait({fetching}, timeout=PROGRESS_S))[0]:
            say(f"{script.stem} is being fetched, once ({time.monotonic() - began:.0f} s)")
        return (await fetching).strip()
    finally:
        fetching.cancel()  # nothing happens to one that has ended


async def make_tokens(layout: Layout, script: Path) -> dict[str, dict[str, str]]:
    """One SoftHSM token per party: module, config, token label and PIN file of each."""
    tokens = {}
    for name in PARTIES:
        text = await run(sys.executable, str(script), "token", "--dir", str(layout.node(name) / "hsm"), "--label", name)
        tokens[name] = json.loads(text)
    return tokens


def root_public_key(layout: Layout) -> bytes:
    """Public half of the client's key."""
    private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(layout.root_key.read_text(encoding="ascii")))
    return private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def _fingerprint(text: str) -> str:
    found = _FINGERPRINT.search(text)
    if found is None:
        raise StepFailed("keyquorum-signer fingerprint printed none")
    return found.group()


def _set_addresses(roster: Path, ports: Mapping[str, int]) -> None:
    """A port that somebody else took was replaced. Addresses are not part of what a roster pins: its hash stays."""
    text = roster.read_text(encoding="utf-8")
    sections = text.split("[[nodes]]")
    for index, section in enumerate(sections[1:], start=1):
        name = next(name for name in PARTIES if f'node_id = "{name}"' in section)
        sections[index] = re.sub(r'(?m)^address = "[^"]*"$', f'address = "{HOST}:{ports[name]}"', section, count=1)
    changed = "[[nodes]]".join(sections)
    if changed != text:
        roster.write_text(changed, encoding="utf-8")
