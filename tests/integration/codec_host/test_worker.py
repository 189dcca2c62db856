"""A party's conversation with its codec workers, honest and hostile, in real processes."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from keyquorum_core_signer.codecs.errors import CodecError, CodecFault, CodecRefused, CodecRejected
from keyquorum_core_signer.codecs.pool import CodecPool
from keyquorum_core_signer.codecs.worker import CodecWorker, WorkerLimits
from keyquorum_core_signer.config.party import CodecPin
from keyquorum_core_signer.intents.effects import CodecRef, Effect, EffectKind, MessageToSign, OwnAccount
from support.codec_distributions import ASSET, CHAIN, InstalledCodec, hash_of, install_codec

ACCOUNT = OwnAccount("toy1" + "00" * 32, b"\x00" * 32, (4, 2))
LIMITS = WorkerLimits(answer_s=1.0, start_s=10.0, cpu_s=5, memory_mib=256)
PAYLOAD = json.dumps(
    [
        {"kind": "transfer", "asset": ASSET, "amount": 2**256 - 1, "source": ACCOUNT.address, "destination": "them"},
        {"kind": "fee", "asset": ASSET, "amount": 5, "source": ACCOUNT.address},
        {"kind": "message", "detail": "gruß"},
    ]
).encode()
HONEST_ANSWER = "return Decoded(requests=(SigningRequest(self.scheme, payload, accounts[0].address),), effects=())"


@asynccontextmanager
async def worker(codec: InstalledCodec, limits: WorkerLimits = LIMITS) -> AsyncIterator[CodecWorker]:
    made = CodecWorker(CodecRef(codec.name, codec.version, codec.sha256), codec.folder, limits)
    try:
        yield made
    finally:
        await made.close()


async def fault(codec: InstalledCodec, limits: WorkerLimits = LIMITS) -> str:
    """What a hostile codec's decode is reported as; the process must be gone, and the next question find another."""
    async with worker(codec, limits) as asked:
        await asked.start()
        before = asked.process_id
        with pytest.raises(CodecFault) as caught:
            await asked.decode(b"hostile", CHAIN, [ACCOUNT])
        assert not psutil.pid_exists(before)
        assert await asked.derive_address(b"\x01" * 32, CHAIN) == "toy1" + "01" * 32
        assert asked.process_id != before
        return caught.value.detail


async def test_a_payload_is_decoded(tmp_path):
    """Effects, messages, paths and accounts come back typed, with the codec that found them."""
    codec = install_codec(tmp_path / "codec")
    async with worker(codec) as asked:
        decoded = await asked.decode(PAYLOAD, CHAIN, [ACCOUNT])
    assert decoded.effects == (
        Effect(EffectKind.TRANSFER, ASSET, 2**256 - 1, ACCOUNT.address, "them"),
        Effect(EffectKind.FEE, ASSET, 5, ACCOUNT.address),
        Effect(EffectKind.MESSAGE, detail="gruß"),
    )
    assert decoded.messages == (MessageToSign(PAYLOAD, (4, 2)),)
    assert decoded.signers == (ACCOUNT.address,)
    assert decoded.accounts == (ACCOUNT,)
    assert (decoded.codec, decoded.chain, decoded.scheme) == (asked.ref, CHAIN, "eddsa_ed25519")
    assert decoded.payload_names_chain


async def test_addresses_are_derived_and_validated(tmp_path):
    """Both pure questions about addresses reach the codec; its typed errors come back with their code."""
    async with worker(install_codec(tmp_path / "codec")) as asked:
        assert await asked.derive_address(b"\xab" * 32, CHAIN) == "toy1" + "ab" * 32
        assert await asked.validate_address("toy1x", CHAIN) == "toy1x"
        process = asked.process_id
        with pytest.raises(CodecRejected) as caught:
            await asked.validate_address("elsewhere", CHAIN)
        assert (caught.value.code, caught.value.detail) == ("invalid-address", "not a toy address")
        with pytest.raises(CodecRejected) as caught:
            await asked.decode(b"\xff", CHAIN, [])
        assert caught.value.code == "invalid-payload"
        with pytest.raises(CodecRejected, match="does not know this chain"):
            await asked.decode(PAYLOAD, "eip155:1", [])
        assert asked.process_id == process


async def test_the_worker_says_how_it_is_confined(tmp_path):
    """Every wall is reported, whether the kernel gave it or not."""
    async with worker(install_codec(tmp_path / "codec")) as asked:
        description = await asked.start()
    assert description.confinement.keys() == {"network", "filesystem", "syscalls", "capabilities"}
    assert (description.namespace, description.scheme, description.ref) == ("toy", "eddsa_ed25519", asked.ref)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sha256": b"\x01" * 32}, "pinned"),
        ({"version": "1.1"}, "version 1.0 is installed"),
        ({"name": "other"}, "no distribution declares"),
    ],
)
async def test_another_artifact_than_the_pinned_one_is_refused_for_good(tmp_path, changes, reason):
    """A codec with another hash, version or name never runs, however often it is asked."""
    proof = tmp_path / "imported"
    codec = install_codec(tmp_path / "codec", head=f"open({str(proof)!r}, 'w')")
    async with worker(replace(codec, **changes)) as asked:
        for _ in range(2):
            with pytest.raises(CodecRefused, match=reason):
                await asked.decode(PAYLOAD, CHAIN, [])
            assert asked.process_id is None
    assert not proof.exists()


async def test_a_codec_changed_after_pinning_is_refused(tmp_path):
    """One byte of its source is enough, in any of its files."""
    codec = install_codec(tmp_path / "codec")
    extra = codec.folder / "kq_toy" / "tables.json"
    extra.write_text("{}")
    async with worker(codec) as asked:
        with pytest.raises(CodecRefused, match="pinned"):
            await asked.start()
    extra.unlink()
    async with worker(codec) as asked:
        await asked.start()


async def test_planted_byte_code_is_not_run(tmp_path):
    """Byte code that claims to belong to a pinned source is outside of the hash, so it is never read."""
    honest = install_codec(tmp_path / "codec")
    source = honest.folder / "kq_toy" / "codec.py"
    text, status = source.read_text(), source.stat()
    evil = text.replace('return "toy1"', 'return "evil"')
    assert len(evil) == len(text)
    assert evil != text
    source.write_text(evil)
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
    compile_it = f"import py_compile; py_compile.compile({str(source)!r}, doraise=True)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", compile_it)
    assert await process.wait() == 0
    assert list((honest.folder / "kq_toy" / "__pycache__").iterdir())
    source.write_text(text)
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert hash_of(honest.folder) == honest.sha256
    async with worker(honest) as asked:
        assert (await asked.derive_address(b"\x01" * 32, CHAIN)).startswith("toy1")


async def test_a_codec_that_does_not_load_is_refused(tmp_path):
    """An import that fails, a class that is no codec, a codec under another name."""
    broken = {
        "raises": "raise RuntimeError('no luck')",
        "exits": "import sys; sys.exit(0)",
        "other": "Codec = object",
    }
    for name, head in broken.items():
        async with worker(install_codec(tmp_path / name, head="", decode="pass")) as asked:
            source = asked._folder / "kq_toy" / "codec.py"
            source.write_text(head + "\n" + source.read_text() if name != "other" else "class ToyCodec: name = 'toy'\n")
            asked.ref = replace(asked.ref, sha256=hash_of(asked._folder))
            with pytest.raises(CodecError):
                await asked.start()
            assert asked.process_id is None


def socket_to(port: int) -> str:
    return f"import socket\nwith socket.create_connection(('127.0.0.1', {port}), timeout=1):\n    pass\n{HONEST_ANSWER}"


async def test_a_codec_that_opens_a_socket_reaches_nobody(tmp_path):
    """The connection is not made, and the attempt is reported."""
    reached = asyncio.Event()

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.set()
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    detail = await fault(install_codec(tmp_path / "codec", socket_to(port)))
    server.close()
    await server.wait_closed()
    assert "PermissionError" in detail
    assert not reached.is_set()


BENEATH_PYTHON = {
    "socket": ("syscalls", "ctypes.CDLL(None).socket(2, 1, 0)"),
    "unix socket": ("syscalls", "ctypes.CDLL(None).socket(1, 1, 0)"),
    "fork": ("syscalls", "ctypes.CDLL(None).fork()"),
    "kill": ("syscalls", "ctypes.CDLL(None).kill(os.getppid(), 0)"),
    "ptrace": ("syscalls", "ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0)"),
    "limits of the party": ("syscalls", "ctypes.CDLL(None).prlimit(os.getppid(), 7, (ctypes.c_uint64 * 2)(64, 64), 0)"),
    "priority of the party": ("syscalls", "ctypes.CDLL(None).setpriority(0, os.getppid(), 19)"),
    "processors of the party": ("syscalls", "ctypes.CDLL(None).sched_setaffinity(os.getppid(), 1, b'\\x01')"),
    "shared memory": ("syscalls", "ctypes.CDLL(None).shmget(0, 4096, 0o1600)"),
    "open for writing": ("filesystem", "ctypes.CDLL(None).open(b'{written}', 0o101, 0o600)"),
    "open for reading": ("filesystem", "ctypes.CDLL(None).open(b'{victim}', 0)"),
    "unlink": ("filesystem", "ctypes.CDLL(None).unlink(b'{victim}')"),
    "truncate": ("filesystem", "ctypes.CDLL(None).truncate(b'{victim}', 0)"),
}


@pytest.mark.parametrize("case", BENEATH_PYTHON)
async def test_a_codec_that_goes_beneath_python_meets_the_kernel(tmp_path, case):
    """Native code, which no audit hook sees, is held by the kernel: each call fails, and harms nothing."""
    wall, call = BENEATH_PYTHON[case]
    victim, written = tmp_path / "secret", tmp_path / "written"
    victim.write_text("secret")
    attempt = f"import ctypes, os\nassert {call.format(written=written, victim=victim)} == -1\n{HONEST_ANSWER}"
    async with worker(install_codec(tmp_path / "codec", attempt)) as asked:
        if (await asked.start()).confinement[wall] == "open":
            pytest.skip(f"this kernel has no wall for {wall}, and the worker says so")
        decoded = await asked.decode(b"m", CHAIN, [ACCOUNT])
    assert decoded.messages == (MessageToSign(b"m"),)
    assert victim.read_text() == "secret"
    assert not written.exists()


async def test_a_codec_that_writes_a_file_leaves_none(tmp_path):
    """Neither open, nor rename, nor a subprocess: all are reported, none happens."""
    target = tmp_path / "written"
    attempts = [
        f"open({str(target)!r}, 'w')",
        f"import os\nos.open({str(target)!r}, os.O_CREAT | os.O_WRONLY)",
        f"import os\nos.rename({str(tmp_path / 'codec0')!r}, {str(target)!r})",
        f"import os\nos.mkdir({str(target)!r})",
        f"import subprocess\nsubprocess.run(['/bin/touch', {str(target)!r}])",
        f"import os\nos.system('touch {target}')",
    ]
    for number, attempt in enumerate(attempts):
        assert "PermissionError" in await fault(install_codec(tmp_path / f"codec{number}", attempt))
        assert not target.exists()


async def test_a_codec_does_not_inherit_the_environment(tmp_path, monkeypatch):
    """What the party's environment holds, a codec cannot tell anybody."""
    monkeypatch.setenv("KEYQUORUM_TEST_SECRET", "secret")
    look = "import os\nif 'KEYQUORUM_TEST_SECRET' in os.environ or 'HOME' in os.environ:\n    raise ValueError\n"
    async with worker(install_codec(tmp_path / "codec", look + HONEST_ANSWER)) as asked:
        await asked.decode(b"m", CHAIN, [ACCOUNT])


async def test_a_codec_that_loops_is_stopped_in_time(tmp_path):
    """The party waits as long as configured and no longer."""
    started = time.monotonic()
    assert "no answer within 0.3 s" in await fault(
        install_codec(tmp_path / "codec", "while True: pass"), replace(LIMITS, answer_s=0.3)
    )
    assert time.monotonic() - started < 5


async def test_a_codec_that_outlives_its_party_is_stopped_by_the_kernel(tmp_path):
    """Processor time is bounded without anybody's help: a party that is stuck does not keep a looping codec alive."""
    codec = install_codec(tmp_path / "codec", "while True: pass")
    started = time.monotonic()
    detail = await fault(codec, replace(LIMITS, answer_s=30.0, cpu_s=1))
    assert detail == "the codec's process ended"
    assert time.monotonic() - started < 15


_PARTY = """
import asyncio, sys
from pathlib import Path
from keyquorum_core_signer.codecs.worker import CodecWorker, WorkerLimits
from keyquorum_core_signer.intents.effects import CodecRef

async def main(folder, sha256):
    ref = CodecRef("toy", "1.0", bytes.fromhex(sha256))
    worker = CodecWorker(ref, Path(folder), WorkerLimits(answer_s=60.0, cpu_s=60))
    await worker.start()
    print(worker.process_id, flush=True)
    await worker.decode(b"m", "toy:main", [])

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_looping_codec_dies_with_its_party(tmp_path):
    """kill -9 of the party takes the worker along, also in the middle of a computation."""
    codec = install_codec(tmp_path / "codec", "while True: pass")
    party = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PARTY, str(codec.folder), codec.sha256.hex(), stdout=asyncio.subprocess.PIPE
    )
    worker_id = int(await party.stdout.readline())
    await asyncio.sleep(0.2)
    assert psutil.pid_exists(worker_id)
    party.kill()
    await party.wait()
    for _ in range(200):
        if not psutil.pid_exists(worker_id) or psutil.Process(worker_id).status() == psutil.STATUS_ZOMBIE:
            return
        await asyncio.sleep(0.02)
    pytest.fail("the worker outlived its party")


async def test_a_codec_that_eats_memory_is_stopped(tmp_path):
    """It runs into its limit instead of the machine's."""
    patient = replace(LIMITS, answer_s=60.0)  # how long it takes to take so much is the machine's business
    assert "process ended" in await fault(
        install_codec(tmp_path / "codec", "return [bytearray(1 << 20) for _ in range(10**6)]"), patient
    )


async def test_what_a_codec_prints_is_lost(tmp_path):
    """Neither Python's nor the C library's standard output is the channel that answers travel on."""
    noise = "import os\nprint('x' * 100_000, flush=True)\nos.write(1, b'garbage')\nos.write(2, b'garbage')\n"
    async with worker(install_codec(tmp_path / "codec", noise + HONEST_ANSWER)) as asked:
        for _ in range(3):
            assert (await asked.decode(b"m", CHAIN, [ACCOUNT])).messages == (MessageToSign(b"m"),)


FORGED = {
    "garbage": b"garbage",
    "nothing": b"\x00\x00\x00\x00",
    "a huge frame": b"\xff\xff\xff\xff",
    "no JSON": b"\x00\x00\x00\x02{{",
    "deep JSON": (100_000).to_bytes(4, "big") + b"[" * 100_000,
    "a huge number": (20_010).to_bytes(4, "big") + b'{"id":' + b"1" * 20_003 + b"}",
    "another answer's id": (40).to_bytes(4, "big") + b'{"id":9999,"ok":true,"result":{}}'.ljust(40),
    "an early answer": (30).to_bytes(4, "big") + b'{"id":1,"ok":true,"result":{}}',
}


@pytest.mark.parametrize("case", FORGED)
async def test_a_codec_that_forges_frames_is_stopped(tmp_path, case):
    """Writing to the pipe itself earns a codec nothing but its end."""
    write = f"import os\nfor fd in range(3, 64):\n    try:\n        os.write(fd, {FORGED[case]!r})\n    except OSError:\n        pass\n"
    await fault(install_codec(tmp_path / "codec", write + HONEST_ANSWER))


WRONG = {
    "nothing": "return None",
    "a dictionary": "return {'requests': [], 'effects': []}",
    "a list of requests": "return Decoded(requests=[], effects=())",
    "a foreign effect": "return Decoded(requests=(), effects=('all good',))",
    "a text for a message": "return Decoded((SigningRequest(self.scheme, 'text', 'a'),), ())",
    "another scheme": "return Decoded((SigningRequest('ecdsa_secp256k1', b'm', 'a'),), ())",
    "an empty message": "return Decoded((SigningRequest(self.scheme, b'', 'a'),), ())",
    "no signer": "return Decoded((SigningRequest(self.scheme, b'm', ''),), ())",
    "a hardened path": "return Decoded((SigningRequest(self.scheme, b'm', 'a', (2**31,)),), ())",
    "a deep path": "return Decoded((SigningRequest(self.scheme, b'm', 'a', (0,) * 9),), ())",
    "a path of texts": "return Decoded((SigningRequest(self.scheme, b'm', 'a', ('0',)),), ())",
    "a path of booleans": "return Decoded((SigningRequest(self.scheme, b'm', 'a', (True,)),), ())",
    "a negative amount": "return Decoded((), (Effect(EffectKind.FEE, 'toy:main/slip44:1', -1, 'a'),))",
    "an amount of 2^256": "return Decoded((), (Effect(EffectKind.FEE, 'toy:main/slip44:1', 2**256, 'a'),))",
    "a fraction": "return Decoded((), (Effect(EffectKind.FEE, 'toy:main/slip44:1', 1.0, 'a'),))",
    "no asset": "return Decoded((), (Effect(EffectKind.FEE, '', 1, 'a'),))",
    "a kind of its own": "return Decoded((), (Effect('gift', 'toy:main/slip44:1', 1, 'a', 'b'),))",
    "a message with an amount": "return Decoded((), (Effect(EffectKind.MESSAGE, amount=1),))",
    "a transfer to nowhere": "return Decoded((), (Effect(EffectKind.TRANSFER, 'toy:main/slip44:1', 1, 'a'),))",
    "too many messages": "return Decoded(tuple(SigningRequest(self.scheme, bytes([i]), 'a') for i in range(17)), ())",
    "too many effects": "return Decoded((), (Effect(EffectKind.MESSAGE),) * 257)",
    "a huge message": "return Decoded((SigningRequest(self.scheme, bytes(65537), 'a'),), ())",
    "a huge answer": "return Decoded((SigningRequest(self.scheme, bytes(4 << 20), 'a'),), ())",
    "an exception": "raise KeyError('x')",
    "an exception with a novel": "raise ValueError('x' * 10**6)",
    "a recursion": "return self.decode(payload, chain, accounts)",
}


@pytest.mark.parametrize("case", WRONG)
async def test_a_wrong_answer_is_a_fault(tmp_path, case):
    """Wrong types, wrong ranges, too much of anything: the party gets one typed error, short and printable."""
    detail = await fault(install_codec(tmp_path / "codec", WRONG[case]))
    assert len(detail) <= 500
    assert detail.isascii()
    assert detail.isprintable()


async def test_a_codec_that_ends_itself_is_replaced(tmp_path):
    """A crash in native code is as good as an exception."""
    for number, end in enumerate(["os._exit(0)", "os.abort()", "os.close(4)\nos._exit(1)"]):
        assert "process ended" in await fault(install_codec(tmp_path / f"codec{number}", f"import os\n{end}"))


@pytest.mark.parametrize("noticed", [True, False], ids=["noticed", "not noticed yet"])
async def test_a_killed_worker_is_replaced(tmp_path, noticed):
    """Whoever ends the process between two questions costs one question nothing but time, however late that is told."""
    async with worker(install_codec(tmp_path / "codec")) as asked:
        await asked.start()
        before = asked.process_id
        os.kill(before, signal.SIGKILL)
        while noticed and psutil.pid_exists(before):
            await asyncio.sleep(0.01)
        assert await asked.derive_address(b"\x01" * 32, CHAIN)
        assert asked.process_id != before


async def test_a_caller_that_gives_up_leaves_no_answer_behind(tmp_path):
    """The late answer to a cancelled question is never taken for the answer to the next one."""
    slow = f"import time\nif payload == b'slow':\n    time.sleep(0.5)\n{HONEST_ANSWER}"
    async with worker(install_codec(tmp_path / "codec", slow)) as asked:
        await asked.start()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await asked.decode(b"slow", CHAIN, [ACCOUNT])
        assert (await asked.decode(b"next", CHAIN, [ACCOUNT])).messages == (MessageToSign(b"next"),)


async def test_questions_wait_for_each_other(tmp_path):
    """Concurrent questions to one worker each get their own answer."""
    async with worker(install_codec(tmp_path / "codec", HONEST_ANSWER)) as asked:
        payloads = [b"%d" % number for number in range(50)]
        answers = await asyncio.gather(*(asked.decode(payload, CHAIN, [ACCOUNT]) for payload in payloads))
    assert [answer.messages[0].message for answer in answers] == payloads


async def test_a_closed_worker_takes_no_question(tmp_path):
    """Closing ends the process and does not start another."""
    async with worker(install_codec(tmp_path / "codec")) as asked:
        await asked.start()
        process = asked.process_id
        await asked.close()
        assert not psutil.pid_exists(process)
        with pytest.raises(CodecFault, match="closed"):
            await asked.decode(PAYLOAD, CHAIN, [])


def pin(codec: InstalledCodec, workers: int = 1) -> CodecPin:
    return CodecPin(
        name=codec.name, version=codec.version, sha256=codec.sha256.hex(), path=codec.folder, workers=workers
    )


async def test_a_pool_asks_exactly_the_pinned_codec(tmp_path):
    """Two versions side by side are two codecs; what is not pinned is not found; addresses come from the last one."""
    old = install_codec(tmp_path / "old")
    new = install_codec(tmp_path / "new", HONEST_ANSWER, version="2.0")
    pool = CodecPool([pin(old), pin(new)], LIMITS)
    try:
        assert [description.ref.version for description in await pool.start()] == ["1.0", "2.0"]
        first, second = pool.refs
        assert len((await pool.find(first).decode(PAYLOAD, CHAIN, [ACCOUNT])).effects) == 3
        assert (await pool.find(second).decode(PAYLOAD, CHAIN, [ACCOUNT])).effects == ()
        assert pool.find(replace(first, sha256=second.sha256)) is None
        assert pool.named("toy").ref == second
        assert pool.named("other") is None
        assert pool.find(first).identifier != pool.find(second).identifier
    finally:
        await pool.close()


async def test_a_pool_uses_its_workers_side_by_side(tmp_path):
    """Two workers answer two slow questions in the time of one."""
    slow = install_codec(tmp_path / "codec", f"import time\ntime.sleep(0.4)\n{HONEST_ANSWER}")
    pool = CodecPool([pin(slow, workers=2)], LIMITS)
    codec = pool.named("toy")
    try:
        await asyncio.gather(*(codec.decode(b"m", CHAIN, [ACCOUNT]) for _ in range(2)))
        started = time.monotonic()
        await asyncio.gather(*(codec.decode(b"m", CHAIN, [ACCOUNT]) for _ in range(2)))
        assert time.monotonic() - started < 0.75
    finally:
        await pool.close()


async def test_a_pool_reports_a_wrong_pin_at_the_start(tmp_path):
    """A party learns of a wrong pin before its first intent."""
    pool = CodecPool([pin(replace(install_codec(tmp_path / "codec"), sha256=b"\x01" * 32))], LIMITS)
    with pytest.raises(CodecRefused):
        await pool.start()
    await pool.close()


def test_codec_distributions_are_where_tests_put_them(tmp_path):
    """The toy codec's hash is that of its folder, whatever the folder is called."""
    assert install_codec(tmp_path / "a").sha256 == install_codec(Path(tmp_path / "b")).sha256
