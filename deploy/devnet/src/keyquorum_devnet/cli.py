"""``keyquorum-devnet``: a whole stack on this machine."""

import asyncio
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table

from keyquorum_devnet import control
from keyquorum_devnet.chain_client import ChainSays
from keyquorum_devnet.configuration import Options
from keyquorum_devnet.demo import DemoFailed, Report, demonstrate, write_report
from keyquorum_devnet.initiator import IntentRefused
from keyquorum_devnet.layout import PROCESSES, Layout
from keyquorum_devnet.operators import StepFailed
from keyquorum_devnet.ports import NoFreePort
from keyquorum_devnet.readiness import NotReady
from keyquorum_devnet.rest import NotInTime, Refused
from keyquorum_devnet.stack import Stack, StackBusy
from keyquorum_devnet.welcome import welcome

EXPECTED = (
    StackBusy, StepFailed, NotReady, NoFreePort, DemoFailed, Refused, NotInTime, ChainSays, IntentRefused, control.ControlError,
)  # fmt: skip
T = TypeVar("T")
EXIT_INTERRUPTED = 130
_SOFTHSM_SCRIPT = Path(__file__).parents[4] / "scripts/softhsm.py"

state_option = click.option(
    "--state", type=click.Path(file_okay=False, path_type=Path), default=Path(".devnet"), show_default=True,
    help="Folder of the stack's keys, databases and logs.",
)  # fmt: skip
hsm_option = click.option(
    "--hsm", type=click.Choice(["soft", "softhsm"]), default="soft", show_default=True,
    help="Where parties keep their key-encryption keys: a passphrase, or a SoftHSM token each.",
)  # fmt: skip
softhsm_option = click.option(
    "--softhsm-script", type=click.Path(dir_okay=False, path_type=Path), default=_SOFTHSM_SCRIPT, hidden=True
)
console = Console(highlight=False, soft_wrap=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run a whole Keyquorum stack on this machine: a real chain, three parties, their coordinator, and the gateway.

    Everything listens on loopback and is stopped when this command ends, however it ends.
    """


@main.command()
@state_option
@hsm_option
@softhsm_option
@click.option("--no-restart", is_flag=True, help="Leave a process down when it dies.")
@click.option("--inspectable", is_flag=True, help="Let this user read the parties' memory. For tests alone.")
@click.option("--allow-raw", is_flag=True, help="Let new keys sign bytes that no codec explains.")
@click.option("--no-rate-limits", is_flag=True, help="For measurements.")
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
def up(
    state: Path, hsm: Any, softhsm_script: Path, log_level: str, *,
    no_restart: bool, inspectable: bool, allow_raw: bool, no_rate_limits: bool,
) -> None:  # fmt: skip
    """Serve until Ctrl-C. Wallets are kept in the state folder and are there again at the next start."""
    options = Options(hsm, inspectable, allow_raw, not no_rate_limits, log_level)
    stack = Stack(Layout(state.absolute()), options, restart=not no_restart, say=_say(), softhsm=softhsm_script)

    async def serve() -> None:
        async with stack.running():
            console.print(welcome(stack), markup=False)
            await asyncio.Event().wait()

    _run(serve())


@main.command()
@hsm_option
@softhsm_option
@click.option(
    "--report", type=click.Path(dir_okay=False, path_type=Path), default=Path("build/demo.json"), show_default=True
)
@click.option("--state", type=click.Path(file_okay=False, path_type=Path), help="Keep the stack's files here.")
def demo(hsm: Any, softhsm_script: Path, report: Path, state: Path | None) -> None:
    """Make two wallets, move coins with both, have it all verified by others, and end. Writes a report."""
    began = time.monotonic()
    folder = state or Path(tempfile.mkdtemp(prefix="keyquorum-demo-"))
    say = _say(began)
    stack = Stack(Layout(folder.absolute()), Options(hsm), restart=False, say=say, softhsm=softhsm_script)

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
    console.print(f"\nREST {answer['base_url']}   API key in {answer['api_key_file']}", markup=False)


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
    return (
        f"\n{row.initiation}-initiated wallet {row.wallet}"
        f"\n  address    {row.address}"
        f"\n  moved      {row.amount} lamports to {row.recipient}, fee {row.fee}"
        f"\n  txid       {row.txid}"
        f"\n  confirmed  {'yes' if row.confirmed else 'no'}, in slot {row.slot}"
        f"\n  took       key {row.key_ms:.0f} ms, signature {row.signing_ms:.1f} ms; trace {row.trace_id}"
    )
