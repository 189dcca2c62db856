"""``keyquorum-signer kek``: make the key-encryption key under which a party's shares will rest."""
# ruff: noqa: D301 - click's mark for a paragraph that it must not rewrap is a real backspace

import asyncio
from pathlib import Path

import click

from keyquorum_core_signer.cli.failures import Failure, InvalidFile, readable_failures
from keyquorum_core_signer.config.files import read_secret
from keyquorum_core_signer.config.party import PartyConfig, Pkcs11Kek
from keyquorum_core_signer.config.source import load_config


@click.group()
def kek() -> None:
    """Make key-encryption keys."""


@kek.command()
@click.option("--config", "file", required=True, type=click.Path(path_type=Path), help="The party's TOML file.")
def init(file: Path) -> None:
    """Make the key-encryption key that the configuration names, before the party first starts. Replaces nothing.

    For a soft key, the passphrase file must be there, and the salt file is written; for a PKCS#11 one, the token must be
    there, and the key is made inside it.

    \b
    Example:
      keyquorum-signer kek init --config /etc/keyquorum/party.toml
    """
    with readable_failures():
        made = asyncio.run(_make(load_config(PartyConfig, file)))
    click.echo(f"key-encryption key made: {made}")


async def _make(config: PartyConfig) -> str:
    from keyquorum_core_signer.hsm.open import pin_text  # noqa: PLC0415 - the engines are loaded for this command alone
    from keyquorum_core_signer.hsm.pkcs11 import Pkcs11Kek as Token  # noqa: PLC0415
    from keyquorum_core_signer.hsm.pkcs11 import create_pkcs11_kek  # noqa: PLC0415
    from keyquorum_core_signer.hsm.ports import KekError, KekSetupError  # noqa: PLC0415
    from keyquorum_core_signer.hsm.soft import create_soft_kek  # noqa: PLC0415

    settings = config.kek
    try:
        if not isinstance(settings, Pkcs11Kek):
            return create_soft_kek(settings.salt_file, read_secret(settings.passphrase_file))
        pin_file = settings.pin_file

        def pin() -> str:
            return pin_text(read_secret(pin_file))

        try:
            existing = await Token.open(settings.module, settings.token, pin)
        except KekSetupError:  # no key yet; whatever else is wrong, making one says so too
            return await create_pkcs11_kek(settings.module, settings.token, pin)
        await existing.close()
        raise InvalidFile(f"{settings.token}: there is a key already; nothing was changed")
    except KekSetupError as error:
        raise InvalidFile(str(error)) from None
    except KekError as error:
        raise Failure(str(error)) from None
