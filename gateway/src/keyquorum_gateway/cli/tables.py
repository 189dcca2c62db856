"""Tables and JSON on a terminal."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table


def show(value: Any, columns: Sequence[str], rows: Iterable[Sequence[str]], *, as_json: bool, title: str = "") -> None:
    """Print a value as JSON, or its rows as a table."""
    if as_json:
        click.echo(json.dumps(value, indent=2))
        return
    table = Table(title=title or None, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    Console().print(table if table.row_count else "none")


def show_fields(value: Any, fields: Sequence[tuple[str, str]], *, as_json: bool) -> None:
    """Print a value as JSON, or chosen fields one below the other."""
    show(value, ("", ""), fields, as_json=as_json)
