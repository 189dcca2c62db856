"""Versions of one codec side by side, each pinned in its own folder; and what is refused there, also after the start."""

import asyncio
import json
import py_compile
import shutil
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
import structlog
from click.testing import CliRunner

from keyquorum_core_signer.codecs.errors import CodecFault, CodecRefused, CodecRejected
from keyquorum_core_signer.codecs.pool import CodecPool
from keyquorum_core_signer.codecs.worker import WorkerLimits
from keyquorum_core_signer.config.party import CodecPin
from keyquorum_core_signer.intents.effects import CodecRef, OwnAccount
from keyquorum_gateway.cli import main
from support.codec_distributions import CHAIN, hash_of, install_codec
from support.plugin_wheels import plugin_files, write_wheel

ACCOUNT = OwnAccount("toy1" + "00" * 32, b"\x00" * 32, ())
LIMITS = WorkerLimits(answer_s=10.0, start_s=30.0, memory_mib=256)
SIGNS = "return Decoded(requests=(SigningRequest(self.scheme, {message}, accounts[0].address),), effects=())"


def pin(folder, sha256=None, version="1.0") -> CodecPin:
    digest = hash_of(folder) if sha256 is None else sha256
    return CodecPin(name="toy", version=version, sha256=digest.hex(), path=folder)


async def signed(pool: CodecPool, ref: CodecRef) -> bytes:
    """What the codec that an intent names would have signed."""
    codec = pool.find(ref)
    assert codec is not None
    return (await codec.decode(b"payload", CHAIN, [ACCOUNT])).messages[0].message


async def test_an_intents_codec_is_asked_and_no_other(tmp_path):
    """Two versions that ``plugins add`` installed, pinned as it printed, at work at the same time in two processes."""
    pins = []
    for version in ("1.0", "2.0"):
        message = f"b'{version} ' + payload"
        wheel = write_wheel(tmp_path, version, files=plugin_files(SIGNS.format(message=message)))
        words = ["plugins", "add", str(wheel), "--into", str(tmp_path / version), "--no-index", "--json"]
        done = await asyncio.to_thread(CliRunner().invoke, main, words)
        assert done.exit_code == 0, done.output
        pins += [CodecPin(**codec) for codec in json.loads(done.output)["codecs"]]
    pool = CodecPool(pins, LIMITS)
    try:
        await pool.start()
        old, new = pool.refs
        answers = await asyncio.gather(*(signed(pool, ref) for ref in (new, old, new, old)))
        assert answers == [b"2.0 payload", b"1.0 payload"] * 2
        for mixed in (CodecRef("toy", "1.0", new.sha256), CodecRef("toy", "3.0", new.sha256)):
            assert pool.find(mixed) is None
    finally:
        await pool.close()


async def test_a_version_in_anothers_folder_is_refused(tmp_path):
    """The folder is part of the pin: what is in it has to be that version, with that hash."""
    old = install_codec(tmp_path / "old")
    new = install_codec(tmp_path / "new", "return None", version="2.0")
    for wrong in (
        pin(new.folder, old.sha256),
        pin(new.folder, new.sha256, "1.0"),
        pin(old.folder, new.sha256, "2.0"),
        pin(old.folder, bytes(32)),
    ):
        pool = CodecPool([wrong], LIMITS)
        with pytest.raises(CodecRefused, match="is pinned"):
            await pool.start()
        await pool.close()


def link_a_module(folder):
    source = folder / "kq_toy" / "codec.py"
    shutil.move(source, folder / "elsewhere.py")
    source.symlink_to(folder / "elsewhere.py")


def link_a_folder(folder):
    (folder / "data").mkdir()
    (folder / "kq_toy" / "data").symlink_to(folder / "data")


def declare_twice(folder):
    twin = folder / "kq_twin-1.0.dist-info"
    shutil.copytree(folder / "kq_toy-1.0.dist-info", twin)
    (twin / "METADATA").write_text("Metadata-Version: 2.1\nName: kq-twin\nVersion: 1.0\n")


def install_twice(folder):
    twin = folder / "kq_toy-1.1.dist-info"
    shutil.copytree(folder / "kq_toy-1.0.dist-info", twin)
    (twin / "METADATA").write_text("Metadata-Version: 2.1\nName: kq-toy\nVersion: 1.1\n")


CONFUSED = {
    link_a_module: "symbolic link",
    link_a_folder: "symbolic link",
    declare_twice: "several distributions",
    install_twice: "several distributions",
}


@pytest.mark.parametrize("confuse", CONFUSED, ids=lambda each: each.__name__)
async def test_what_is_not_one_artifact_is_refused(tmp_path, confuse):
    """Links and rival distributions: nobody could say what was pinned."""
    codec = install_codec(tmp_path / "codec")
    confuse(codec.folder)
    pool = CodecPool([pin(codec.folder, codec.sha256)], LIMITS)
    with pytest.raises(CodecRefused, match=CONFUSED[confuse]):
        await pool.start()
    await pool.close()


def late_source(package):
    """A module that is imported late, and another one to put in its place."""
    (package / "late.py").write_text("WORD = b'honest'\n")
    return package / "late.py", b"WORD = b'hostile'\n"


def late_byte_code(package):
    """The same without a source."""
    for word in ("hostile", "honest"):
        source = package.parent / f"{word}.py"
        source.write_text(f"WORD = b'{word}'\n")
        py_compile.compile(str(source), cfile=str(package.parent / word), doraise=True)
    shutil.copy(package.parent / "honest", package / "late.pyc")
    return package / "late.pyc", (package.parent / "hostile").read_bytes()


def late_extension(package):
    """Native code, whose start would be too late to look at it."""
    native = Path(find_spec("_cffi_backend").origin)
    (package / "late.py").write_text("from kq_toy import _cffi_backend\nWORD = b'honest'\n")
    shutil.copy(native, package / native.name)
    return package / native.name, native.read_bytes() + b"\x00"


@pytest.mark.parametrize("make", [late_source, late_byte_code, late_extension], ids=lambda each: each.__name__)
async def test_a_file_that_changes_after_the_start_is_not_run(tmp_path, make):
    """Neither by the process that runs, which imports a part of its package late, nor by the next one."""
    late = "from kq_toy import late\n" + SIGNS.format(message="late.WORD")
    codec = install_codec(tmp_path / "codec", late)
    file, hostile = make(codec.folder / "kq_toy")
    honest = CodecPool([pin(codec.folder)], LIMITS)
    changed = CodecPool([pin(codec.folder)], LIMITS)
    try:
        await asyncio.gather(honest.start(), changed.start())
        (ref,) = changed.refs
        assert await signed(honest, ref) == b"honest"
        file.unlink()  # in place, it would change what the honest process has mapped
        file.write_bytes(hostile)
        with pytest.raises(CodecFault, match="ChangedFile"):
            await signed(changed, ref)
        with pytest.raises(CodecRefused, match="is pinned"):
            await signed(changed, ref)
        assert await signed(honest, ref) == b"honest"
    finally:
        await honest.close()
        await changed.close()


async def test_what_was_loaded_stays_what_was_pinned(tmp_path):
    """A module that is loaded already is not read again."""
    codec = install_codec(tmp_path / "codec", SIGNS.format(message="payload"))
    pool = CodecPool([pin(codec.folder)], LIMITS)
    try:
        await pool.start()
        source = codec.folder / "kq_toy" / "codec.py"
        source.write_text(source.read_text().replace("payload,", "b'hostile',"))
        assert await signed(pool, pool.refs[0]) == b"payload"
    finally:
        await pool.close()


async def test_planted_modules_are_not_found(tmp_path):
    """A module that was not there when the artifact was pinned, in its package or elsewhere, is not imported."""
    code = "try:\n    import kq_toy.planted\nexcept ImportError:\n    pass\nelse:\n    raise SystemExit\n"
    codec = install_codec(tmp_path / "codec", code + SIGNS.format(message="payload"))
    pool = CodecPool([pin(codec.folder)], LIMITS)
    try:
        await pool.start()
        (codec.folder / "kq_toy" / "planted.py").write_text("")
        assert await signed(pool, pool.refs[0]) == b"payload"
    finally:
        await pool.close()


AT_LOAD = {
    "opens a socket": ("import socket\nsocket.create_connection(('127.0.0.1', 9))", "PermissionError"),
    "writes a file": ("open('{folder}/written', 'w')", "PermissionError"),
    "starts a program": ("import subprocess\nsubprocess.run(['/bin/true'])", "PermissionError"),
    "forks": ("import os\nos.fork()", "PermissionError"),
    "ends itself": ("import os\nos._exit(0)", "ended while loading"),
    "eats memory": ("x = [bytearray(1 << 20) for _ in range(10**6)]", "MemoryError|ended while loading"),
    "loops": ("while True: pass", "did not load|ended while loading"),
}


@pytest.mark.parametrize("case", AT_LOAD)
async def test_a_codec_that_is_hostile_when_loaded_never_answers(tmp_path, case):
    """The party does not start with it, and says what it did."""
    head, reason = AT_LOAD[case]
    codec = install_codec(tmp_path / "codec", head=head.format(folder=tmp_path))
    start_s = 1.0 if case == "loops" else 30.0
    pool = CodecPool([pin(codec.folder)], WorkerLimits(answer_s=1.0, start_s=start_s, cpu_s=2, memory_mib=256))
    with pytest.raises((CodecRefused, CodecFault), match=reason):
        await pool.start()
    await pool.close()
    assert not (tmp_path / "written").exists()
    assert [child for child in psutil.Process().children() if "codec_host" in " ".join(child.cmdline())] == []


WHEN_ASKED = {
    "opens a socket": "import socket\nsocket.socket().connect(('127.0.0.1', 9))",
    "writes a file": "open('{secret}', 'a')",
    "forks": "import os\nos.fork()",
    "forks beneath Python": "import ctypes\nif ctypes.CDLL(None).fork() != 0:\n    raise PermissionError",
    "loops": "while True: pass",
    "eats memory": "return bytearray(1 << 40)",
    "prints garbage on every descriptor": (
        "import os\nfor fd in range(64):\n    try:\n        os.write(fd, b'garbage' * 100)\n    except OSError:\n        pass"
    ),
}


@pytest.mark.parametrize("case", WHEN_ASKED)
async def test_a_stopped_codec_is_in_the_operators_log(tmp_path, case):
    """With its name, its version and what it did; and the next question finds a process again."""
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    codec = install_codec(tmp_path / "codec", WHEN_ASKED[case].format(secret=secret))
    pool = CodecPool([pin(codec.folder)], WorkerLimits(answer_s=1.0, start_s=30.0, memory_mib=256))
    try:
        with structlog.testing.capture_logs() as logs:
            with pytest.raises(CodecFault) as caught:
                await pool.named("toy").decode(b"payload", CHAIN, [ACCOUNT])
            assert await pool.named("toy").derive_address(b"\x01" * 32, CHAIN) == "toy1" + "01" * 32
        (stopped,) = [line for line in logs if line["event"] == "codec stopped"]
        assert stopped | {"log_level": ""} == {
            "event": "codec stopped", "log_level": "", "codec": "toy", "version": "1.0", "reason": caught.value.detail,
        }  # fmt: skip
        assert secret.read_text() == "s3cret"
    finally:
        await pool.close()


async def test_a_refusal_is_no_reason_to_stop_a_codec(tmp_path):
    """A codec that says no to a payload does its work: nothing is logged, the process goes on."""
    pool = CodecPool([pin(install_codec(tmp_path / "codec").folder)], LIMITS)
    try:
        with structlog.testing.capture_logs() as logs, pytest.raises(CodecRejected):
            await pool.named("toy").decode(b"\xff", CHAIN, [ACCOUNT])
        assert logs == []
    finally:
        await pool.close()


async def test_a_codec_reads_no_secret(tmp_path):
    """A file that only the party's user may read, where the kernel has a wall for files; the worker says if it has none."""
    secret = tmp_path / "share.db"
    secret.write_text("s3cret")
    secret.chmod(0o600)
    codec = install_codec(tmp_path / "codec", f"return open({str(secret)!r}).read()")
    pool = CodecPool([pin(codec.folder)], LIMITS)
    try:
        (description,) = await pool.start()
        with pytest.raises(CodecFault) as caught:
            await pool.named("toy").decode(b"payload", CHAIN, [ACCOUNT])
        walled = description.confinement["filesystem"] == "isolated"
        assert caught.value.detail == (
            "the codec raised PermissionError" if walled else "the codec returned str instead of Decoded"
        )
        assert "s3cret" not in caught.value.detail
    finally:
        await pool.close()
