"""``keyquorum plugins``: what a gateway made of those that are installed, and how more are written, checked and added."""

import click

from keyquorum_gateway.cli.connection import Gateway, gateway_command
from keyquorum_gateway.cli.plugins_add import add
from keyquorum_gateway.cli.plugins_check import check
from keyquorum_gateway.cli.plugins_new import new
from keyquorum_gateway.cli.tables import show


class ListsByDefault(click.Group):
    """A group that lists where no command is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Options of the list may stand where a command would."""
        bare = not args or (args[0].startswith("-") and args[0] not in self.get_help_option_names(ctx))
        return super().parse_args(ctx, ["list", *args] if bare else args)


@click.group(cls=ListsByDefault)
def plugins() -> None:
    """Plugins that bring chains: those of a gateway (list, the default), and those to come."""


@plugins.command("list")
@gateway_command
async def list_plugins(gateway: Gateway) -> None:
    """Installed plugins: loaded, refused (and the line that would allow it), or failed."""
    answer = await gateway.get("/v1/plugins")
    rows = [
        (
            p["distribution"],
            p["version"],
            p["group"].removeprefix("keyquorum."),
            p["name"],
            p["state"],
            f"add under [plugins]: {p['allow_line']}" if p["allow_line"] else p["detail"],
        )
        for p in answer["items"]
    ]
    show(answer, ("distribution", "version", "kind", "name", "state", ""), rows, as_json=gateway.as_json)


for command in (new, check, add):
    plugins.add_command(command)
