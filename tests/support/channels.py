"""Pinned nodes and channels between them, for tests of whatever lies between."""

import os
from datetime import UTC, datetime

from keyquorum_core_signer.wire.certificates import identity_certificate
from keyquorum_core_signer.wire.channel import PairwiseChannel, PinnedPeer
from keyquorum_core_signer.wire.identity import IdentityKey


class Node:
    """A node with its identity key, and what others pin of it."""

    def __init__(self, node_id: str, seed: int, utc: datetime | None = None) -> None:
        self.node_id = node_id
        self.identity = IdentityKey.from_seed(bytes([seed]) * 32)
        certificate = identity_certificate(self.identity, node_id, utc or datetime.now(UTC))
        self.pinned = PinnedPeer(node_id, self.identity.public, certificate)

    def client(self, peer: "Node", **changes) -> PairwiseChannel:
        """This node's end of a channel that it opens to ``peer``."""
        return PairwiseChannel.client(self.identity, self.node_id, peer.pinned, **_arguments(changes))

    def server(self, peer: "Node", **changes) -> PairwiseChannel:
        """This node's end of a channel that ``peer`` opens."""
        return PairwiseChannel.server(self.identity, self.node_id, peer.pinned, **_arguments(changes))


def _arguments(changes):
    defaults = {"cell_id": "cell", "channel_id": bytes(16), "utc": datetime.now(UTC), "now": 0.0}
    return defaults | changes


def shake_hands(client: PairwiseChannel, server: PairwiseChannel) -> None:
    """Carry everything between two ends until nothing is left to carry."""
    while data := client.drain():
        assert server.receive(data) == []
        if answer := server.drain():
            assert client.receive(answer) == []


def pair(one: Node, other: Node, **changes) -> tuple[PairwiseChannel, PairwiseChannel]:
    """An established channel: (client end at ``one``, server end at ``other``)."""
    changes.setdefault("channel_id", os.urandom(16))
    client, server = one.client(other, **changes), other.server(one, **changes)
    shake_hands(client, server)
    assert client.established
    assert server.established
    return client, server
