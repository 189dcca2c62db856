"""``keyquorum-devnet``: a whole stack on this machine."""

import asyncio
import shutil
import signal
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import click
from rich.console import Console
from rich.table import Table

from keyquorum_devnet import control
from keyquorum_devnet.configuration import Additions, BadAddition, Options
from keyquorum_devnet.demo import DemoFailed, Report, demonstrate, write_report
from keyquorum_devnet.engines import ENGINES, ChainClient, ChainSays, Engine, engine_of
from keyquorum_devnet.initiator import IntentRefused
from keyquorum_devnet.layout import PROCESSES, Layout
from keyquorum_devnet.operators import StepFailed
from keyquorum_devnet.ports import NoFreePort
from keyquorum_devnet.readiness import NotReady
from keyquorum_devnet.rest import NotInTime, Refused
from keyquorum_devnet.stack import Stack, StackBusy
from keyquorum_devnet.welcome import welcome

EXPECTED = (
    StackBusy, StepFailed, NotReady, NoFreePort, DemoFailed, Refused, NotInTime, ChainSays, IntentRefused, BadAddition,
    control.ControlError,
)  # fmt: skip
T = TypeVar("T")
EXIT_INTERRUPTED = 130
_SCRIPTS = Path(__file__).parents[4] / "scripts"
_CHAINS = [engine.name for engine in ENGINES]

state_option = click.option(
    "--state", type=click.Path(file_okay=False, path_type=Path), default=Path(".devnet"), show_default=True,
    help="Folder of the stack's keys, databases and logs.",
)  # fmt: skip
hsm_option = click.option(
    "--hsm", type=click.Choice(["soft", "softhsm"]), default="soft", show_default=True,
    help="Where parties keep their key-encryption keys: a passphrase, or a SoftHSM token each.",
)  # fmt: skip
scripts_option = click.option(
    "--scripts", type=click.Path(file_okay=False, path_type=Path), default=_SCRIPTS, hidden=True,
)  # fmt: skip
engines_option = click.option(
    "--chain", "chains", type=click.Choice(_CHAINS), multiple=True, default=_CHAINS,
    help="A chain to run; repeatable. Default: all.",
)  # fmt: skip
console = Console(highlight=False, soft_wrap=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run a whole Keyquorum stack on this machine: real chains, three parties, their coordinator, and the gateway.

    Everything listens on loopback and is stopped when this command ends, however it ends.
    """


@main.command()
@state_option
@hsm_option
@engines_option
@scripts_option
@click.option("--no-restart", is_flag=True, help="Leave a process down when it dies.")
@click.option("--inspectable", is_flag=True, help="Let this user read the parties' memory. For tests alone.")
@click.option("--allow-raw", is_flag=True, help="Let new keys sign bytes that no codec explains.")
@click.option("--no-rate-limits", is_flag=True, help="For measurements.")
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
@click.option(
    "--plugin-path", type=click.Path(exists=True, file_okay=False, path_type=Path, resolve_path=True),
    help="A folder made with pip install --target: the gateway finds plugins in it.",
)  # fmt: skip
@click.option("--plugin", "plugins", multiple=True, help="A distribution that the gateway allows; repeatable.")
@click.option("--codec", "codecs", multiple=True, help="A codec that every party pins as it is now; repeatable.")
@click.option(
    "--chains-file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help='TOML with [chains."…"] tables for the gateway.',
)  # fmt: skip
def up(
    state: Path, hsm: Any, chains: tuple[str, ...], scripts: Path, log_level: str, *,
    no_restart: bool, inspectable: bool, allow_raw: bool, no_rate_limits: bool,
    plugin_path: Path | None, plugins: tuple[str, ...], codecs: tuple[str, ...], chains_file: Path | None,
) -> None:  # fmt: skip
    """Serve until Ctrl-C. Wallets are kept in the state folder and are there again at the next start.

    A plugin of your own is served beside the chains of this command: install it with pip install --no-deps --target DIR,
    name DIR as --plugin-path, its distribution as --plugin and its codec as --codec, and configure its chain in a
    --chains-file.
    """
    additions = Additions(plugin_path, plugins, codecs, chains_file)
    options = Options(hsm, inspectable, allow_raw, not no_rate_limits, log_level, _engines(chains), additions)
    stack = Stack(Layout(state.absolute()), options, restart=not no_restart, say=_say(), scripts=scripts)

    async def serve() -> None:
        async with stack.running():
            console.print(welcome(stack), markup=False)
            await asyncio.Event().wait()

    _run(serve())


@main.command()
@hsm_option
@engines_option
@scripts_option
@click.option(
    "--report", type=click.Path(dir_okay=False, path_type=Path), default=Path("build/demo.json"), show_default=True
)
@click.option("--state", type=click.Path(file_okay=False, path_type=Path), help="Keep the stack's files here.")
def demo(hsm: Any, chains: tuple[str, ...], scripts: Path, report: Path, state: Path | None) -> None:
    """Make wallets on every chain, move coins, have it all verified by others, and end. Writes a report."""
    began = time.monotonic()
    folder = state or Path(tempfile.mkdtemp(prefix="keyquorum-demo-"))
    say = _say(began)
    options = Options(hsm, engines=_engines(chains))
    stack = Stack(Layout(folder.absolute()), options, restart=False, say=say, scripts=scripts)

    async def play() -> list[Report]:
        async with stack.running():
            return await demonstrate(stack, say)

    try:
        rows = _run(play())
    except click.ClickException:
        console.print(f"the logs are kept in {stack.layout.logs}", markup=False)
        raise
    if rows is None:
        raise SystemExit(EXIT_INTERRUPTED)
    write_report(rows, report)
    if state is None:
        shutil.rmtree(folder, ignore_errors=True)
    for row in rows:
        console.print(_card(row), markup=False)
    console.print(f"\n{report} written, {time.monotonic() - began:.0f} s in all", markup=False)


@main.command()
@state_option
def status(state: Path) -> None:
    """Show the processes of a running stack."""
    answer = _ask(state, "status")
    table = Table("process", "pid", "port", "log", box=None)
    for name, found in answer["processes"].items():
        table.add_row(name, str(found["pid"] or "down"), str(found["port"]), found["log"])
    console.print(table)
    served = {"REST": f"{answer['base_url']}   API key in {answer['api_key_file']}", **answer["chain_urls"]}
    for name, where in served.items():
        console.print(f"{name:10} {where}", markup=False)


def _command(order: str, text: str) -> None:
    @main.command(name=order, help=text)
    @click.argument("name", type=click.Choice(PROCESSES))
    @state_option
    def act(name: str, state: Path) -> None:
        answer = _ask(state, order, name)
        pid = answer["processes"][name]["pid"]
        click.echo(f"{name} runs as {pid}" if pid else f"{name} is down")


_command("kill", "End one process with SIGKILL, as a crash would, and leave it down.")
_command("stop", "Ask one process to end, and leave it down.")
_command("start", "Start a process that is down, and wait until it serves.")


@main.command()
@click.argument("chain", type=click.Choice(_CHAINS))
@click.argument("address")
@click.argument("amount", type=click.IntRange(min=1))
@state_option
def fund(chain: str, address: str, amount: int, state: Path) -> None:
    """Give an address AMOUNT minor units (lamports, satoshi, wei) of a chain's coin; returns once they can be spent."""
    engine = engine_of(chain)
    _ask_chain(state, engine, lambda client: client.fund(address, amount))
    click.echo(f"{amount} {engine.unit} for {address}")


@main.command()
@click.argument("chain", type=click.Choice(_CHAINS))
@click.argument("blocks", type=click.IntRange(1, 10_000), default=1)
@state_option
def mine(chain: str, blocks: int, state: Path) -> None:
    """Let a chain go on by some blocks (Solana: slots) at once."""
    _ask_chain(state, engine_of(chain), lambda client: client.mine(blocks))
    click.echo(f"{chain} went on by {blocks}")


@main.command()
@click.argument("chain", type=click.Choice([engine.name for engine in ENGINES if engine.client.reorganises]))
@click.argument("depth", type=click.IntRange(1, 100))
@state_option
def reorg(chain: str, depth: int, state: Path) -> None:
    """Replace a chain's newest DEPTH blocks by others: what was confirmed in them is not any more."""
    _ask_chain(state, engine_of(chain), lambda client: client.reorganise(depth))
    click.echo(f"{chain} replaced {depth} blocks")


def _engines(names: tuple[str, ...]) -> tuple[Engine, ...]:
    return tuple(engine for engine in ENGINES if engine.name in names)


def _ask_chain(state: Path, engine: Engine, action: Callable[[ChainClient], Awaitable[None]]) -> None:
    """Have a chain of a running stack do something."""
    url = _ask(state, "status")["chain_urls"].get(engine.name)
    if url is None:
        raise click.ClickException(f"the stack runs without {engine.name}")

    async def act() -> None:
        async with aiohttp.ClientSession() as session:
            await action(engine.client(session, url))

    try:
        asyncio.run(act())
    except ChainSays as error:
        raise click.ClickException(str(error)) from None


def _ask(state: Path, order: str, name: str = "") -> control.Answer:
    try:
        return asyncio.run(control.ask(state.absolute(), order, name))
    except (control.ControlError, FileNotFoundError) as error:
        raise click.ClickException(str(error)) from None


def _say(began: float | None = None) -> Callable[[str], None]:
    start = time.monotonic() if began is None else began

    def say(line: str) -> None:
        console.print(f"{time.monotonic() - start:6.1f} s  {line}", markup=False)

    return say


def _run(body: Coroutine[Any, Any, T]) -> T | None:
    """The result, or None after SIGINT, SIGTERM or SIGHUP. A signal cancels the body, whose clean-up is bounded in time."""

    async def until_done() -> T | None:
        work = asyncio.create_task(body)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, _cancel_once(work))
        try:
            return await work
        except asyncio.CancelledError:
            return None

    try:
        return asyncio.run(until_done())
    except EXPECTED as error:
        raise click.ClickException(str(error)) from None


def _cancel_once(work: asyncio.Task[Any]) -> Callable[[], None]:
    """Cancels at the first signal; more of them must not interrupt the clean-up."""
    told: list[bool] = []

    def cancel() -> None:
        if not told:
            told.append(True)
            console.print("\nstopping")
            work.cancel()

    return cancel


def _card(row: Report) -> str:
    """A row of the report for people: nothing cut off, so that it can be copied."""
    engine = engine_of(row.chain)
    unit = engine.unit if row.asset == engine.asset else f"of {row.asset.rpartition('/')[2]}"
    return (
        f"\n{engine.name}: {row.initiation}-initiated wallet {row.wallet}"
        f"\n  address    {row.address}"
        f"\n  moved      {row.amount} {unit} to {row.recipient}, fee {row.fee} {engine.unit}"
        f"\n  txid       {row.txid}"
        f"\n  confirmed  {'yes' if row.confirmed else 'no'}, in {row.block}"
        f"\n  took       key {row.key_ms:.0f} ms, signature {row.signing_ms:.1f} ms ({row.scheme}); trace {row.trace_id}"
    )
