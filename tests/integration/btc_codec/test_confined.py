"""Bitcoin's codec as a party runs it: pinned, confined, in a process of its own."""

from collections.abc import AsyncIterator

import pytest

from keyquorum_btc.codec import BitcoinCodec
from keyquorum_core_signer.codecs.errors import CodecRejected
from keyquorum_core_signer.codecs.worker import CodecWorker, WorkerLimits
from keyquorum_core_signer.intents.effects import CodecRef, OwnAccount
from keyquorum_plugin_api.artifact import artifact_hash, find_codec
from keyquorum_plugin_api.codec import SignerAccount
from keyquorum_plugin_api.testing.codec_conformance import built
from support.bitcoin_codec_target import BitcoinCodecTarget

TARGET = BitcoinCodecTarget()
LIMITS = WorkerLimits(answer_s=10.0, start_s=60.0)  # of time, for a busy machine; memory and processor as by default


def own(account: SignerAccount) -> OwnAccount:
    """As a party knows it."""
    return OwnAccount(account.address, account.public_key, account.path)


US = own(TARGET.account(0).account)


@pytest.fixture
async def worker() -> AsyncIterator[CodecWorker]:
    distribution, _ = find_codec(BitcoinCodec.name)
    pinned = CodecRef(BitcoinCodec.name, distribution.version, artifact_hash(distribution))
    made = CodecWorker(pinned, None, LIMITS)
    try:
        yield made
    finally:
        await made.close()


async def test_it_loads_behind_all_walls(worker):
    """Neither embit nor coincurve needs what a codec's process has given up."""
    description = await worker.start()
    assert (description.namespace, description.scheme) == ("bip122", "schnorr_bip340")
    assert description.payload_names_chain is False
    assert description.confinement.keys() == {"network", "filesystem", "syscalls", "capabilities"}


async def test_a_party_sees_what_is_signed(worker):
    """Transfer, cancellation and message mean there what they mean here."""
    cancellation = TARGET.codec.build_cancellation(TARGET.account(0).account, TARGET.chain, TARGET.metadata)
    message = TARGET.codec.build_message(TARGET.account(0).account, TARGET.chain, "I own this.\nToday.")
    for unsigned in (built(TARGET), cancellation, message):
        found = await worker.decode(unsigned.payload, TARGET.chain, [own(TARGET.account(1).account), US])
        assert [(m.message, m.path) for m in found.messages] == [(r.message, r.path) for r in unsigned.requests]
        assert [(e.kind, e.asset, e.amount, e.source, e.destination, e.detail) for e in found.effects] == [
            (e.kind, e.asset, e.amount, e.source, e.destination, e.detail) for e in unsigned.effects
        ]


async def test_addresses_come_from_keys(worker):
    """What attests an address derives it; what pays to one canonicalises it."""
    assert await worker.derive_address(US.public_key, TARGET.chain) == US.address
    assert await worker.validate_address(US.address.upper(), TARGET.chain) == US.address
    for wrong in TARGET.invalid_addresses:
        with pytest.raises(CodecRejected) as caught:
            await worker.validate_address(wrong, TARGET.chain)
        assert caught.value.code == "invalid-address"


async def test_hostile_payloads_are_refused_by_the_codec_itself(worker):
    """No crash, no wall, no time-out: one process answers to all of them that it is no payload."""
    await worker.start()
    process = worker.process_id
    for name, payload in TARGET.hostile_payloads.items():
        with pytest.raises(CodecRejected) as caught:
            await worker.decode(payload, TARGET.chain, [US])
        assert caught.value.code == "invalid-payload", name
    assert worker.process_id == process
    assert set((await worker.decode(built(TARGET).payload, TARGET.chain, [US])).signers) == {US.address}
