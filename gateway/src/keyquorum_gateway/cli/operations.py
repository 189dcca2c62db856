"""``keyquorum operations``."""

import json
from typing import Any

import click

from keyquorum_gateway.cli.connection import Gateway, GatewayProblem, gateway_command
from keyquorum_gateway.cli.tables import show, show_fields


@click.group()
def operations() -> None:
    """What the gateway is doing and has done."""


@operations.command("list")
@click.option("--limit", type=click.IntRange(1, 100), default=25, show_default=True)
@gateway_command
async def list_operations(gateway: Gateway, limit: int) -> None:
    """The latest operations, newest first."""
    answer = await gateway.get("/v1/operations", {"limit": str(limit)})
    rows = [
        (o["id"], o["kind"], o["state"], o["stage"], o["created_at"], o["error"]["code"] if o["error"] else "")
        for o in answer["items"]
    ]
    show(answer, ("operation", "kind", "state", "stage", "created", "error"), rows, as_json=gateway.as_json)


@operations.command("show")
@click.argument("operation_id")
@gateway_command
async def show_operation(gateway: Gateway, operation_id: str) -> None:
    """One operation."""
    answer = await gateway.get(f"/v1/operations/{operation_id}")
    fields = [(name, _text(answer[name])) for name in answer if answer[name] not in (None, [], {})]
    show_fields(answer, fields, as_json=gateway.as_json)


@operations.command("watch")
@click.argument("operation_id")
@gateway_command
async def watch_operation(gateway: Gateway, operation_id: str) -> None:
    """Follow an operation to its end, one line per step; exit status 1 if it failed."""
    state = ""
    async for event in gateway.events(f"/v1/operations/{operation_id}/events"):
        state = event["state"]
        if gateway.as_json:
            click.echo(json.dumps(event))
        else:
            facts = [event["node_id"] or "", f"round {event['round']}" if event["round"] else "", event["detail"]]
            click.echo(f"{event['sequence']:>3}  {event['time']}  {event['stage']:<20} {' '.join(filter(None, facts))}")
    if state == "failed":
        raise GatewayProblem("the operation failed")


def _text(value: Any) -> str:
    return json.dumps(value, indent=1) if isinstance(value, dict | list) else str(value)
