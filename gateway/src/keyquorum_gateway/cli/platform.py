"""``keyquorum parties``."""

import click

from keyquorum_gateway.cli.connection import Gateway, gateway_command
from keyquorum_gateway.cli.tables import show


@click.command()
@gateway_command
async def parties(gateway: Gateway) -> None:
    """The cell's parties, compared with the roster that the gateway pins."""
    answer = await gateway.get("/v1/parties")
    rows = [
        (
            str(p["index"]),
            p["node_id"],
            "connected" if p["connected"] else "away",
            p["since"] or "",
            p["version"],
            p["kek_kind"],
            ", ".join(p["channels"]),
            "yes" if p["in_roster"] else "NO",
        )
        for p in answer["items"]
    ]
    title = f"cell {answer['cell_id']}" + (
        "" if answer["roster_matches"] else ": THE COORDINATOR SERVES ANOTHER ROSTER"
    )
    columns = ("", "party", "link", "since", "version", "kek", "channels to", "in roster")
    show(answer, columns, rows, as_json=gateway.as_json, title=title)
