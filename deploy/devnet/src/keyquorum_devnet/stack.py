"""A whole stack: prepared as its operators would, started, watched and stopped as one."""

import asyncio
import contextlib
import fcntl
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp

from keyquorum_devnet import configuration, control, operators, ports, readiness
from keyquorum_devnet.configuration import Options
from keyquorum_devnet.engines import ChainClient, Engine
from keyquorum_devnet.layout import COORDINATOR, GATEWAY, NODES, PARTIES, Layout, command
from keyquorum_devnet.processes import Program, Supervisor, UnknownProgram

Say = Callable[[str], None]


class StackBusy(Exception):
    """Another supervisor runs on the same state folder."""


class Stack:
    """The processes of one state folder. ``say`` gets one readable line for each thing that happens."""

    def __init__(
        self, layout: Layout, options: Options, *, restart: bool, say: Say, scripts: Path | None = None
    ) -> None:
        self.layout = layout
        self.options = options
        self.engines = {engine.name: engine for engine in options.engines}
        self.processes = (*self.engines, *NODES)
        self.ports: dict[str, int] = {}
        self._restart = restart
        self._say = say
        self._scripts = scripts
        self._tools: dict[str, str] = {}
        self._programs: Supervisor | None = None

    @property
    def base_url(self) -> str:
        """Where REST is served."""
        return f"http://{ports.HOST}:{self.ports[GATEWAY]}"

    def chain_url(self, engine: Engine) -> str:
        """Where a chain's engine serves."""
        return engine.url(self.ports[engine.name])

    def chain_client(self, engine: Engine, session: aiohttp.ClientSession) -> ChainClient:
        """A customer's own access to a chain."""
        return engine.client(session, self.chain_url(engine))

    @property
    def api_key(self) -> str:
        """The API key of the printed commands."""
        return self.layout.api_key.read_text(encoding="ascii").strip()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Stack"]:
        """Prepare, start, wait until requests can be served; stop everything on the way out, whatever happened."""
        self.layout.make()
        with self._alone():
            environment = await self._prepare()
            supervisor = self._programs = self._supervise(environment)
            try:
                async with control.listening(self.layout.state, self._obey):
                    await supervisor.start_all()
                    await self._until_usable()
                    yield self
            finally:
                began = time.monotonic()
                await supervisor.stop_all()
                self._record()
                self._say(f"stopped in {time.monotonic() - began:.1f} s")

    async def _prepare(self) -> dict[str, dict[str, str]]:
        """What operators do before a start; what the supervisor needs to know of each process comes of it."""
        began = time.monotonic()
        self.ports = ports.assign(self.layout.ports, self.processes)
        tokens: dict[str, dict[str, str]] = {}
        if self.options.hsm == "softhsm":
            tokens = await operators.make_tokens(self.layout, self._script("softhsm.py"))
        self._tools, pins, fingerprints = await operators.all_of(
            [self._bring_tools(), self._pin_codecs(), operators.make_identities(self.layout, self.ports)]
        )
        await operators.pin_rosters(self.layout, self.ports, fingerprints)
        configuration.write(self.layout, self.ports, self.options, tokens, pins.values())
        environment = {name: {"SOFTHSM2_CONF": token["config"]} for name, token in tokens.items()}
        await operators.make_keks(self.layout, environment, f"kek.{self.options.hsm}.made")
        await operators.make_api_key(self.layout)
        self._say(f"identities made, fingerprints compared, rosters pinned ({time.monotonic() - began:.1f} s)")
        return environment | self._import_paths()

    def _import_paths(self) -> dict[str, dict[str, str]]:
        """The gateway finds added plugins; parties' codec hosts get theirs by the pin."""
        folder = self.options.additions.path
        if folder is None:
            return {}
        inherited = filter(None, [os.environ.get("PYTHONPATH")])
        return {GATEWAY: {"PYTHONPATH": os.pathsep.join([str(folder), *inherited])}}

    async def _bring_tools(self) -> dict[str, str]:
        """Path of the binary of each engine that has one."""
        wanted = [engine for engine in self.engines.values() if engine.tool]
        paths = [operators.bring_tool(self._script(engine.tool), self._say) for engine in wanted]
        return dict(zip((engine.name for engine in wanted), await operators.all_of(paths), strict=True))

    async def _pin_codecs(self) -> dict[str, str]:
        """What every party pins, by the codec's name: ours, and those that were added."""
        added = self.options.additions
        pins = {engine.codec: operators.codec_pin(engine.codec) for engine in self.engines.values()}
        pins |= {name: operators.codec_pin(name, added.path) for name in added.codecs}
        return dict(zip(pins, await operators.all_of(pins.values()), strict=True))

    def _script(self, name: str) -> Path:
        if self._scripts is None:
            raise operators.StepFailed(f"{name} is needed, and nothing says where it is (--scripts)")
        return self._scripts / name

    def _supervise(self, environment: Mapping[str, Mapping[str, str]]) -> Supervisor:
        signer = command("keyquorum-signer")
        commands: dict[str, tuple[str, ...]] = {
            **{
                name: engine.program(self.ports[name], self._tools.get(name, ""))
                for name, engine in self.engines.items()
            },
            **{name: (signer, "party", "--config", str(self.layout.config(name))) for name in PARTIES},
            COORDINATOR: (signer, "coordinator", "--config", str(self.layout.config(COORDINATOR))),
            GATEWAY: (command("keyquorum-gateway"), "--config", str(self.layout.config(GATEWAY))),
        }
        programs = [Program(name, commands[name], environment.get(name, {})) for name in self.processes]
        return Supervisor(programs, self.layout.logs, restart=self._restart, say=self._say, changed=self._record)

    async def _until_usable(self) -> None:
        async def wait(name: str) -> None:
            seconds = await self._ready(name, session)
            self._say(f"{name:14} serves {ports.HOST}:{self.ports[name]} ({seconds:.1f} s)")

        async with aiohttp.ClientSession() as session:
            await asyncio.gather(*map(wait, self.processes))
            seconds = await readiness.until_ready(
                "the quorum",
                lambda: readiness.quorum_stands(session, self.base_url, self.api_key),
                lambda: self._pid(GATEWAY) is not None,
            )
        self._say(f"{'all parties':14} connected with each other (+{seconds:.1f} s)")

    async def _ready(self, name: str, session: aiohttp.ClientSession) -> float:
        """Seconds until a process can be used: a chain answers a question, the others accept connections."""

        def probe() -> Awaitable[bool]:
            engine = self.engines.get(name)
            return self.chain_client(engine, session).is_up() if engine else readiness.listens(self.ports[name])

        return await readiness.until_ready(name, probe, lambda: self._restart or self._pid(name) is not None)

    async def _obey(self, order: str, name: str) -> control.Answer:
        """Commands that arrive at the control socket."""
        if self._programs is None:
            raise control.ControlError("the stack is not up yet")
        if order == "status":
            return self.status()
        try:
            program = self._programs[name]
        except UnknownProgram:
            raise control.ControlError(f"there is no process {name!r}; there are {', '.join(self.processes)}") from None
        actions: dict[str, Callable[[], Awaitable[object]]] = {
            "start": program.start,
            "stop": program.stop,
            "kill": program.kill,
        }
        if order not in actions:
            raise control.ControlError(f"unknown command {order!r}")
        await actions[order]()
        if order == "start":
            try:
                async with aiohttp.ClientSession() as session:
                    await self._ready(name, session)
            except readiness.NotReady as error:
                raise control.ControlError(str(error)) from None
        return self.status()

    def status(self) -> dict[str, Any]:
        """Everything that a test or an operator wants to know; also kept as ``state.json``."""
        return {
            "base_url": self.base_url,
            "chain_urls": {name: self.chain_url(engine) for name, engine in self.engines.items()},
            "api_key_file": str(self.layout.api_key),
            "root_key_file": str(self.layout.root_key),
            "supervisor": os.getpid(),
            "processes": {
                name: {
                    "pid": self._pid(name),
                    "port": self.ports[name],
                    "log": str(self.layout.logs / f"{name}.log"),
                }
                for name in self.processes
            },
        }

    def _pid(self, name: str) -> int | None:
        return self._programs[name].pid if self._programs is not None else None

    def _record(self) -> None:
        file = self.layout.state / "state.json"
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps(self.status(), indent=2) + "\n", encoding="utf-8")
        fresh.replace(file)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with (self.layout.state / "lock").open("wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StackBusy(f"another stack runs on {self.layout.state}") from None
            yield
