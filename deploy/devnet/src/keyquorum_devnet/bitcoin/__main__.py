"""``python -m keyquorum_devnet.bitcoin``: a Bitcoin chain for one machine."""

import asyncio
import signal
from pathlib import Path

import click

from keyquorum_devnet.bitcoin.genesis import CHAIN_ID
from keyquorum_devnet.bitcoin.server import Running, Settings, serve


def _ready(server: Running) -> None:
    print(f"{CHAIN_ID} esplora {server.url} rpc {server.url}/", flush=True)


async def _serve_until_signalled(host: str, port: int, settings: Settings) -> None:
    loop = asyncio.get_running_loop()
    server = asyncio.create_task(serve(host, port, settings, _ready))
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, server.cancel)
    try:
        await server
    except asyncio.CancelledError:
        return


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Loopback address to listen on.")
@click.option("--port", default=18443, show_default=True, help="Port for Esplora and JSON-RPC; 0 takes a free one.")
@click.option("--block-every", default=0.0, show_default=True, help="Seconds per block; 0: only when asked for.")
@click.option("--full-rbf/--opt-in-rbf", default=True, show_default=True, help="Whether replacements need no signal.")
@click.option("--rpc-user", default="", help="JSON-RPC asks for this user; Esplora stays open.")
@click.option(
    "--rpc-password-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with the user's password.",
)
def main(
    *,
    host: str,
    port: int,
    block_every: float,
    full_rbf: bool,
    rpc_user: str,
    rpc_password_file: Path | None,
) -> None:
    """Bitcoin's regtest on this machine, with nothing behind it: state is in memory and gone at the end."""
    password = rpc_password_file.read_text().strip() if rpc_password_file else ""
    settings = Settings(block_every, full_rbf, rpc_user=rpc_user, rpc_password=password)
    asyncio.run(_serve_until_signalled(host, port, settings))


if __name__ == "__main__":
    main()
