"""The Ethereum codec in the confined process that every party runs it in."""

import json

import pytest

from keyquorum_core_signer.codecs.errors import CodecRejected
from keyquorum_core_signer.codecs.worker import CodecWorker
from keyquorum_core_signer.intents.effects import CodecRef, OwnAccount
from keyquorum_plugin_api.artifact import artifact_hash, find_codec
from keyquorum_plugin_api.testing.codec_conformance import built
from support.ethereum_target import EthereumCodecTarget


async def test_a_party_reads_payloads_without_files_or_network() -> None:
    """Transfers, messages and permits are explained within a party's default limits; what has no name is refused."""
    distribution, _ = find_codec("ethereum")
    target = EthereumCodecTarget()
    account = target.account(0).account
    own = [OwnAccount(account.address, account.public_key, account.path)]
    worker = CodecWorker(CodecRef("ethereum", distribution.version, artifact_hash(distribution)))
    try:
        assert await worker.derive_address(account.public_key, target.chain) == account.address
        for unsigned in (
            built(target),
            target.codec.build_message(account, target.chain, "Grüße"),
            target.codec.build_typed_data(account, target.chain, json.dumps(json.loads(target.document))),
        ):
            found = await worker.decode(unsigned.payload, target.chain, own)
            assert [message.message for message in found.messages] == [request.message for request in unsigned.requests]
            assert [(effect.kind.value, effect.amount) for effect in found.effects] == [
                (effect.kind.value, effect.amount) for effect in unsigned.effects
            ]
        for name, payload in target.hostile_payloads.items():
            with pytest.raises(CodecRejected):
                await worker.decode(payload, target.chain, own)
            assert worker.process_id is not None, name
    finally:
        await worker.close()
