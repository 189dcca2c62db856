"""Tiny codecs as installed distributions, in a folder such as ``pip install --target`` makes."""

from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from textwrap import dedent, indent

from keyquorum_plugin_api.artifact import artifact_hash

CHAIN = "toy:main"
ASSET = "toy:main/slip44:1"

_CODEC = '''
"""A ledger on paper: a payload is JSON, and says itself what it does."""

import json

from keyquorum_plugin_api.codec import Codec, Decoded, Effect, EffectKind, SigningRequest
from keyquorum_plugin_api.errors import InvalidAddress, InvalidPayload

{head}

class ToyCodec(Codec):
    name = "toy"
    namespace = "toy"
    scheme = "eddsa_ed25519"

    def derive_address(self, public_key, chain):
        return "toy1" + public_key.hex()

    def validate_address(self, address, chain):
        if not address.startswith("toy1"):
            raise InvalidAddress("not a toy address")
        return address

    def build(self, intent, metadata):
        raise NotImplementedError

    def build_message(self, account, chain, message):
        raise NotImplementedError

    def combine(self, unsigned, signatures):
        raise NotImplementedError

    def decode(self, payload, chain, accounts):
{decode}
'''

HONEST = """
try:
    effects = json.loads(payload)
except ValueError:
    raise InvalidPayload("not JSON") from None
return Decoded(
    requests=tuple(SigningRequest(self.scheme, payload, account.address, account.path) for account in accounts),
    effects=tuple(Effect(EffectKind(e.pop("kind")), **e) for e in effects),
)
"""


@dataclass(frozen=True, slots=True)
class InstalledCodec:
    """What an operator would pin."""

    folder: Path
    sha256: bytes
    name: str = "toy"
    version: str = "1.0"


def codec_source(decode: str, head: str) -> str:
    """A codec's module; ``decode`` is indented by eight."""
    return _CODEC.format(head=head, decode=decode)


def install_codec(
    folder: Path, decode: str = HONEST, head: str = "", *, version: str = "1.0", package: str = "kq_toy"
) -> InstalledCodec:
    """Install a codec whose ``decode`` has that body and whose module begins with ``head``."""
    source = codec_source(indent(dedent(decode).strip(), " " * 8), dedent(head))
    (folder / package).mkdir(parents=True)
    (folder / package / "__init__.py").write_text("")
    (folder / package / "codec.py").write_text(source)
    information = folder / f"{package}-{version}.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {package.replace('_', '-')}\nVersion: {version}\n"
    )
    (information / "entry_points.txt").write_text(f"[keyquorum.codecs]\ntoy = {package}.codec:ToyCodec\n")
    files = [f"{package}/__init__.py", f"{package}/codec.py", f"{information.name}/METADATA"]
    (information / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    return InstalledCodec(folder, hash_of(folder), version=version)


def hash_of(folder: Path) -> bytes:
    """The artifact hash of the one distribution in ``folder``."""
    (distribution,) = distributions(path=[str(folder)])
    return artifact_hash(distribution)
