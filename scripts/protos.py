"""Generate the Python code of every .proto beside it, or with ``--check`` say where it differs from what is checked in."""

import argparse
import filecmp
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "protos/src"
PACKAGE = Path("keyquorum_protos")


def sources() -> list[Path]:
    """Every .proto, relative to the source folder."""
    return sorted(path.relative_to(SOURCE) for path in (SOURCE / PACKAGE).rglob("*.proto"))


def has_service(proto: Path) -> bool:
    """Files without a service get no gRPC stubs: they would only be empty modules."""
    return any(line.startswith("service ") for line in (SOURCE / proto).read_text(encoding="utf-8").splitlines())


def generate(out: Path) -> None:
    """Run protoc with the pinned plugins of this environment."""
    import grpc_tools  # noqa: PLC0415  only the generator needs it

    bundled = Path(grpc_tools.__file__).parent / "_proto"
    tools = Path(sys.executable).parent
    protoc = [
        sys.executable, "-m", "grpc_tools.protoc", f"-I{SOURCE}", f"-I{bundled}",
        f"--plugin=protoc-gen-mypy={tools / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={tools / 'protoc-gen-mypy_grpc'}",
    ]  # fmt: skip
    names = [str(path) for path in sources()]
    with_service = [str(path) for path in sources() if has_service(path)]
    subprocess.run(
        [*protoc, f"--python_out={out}", f"--mypy_out=readable_stubs:{out}", *names],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    subprocess.run(
        [*protoc, f"--grpc_python_out={out}", f"--mypy_grpc_out={out}", *with_service],
        check=True,
        stderr=subprocess.DEVNULL,
    )


def generated(folder: Path) -> set[Path]:
    """Generated files below a folder, relative to it."""
    return {
        path.relative_to(folder) for path in (folder / PACKAGE).rglob("*_pb2*.py*") if path.suffix in {".py", ".pyi"}
    }


def differences() -> list[str]:
    """Checked-in files that the sources do not give, and the other way round."""
    with tempfile.TemporaryDirectory() as name:
        fresh = Path(name)
        generate(fresh)
        new, old = generated(fresh), generated(SOURCE)
        found = [f"{path}: no .proto gives it" for path in sorted(old - new)]
        found += [f"{path}: not checked in" for path in sorted(new - old)]
        same = [path for path in sorted(new & old) if filecmp.cmp(fresh / path, SOURCE / path, shallow=False)]
        return found + [f"{path}: differs" for path in sorted((new & old) - set(same))]


def regenerate() -> None:
    """Replace what is checked in, and only once everything was generated."""
    with tempfile.TemporaryDirectory() as name:
        fresh = Path(name)
        generate(fresh)
        new = generated(fresh)
        for path in generated(SOURCE) - new:
            (SOURCE / path).unlink()
        for path in new:
            shutil.copyfile(fresh / path, SOURCE / path)


def main() -> int:
    """Generate or check."""
    parser = argparse.ArgumentParser(description="generate the protobuf code")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 where checked-in code is stale")
    if not parser.parse_args().check:
        regenerate()
        return 0
    stale = differences()
    for line in stale:
        print(line, file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
