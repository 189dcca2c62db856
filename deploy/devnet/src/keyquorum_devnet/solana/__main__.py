"""``python -m keyquorum_devnet.solana``: a Solana chain for one machine."""

import asyncio
import signal

import click

from keyquorum_devnet.solana.genesis import CHAIN_ID
from keyquorum_devnet.solana.server import Endpoint, Settings, serve


def _ready(endpoint: Endpoint) -> None:
    print(f"{CHAIN_ID} rpc {endpoint.rpc_url} websocket {endpoint.ws_url}", flush=True)


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
@click.option("--port", default=8899, show_default=True, help="Port for JSON-RPC and websocket; 0 takes a free one.")
@click.option("--slot-ms", default=400, show_default=True, help="Milliseconds per slot; 0: only devnet_advanceSlots.")
@click.option("--confirmed-after", default=1, show_default=True, help="Slots until a transaction is confirmed.")
@click.option("--finalized-after", default=31, show_default=True, help="Slots until a transaction is finalized.")
def main(host: str, port: int, slot_ms: int, confirmed_after: int, finalized_after: int) -> None:
    """Solana's runtime on this machine, with nothing behind it: state is in memory and gone at the end."""
    settings = Settings(slot_ms, confirmed_after, finalized_after)
    asyncio.run(_serve_until_signalled(host, port, settings))


if __name__ == "__main__":
    main()
