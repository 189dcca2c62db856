"""The pairwise channel between two parties: its handshake, and frames through it."""

import secrets
import time
from datetime import UTC, datetime

from bench.rows import Row, latency, sample, throughput
from keyquorum_core_signer.wire.certificates import identity_certificate
from keyquorum_core_signer.wire.channel import PairwiseChannel, PinnedPeer
from keyquorum_core_signer.wire.identity import IdentityKey

FRAME_BYTES = 1024


class Ends:
    """Two nodes that pin each other."""

    def __init__(self) -> None:
        self.keys = {name: IdentityKey.from_seed(secrets.token_bytes(32)) for name in ("party-1", "party-2")}
        self.pins = {
            name: PinnedPeer(name, key.public, identity_certificate(key, name, utc=datetime.now(UTC)))
            for name, key in self.keys.items()
        }

    def connect(self) -> tuple[PairwiseChannel, PairwiseChannel]:
        """A channel, its handshake done."""
        common = {"cell_id": "cell", "channel_id": secrets.token_bytes(16), "utc": datetime.now(UTC), "now": 0.0}
        client = PairwiseChannel.client(self.keys["party-1"], "party-1", self.pins["party-2"], **common)
        server = PairwiseChannel.server(self.keys["party-2"], "party-2", self.pins["party-1"], **common)
        while not (client.established and server.established):
            server.receive(client.drain())
            client.receive(server.drain())
        return client, server


def rows(scale: float = 1.0) -> list[Row]:
    """Handshake latency, and frames per second in one direction."""
    ends = Ends()
    found = [latency("channel_handshake", sample(max(10, int(100 * scale)), ends.connect))]
    client, server = ends.connect()
    n, frame = max(500, int(20_000 * scale)), secrets.token_bytes(FRAME_BYTES)
    began = time.perf_counter()
    for _ in range(n):
        client.send(frame)
        server.receive(client.drain())
    found.append(throughput("channel_frames_1kib", n, time.perf_counter() - began))
    return found
