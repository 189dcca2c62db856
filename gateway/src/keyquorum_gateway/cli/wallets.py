"""``keyquorum wallets``."""

from typing import Any

import click

from keyquorum_gateway.cli.connection import Gateway, gateway_command
from keyquorum_gateway.cli.tables import show, show_fields


@click.group()
def wallets() -> None:
    """Wallets of the API key's tenant."""


@wallets.command("list")
@click.option("--user", "user_id", help="Only this user's wallets.")
@click.option("--limit", type=click.IntRange(1, 100), default=25, show_default=True)
@gateway_command
async def list_wallets(gateway: Gateway, user_id: str | None, limit: int) -> None:
    """The latest wallets, newest first."""
    query = {"limit": str(limit), **({"user_id": user_id} if user_id else {})}
    answer = await gateway.get("/v1/wallets", query)
    rows = [
        (
            w["id"],
            w["user_id"],
            w["name"],
            w["state"],
            w["initiation"]["type"],
            "\n".join(f"{a['chain']} {a['address']}" for a in w["accounts"]),
        )
        for w in answer["items"]
    ]
    show(answer, ("wallet", "user", "name", "state", "initiated by", "accounts"), rows, as_json=gateway.as_json)


@wallets.command("show")
@click.argument("wallet_id")
@gateway_command
async def show_wallet(gateway: Gateway, wallet_id: str) -> None:
    """One wallet: its keys, limits and addresses, and who may initiate."""
    _show(gateway, await gateway.get(f"/v1/wallets/{wallet_id}"))


@wallets.command("create")
@click.option("--user", "user_id", required=True, help="Whose wallet it is, in your own terms.")
@click.option("--chain", "chains", multiple=True, required=True, help="CAIP-2 id or alias; may be given several times.")
@click.option("--name", default="", help="A name to show.")
@gateway_command
async def create_wallet(gateway: Gateway, user_id: str, chains: tuple[str, ...], name: str) -> None:
    """Create a gateway-initiated wallet with the configured limits."""
    answer = await gateway.post("/v1/wallets", {"user_id": user_id, "name": name, "chains": list(chains)})
    if "kind" in answer:
        show_fields(answer, [("operation", answer["id"]), ("state", answer["state"])], as_json=gateway.as_json)
    else:
        _show(gateway, answer)


def _show(gateway: Gateway, wallet: Any) -> None:
    fields = [
        ("wallet", wallet["id"]),
        ("user", wallet["user_id"]),
        ("name", wallet["name"]),
        ("state", wallet["state"]),
        ("initiated by", f"{wallet['initiation']['type']} {wallet['initiation']['public_key']}"),
        ("which protects", wallet["initiation"]["protects"]),
    ]
    for key in wallet["keys"]:
        holders = ", ".join(key["parties"])
        fields.append(("key", f"{key['scheme']} {key['public_key']}\n{key['threshold']} of {holders}"))
        fields += [
            ("limit", f"{li['asset']}: {li['per_transaction']} at once, {li['per_window']} in {li['window_s']} s")
            for li in key["policy"]["limits"]
        ]
    fields += [("account", f"{a['id']} {a['chain']} {a['address']}") for a in wallet["accounts"]]
    show_fields(wallet, fields, as_json=gateway.as_json)
