"""``keyquorum``: what an operator asks a gateway, and what anybody can check about a wallet without believing one."""

import click

from keyquorum_gateway.cli import chains, keys, operations, platform, plugins, verify, wallets


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="keyquorum-gateway", prog_name="keyquorum")
def main() -> None:
    """Operate a Keyquorum gateway.

    Commands that ask the gateway need --url and --api-key-file, or KEYQUORUM_URL and KEYQUORUM_API_KEY_FILE.
    """


for command in (
    plugins.plugins,
    chains.chains,
    platform.parties,
    operations.operations,
    wallets.wallets,
    verify.verify,
    keys.keys,
):
    main.add_command(command)
