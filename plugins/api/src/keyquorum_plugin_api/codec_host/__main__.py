"""Runs one pinned codec for a party: frames in on standard input, frames out on standard output.

Nothing of the codec runs before its artifact's hash equals the pin and the process has given up everything it can. The
first frame out says what was loaded and how it is confined, or why not. Whatever the codec prints is lost.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path
from typing import Any, Final

from keyquorum_plugin_api.artifact import ArtifactError, artifact_files, artifact_hash, find_codec, package_folder
from keyquorum_plugin_api.codec import Codec
from keyquorum_plugin_api.codec_host.answers import CODEC_FAULT, Answers, refusal
from keyquorum_plugin_api.codec_host.confinement import allow_cpu_seconds, confine, importable_paths, object_to_io
from keyquorum_plugin_api.codec_host.frames import FrameError, encode_frame, read_frame, write_all
from keyquorum_plugin_api.codec_host.pinned import PinnedFinder

REFUSED: Final = 3
BROKEN: Final = 4

_NO_FOLDER: Final = "/dev/null/keyquorum"  # cannot exist: byte code is neither read nor written


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until standard input ends; exit status 3 if the codec was refused, 4 if it or the peer broke down."""
    options = _parse(arguments)
    requests, responses = _take_standard_streams()
    try:
        codec, facts = _load(options)
        answers = Answers(codec, facts)
        ready = {"id": 0, "ok": True, "result": answers.describe()}
    except ArtifactError as error:
        write_all(responses, encode_frame(refusal("codec-refused", str(error))))
        return REFUSED
    except Exception as error:  # noqa: BLE001 - a codec's import may raise anything
        detail = f"the codec does not load: {type(error).__name__}: {error}"
        write_all(responses, encode_frame(refusal(CODEC_FAULT, detail)))
        return REFUSED
    write_all(responses, encode_frame(ready))
    try:
        return _serve(answers, requests, responses, options.cpu_s)
    except (FrameError, MemoryError, BrokenPipeError):
        return BROKEN


def _serve(answers: Answers, requests: int, responses: int, cpu_s: int) -> int:
    while (request := read_frame(requests)) is not None:
        allow_cpu_seconds(cpu_s)
        response = answers.answer(request)
        try:
            frame = encode_frame(response)
        except ValueError:
            frame = encode_frame(refusal(CODEC_FAULT, "the codec's answer is too long", response["id"]))
        write_all(responses, frame)
    return 0


def _load(options: argparse.Namespace) -> tuple[Codec, dict[str, Any]]:
    distribution, entry_point = find_codec(options.codec, options.path)
    if distribution.version != options.version:
        raise ArtifactError(f"version {distribution.version} is installed, and {options.version} is pinned")
    files = artifact_files(distribution)
    found = artifact_hash(distribution, files).hex()
    if found != options.sha256:
        raise ArtifactError(f"the artifact's hash is {found}, and {options.sha256} is pinned")
    folder = package_folder(distribution)
    if options.path is not None:
        _make_importable(str(options.path))
    PinnedFinder(folder, files).install()
    sys.dont_write_bytecode = True
    sys.pycache_prefix = _NO_FOLDER
    confinement = confine(options.memory_mib << 20, [folder, *importable_paths()])
    object_to_io()
    allow_cpu_seconds(options.cpu_s)
    codec = _codec(entry_point, distribution, folder, options.codec)
    facts = {"version": options.version, "sha256": found, "confinement": confinement.report()}
    return codec, facts


def _make_importable(folder: str) -> None:
    """Behind the standard library, so that nothing in the folder replaces a module of it; before everything else."""
    libraries = [place for place, entry in enumerate(sys.path) if "site-packages" in Path(entry).parts]
    sys.path.insert(libraries[0] if libraries else len(sys.path), folder)


def _codec(entry_point: EntryPoint, distribution: Distribution, folder: Path, name: str) -> Codec:
    kind = entry_point.load()
    if not (isinstance(kind, type) and issubclass(kind, Codec)):
        raise ArtifactError(f"{entry_point.value} is not a Codec")
    package = folder.name
    for module, loaded in list(sys.modules.items()):
        if module == package or module.startswith(f"{package}."):
            origin = getattr(loaded, "__file__", None)
            if origin is None or not Path(origin).resolve().is_relative_to(folder):
                raise ArtifactError(f"{module} was not loaded from the pinned artifact")
    if kind.__module__.partition(".")[0] != package:
        raise ArtifactError(f"{entry_point.value} is not defined in the pinned artifact of {distribution.name}")
    codec = kind()
    if codec.name != name:
        raise ArtifactError(f"the codec calls itself {codec.name!r}")
    return codec


def _take_standard_streams() -> tuple[int, int]:
    """Keep the two pipes for ourselves, and leave nothing behind that a print could reach."""
    requests, responses = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    return requests, responses


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -I -m keyquorum_plugin_api.codec_host", description=__doc__)
    parser.add_argument("--codec", required=True, help="entry-point name, such as solana")
    parser.add_argument("--version", required=True, help="version of its distribution")
    parser.add_argument("--sha256", required=True, help="hash of its artifact, in hexadecimal")
    parser.add_argument("--path", type=Path, help="folder made with pip install --target (default: this environment)")
    parser.add_argument("--memory-mib", type=int, default=512, help="limit of address space (default: 512)")
    parser.add_argument("--cpu-s", type=int, default=5, help="processor seconds per request (default: 5)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
