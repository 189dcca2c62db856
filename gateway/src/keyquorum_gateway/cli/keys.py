"""``keyquorum keys``: API keys, made and revoked on the gateway's own machine, in its database."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import apsw
import click

from keyquorum_gateway.authentication import read_pepper
from keyquorum_gateway.cli.tables import show
from keyquorum_gateway.config import ConfigError, GatewayConfig, load_config
from keyquorum_gateway.roster import Roster, RosterError
from keyquorum_gateway.state import api_keys
from keyquorum_gateway.state.api_keys import Scope
from keyquorum_gateway.state.database import connect
from keyquorum_gateway.state.schema import SchemaTooNew, migrate

_CONFIG = click.option(
    "--config",
    "config_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="The gateway's configuration: its database and pepper are used.",
)


@click.group()
def keys() -> None:
    """API keys. The gateway may be running; a new key works at once, a revoked one stops within a second."""


@keys.command("create")
@_CONFIG
@click.option("--tenant", "tenant_id", required=True, help="The tenant of the roster that the key belongs to.")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice([scope.value for scope in Scope]),
    multiple=True,
    required=True,
    help="May be given several times: read; transact (accounts, transactions, signatures); admin (wallets, plugins).",
)
@click.option("--name", default="", help="What the key is for.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the key to this new file instead of printing it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def create_key(
    *, config_file: Path, tenant_id: str, scopes: tuple[str, ...], name: str, out: Path | None, as_json: bool
) -> None:
    """Make a key. It is shown once and kept only as an HMAC."""
    config = _load(config_file)
    _require_tenant(config, tenant_id)
    key = api_keys.new_api_key()
    if out is not None:
        _write_secret(out, key)
    digest = api_keys.digest(_pepper(config), key)
    connection = _connect(config)
    try:
        with connection:
            key_id = api_keys.add(
                connection,
                tenant_id=tenant_id,
                name=name,
                scopes=[Scope(scope) for scope in scopes],
                key_digest=digest,
            )
    except apsw.Error as error:
        if out is not None:
            out.unlink()
        raise click.ClickException(f"{config.state.file}: {error}") from None
    finally:
        connection.close()
    shown = str(out) if out is not None else key
    if as_json:
        click.echo(json.dumps({"id": key_id, "tenant_id": tenant_id, "file" if out else "key": shown}))
    else:
        click.echo(f"{key_id} for tenant {tenant_id}, {' '.join(scopes)}:", err=True)
        click.echo(shown)


@keys.command("list")
@_CONFIG
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_keys(*, config_file: Path, as_json: bool) -> None:
    """All keys, without what is secret."""
    connection = _connect(_load(config_file))
    try:
        found = [
            {
                "id": key_id,
                "tenant_id": tenant_id,
                "name": name,
                "scopes": scopes.split(),
                "created_at": _time(created_ms),
                "revoked_at": _time(revoked_ms) if revoked_ms else None,
            }
            for key_id, tenant_id, name, scopes, created_ms, revoked_ms in connection.execute(api_keys.LIST)
        ]
    finally:
        connection.close()
    rows = [
        (k["id"], k["tenant_id"], k["name"], " ".join(k["scopes"]), k["created_at"], k["revoked_at"] or "")
        for k in found
    ]
    show({"items": found}, ("key", "tenant", "name", "scopes", "created", "revoked"), rows, as_json=as_json)


@keys.command("revoke")
@_CONFIG
@click.argument("key_id")
def revoke_key(*, config_file: Path, key_id: str) -> None:
    """Make a key useless."""
    connection = _connect(_load(config_file))
    try:
        with connection:
            revoked = api_keys.revoke(connection, key_id)
    finally:
        connection.close()
    if not revoked:
        raise click.ClickException(f"no key {key_id} is in use")
    click.echo(f"{key_id} is revoked")


def _load(config_file: Path) -> GatewayConfig:
    try:
        return load_config(config_file)
    except ConfigError as error:
        raise click.ClickException(str(error)) from None


def _pepper(config: GatewayConfig) -> bytes:
    try:
        return read_pepper(config.auth.pepper_file)
    except ConfigError as error:
        raise click.ClickException(str(error)) from None


def _require_tenant(config: GatewayConfig, tenant_id: str) -> None:
    try:
        enrolled = Roster.load(config.roster.file).has_tenant(tenant_id)
    except RosterError as error:
        raise click.ClickException(str(error)) from None
    if not enrolled:
        raise click.ClickException(f"the roster {config.roster.file} has no tenant {tenant_id}")


def _connect(config: GatewayConfig) -> apsw.Connection:
    connection = connect(config.state.file)
    try:
        migrate(connection)
    except SchemaTooNew as error:
        raise click.ClickException(str(error)) from None
    return connection


def _write_secret(path: Path, text: str) -> None:
    """Write a file that was not there, readable by its owner alone."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from None
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")
