"""Wheels of tiny plugins, written by hand as the format has it, so that nothing has to be built."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import dedent, indent

from support.codec_distributions import HONEST, codec_source

ENTRY_POINTS = "[keyquorum.chains]\ntoy = kq_toy.plugin\n\n[keyquorum.codecs]\ntoy = kq_toy.codec:ToyCodec\n"
PLUGIN = "raise RuntimeError('whoever installs a plugin imports nothing of it')\n"


def plugin_files(decode: str = HONEST, head: str = "") -> dict[str, str]:
    """The package of a plugin whose codec decodes so."""
    codec = codec_source(indent(dedent(decode).strip(), " " * 8), dedent(head))
    return {"kq_toy/__init__.py": "", "kq_toy/codec.py": codec, "kq_toy/plugin.py": PLUGIN}


def write_wheel(
    folder: Path,
    version: str = "1.0",
    *,
    name: str = "kq-toy",
    files: Mapping[str, str] | None = None,
    entry_points: str = ENTRY_POINTS,
    requires: Sequence[str] = (),
) -> Path:
    """The wheel's file."""
    stem = f"{name.replace('-', '_')}-{version}"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"]
    metadata += [f"Requires-Dist: {requirement}\n" for requirement in requires]
    content = {
        **(plugin_files() if files is None else files),
        f"{stem}.dist-info/METADATA": "".join(metadata),
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{stem}.dist-info/entry_points.txt": entry_points,
    }
    record = f"{stem}.dist-info/RECORD"
    content[record] = "".join(f"{path},,\n" for path in [*content, record])
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        for path, text in content.items():
            archive.writestr(path, text)
    return file
