"""The pairwise channel between two nodes: TLS 1.3 without a socket, so that it can travel inside another connection.

The host moves bytes: what :meth:`PairwiseChannel.drain` gives goes to the other end, what comes from there goes into
:meth:`PairwiseChannel.receive`. Whoever carries them can delay or drop everything, and nothing else:

* Each end presents a leaf certificate for this one channel, made by its identity key, and trusts exactly the pinned
  identity certificate of the one node that it expects. Another node of the same cell is a stranger here.
* TLS 1.3 only: every handshake has a fresh Diffie-Hellman exchange. No tickets and no resumption, so there is no key
  that outlives a channel, and identity keys that leak later open nothing that was recorded.
* Records are numbered: one that is altered, repeated, left out or out of order fails to decrypt, and the channel is dead.

===========  ============================================  =========================================================
state        how it is entered                             what is possible
===========  ============================================  =========================================================
handshaking  made                                          ``receive``, ``drain``
established  server: the client is authenticated;          ``send``, ``receive``, ``drain``
             client: the server says that it is (an empty
             frame, the first one)
dead         any error, ``close()``, the peer's closing    ``drain`` (TLS may have an alert to say)
===========  ============================================  =========================================================
"""

import contextlib
import os
import ssl
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography.x509 import Certificate

from keyquorum_core_signer.wire.certificates import (
    CertificateError,
    ChannelBinding,
    Credentials,
    Role,
    channel_leaf,
    check_channel_leaf,
    check_identity_certificate,
)
from keyquorum_core_signer.wire.identity import IdentityKey

FRAME_BYTES_MAX: Final = (1 << 20) + (1 << 10)  # the largest protocol message with the envelope around it
FRAMES_AT_ONCE_MAX: Final = 128  # an honest end hands over one or a few; a million of one byte would stop the host
HANDSHAKE_BYTES_MAX: Final = 1 << 14  # one flight with an Ed25519 leaf is under 2 KB; before it ends nobody is known
AGE_S_MAX: Final = 3600.0  # how much traffic one stolen set of traffic keys opens
RECORDS_MAX: Final = 1 << 23  # RFC 8446, 5.5 allows 2^24.5 under one AES-GCM key

_LENGTH_BYTES: Final = 4
_READ_BYTES: Final = 1 << 16
_RECORD_BYTES: Final = 1 << 14


class ChannelError(Exception):
    """The channel is dead. Proves nothing about the peer: whoever carries the bytes can cause all of it.

    The text names the rule that was broken and holds nothing of the traffic.
    """


@dataclass(frozen=True, slots=True)
class PinnedPeer:
    """A node as the roster pins it: its id, its Ed25519 identity key, and the certificate (PEM) of that key."""

    node_id: str
    identity_key: bytes
    identity_certificate: str


class PairwiseChannel:
    """One end of a channel, sans I/O. States and rules are above."""

    def __init__(
        self, identity: IdentityKey, peer: PinnedPeer, binding: ChannelBinding, role: Role, *, utc: datetime, now: float
    ) -> None:
        """Use :meth:`client` or :meth:`server`."""
        anchor = check_identity_certificate(peer.identity_certificate, peer.node_id, peer.identity_key)
        self._anchor: Certificate = anchor
        self._peer = peer
        self._binding = binding
        self._role: Role = role
        self._made_at = now
        self._records = 0
        self._handshake_bytes = 0
        self._authenticated = False
        self._established = False
        self._dead = False
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._frames = bytearray()
        context = _tls_context(role, channel_leaf(identity, binding, role, utc), peer.identity_certificate)
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=role == "server")
        if role == "client":
            self._handshake()

    @classmethod
    def client(
        cls,
        identity: IdentityKey,
        node_id: str,
        peer: PinnedPeer,
        *,
        cell_id: str,
        channel_id: bytes,
        utc: datetime,
        now: float,
    ) -> "PairwiseChannel":
        """Open a channel; its first bytes are ready to be drained.

        ``channel_id`` is 16 fresh random bytes. ``utc`` dates the leaf certificate; ``now`` is on the clock of
        :meth:`expired`, in seconds. Raises CertificateError if ``peer`` is not consistent.
        """
        binding = ChannelBinding(cell_id, node_id, peer.node_id, channel_id)
        return cls(identity, peer, binding, "client", utc=utc, now=now)

    @classmethod
    def server(
        cls,
        identity: IdentityKey,
        node_id: str,
        peer: PinnedPeer,
        *,
        cell_id: str,
        channel_id: bytes,
        utc: datetime,
        now: float,
    ) -> "PairwiseChannel":
        """Answer a channel that ``peer`` is said to open as ``channel_id``; arguments as in :meth:`client`."""
        binding = ChannelBinding(cell_id, peer.node_id, node_id, channel_id)
        return cls(identity, peer, binding, "server", utc=utc, now=now)

    @property
    def peer(self) -> str:
        """The node id of the other end. Proven once the channel is established."""
        return self._peer.node_id

    @property
    def channel_id(self) -> bytes:
        """The 16 bytes that both ends agreed this channel is called."""
        return self._binding.channel_id

    @property
    def established(self) -> bool:
        """Whether both ends have authenticated each other and frames may be sent."""
        return self._established and not self._dead

    def expired(self, now: float) -> bool:
        """Whether the channel should be replaced: after an hour, or near the limit of its cipher."""
        return abs(now - self._made_at) >= AGE_S_MAX or self._records >= RECORDS_MAX

    def receive(self, data: bytes) -> list[bytes]:
        """Take bytes from the other end; give the frames that are complete now, in the order they were sent.

        Raises ChannelError for anything that an honest end on a faithful wire would not have sent; frames that came
        before it in the same bytes are lost with the channel.
        """
        self._require_life()
        try:
            self._incoming.write(data)
            if not self._authenticated:
                self._admit_handshake_bytes(len(data))
                self._handshake()
            return self._read_frames() if self._authenticated else []
        except ssl.SSLError as error:
            self._dead = True
            raise ChannelError(f"TLS: {error.reason or type(error).__name__}") from None
        except CertificateError as error:
            self._dead = True
            raise ChannelError(str(error)) from None
        except ChannelError:
            self._dead = True
            raise

    def send(self, frame: bytes) -> None:
        """Encrypt one frame, to be drained. ChannelError unless established; ValueError for an empty or too large one."""
        self._require_life()
        if not self._established:
            raise ChannelError("the channel is not established")
        if not 0 < len(frame) <= FRAME_BYTES_MAX:
            raise ValueError(f"a frame has 1 to {FRAME_BYTES_MAX} bytes")
        self._write(len(frame).to_bytes(_LENGTH_BYTES, "big") + frame)

    def drain(self) -> bytes:
        """Take what is to be transmitted; empty when there is nothing."""
        return self._outgoing.read()

    def close(self) -> None:
        """End the channel; what is drained afterwards tells the other end."""
        if not self._dead and self._authenticated:
            with contextlib.suppress(ssl.SSLError):  # it has said so, and does not wait for an answer
                self._tls.unwrap()
        self._dead = True

    def __repr__(self) -> str:
        state = "dead" if self._dead else "established" if self._established else "handshaking"
        return f"PairwiseChannel({self._binding.urn(self._role)}, {state})"

    def _require_life(self) -> None:
        if self._dead:
            raise ChannelError("the channel is dead")

    def _admit_handshake_bytes(self, count: int) -> None:
        self._handshake_bytes += count
        if self._handshake_bytes > HANDSHAKE_BYTES_MAX:
            raise ChannelError("the handshake is longer than a handshake can be")

    def _handshake(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return
        leaf = self._tls.getpeercert(binary_form=True)
        if leaf is None or self._tls.version() != "TLSv1.3":
            raise ChannelError("the peer was not authenticated by TLS 1.3")
        check_channel_leaf(leaf, self._anchor, self._binding, "server" if self._role == "client" else "client")
        self._authenticated = True
        if self._role == "server":
            self._established = True
            self._write(bytes(_LENGTH_BYTES))

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        self._records += 1 + len(data) // _RECORD_BYTES
        while left:
            left = left[self._tls.write(left) :]

    def _read_frames(self) -> list[bytes]:
        """Decrypt all that came; more than one frame's bytes are never held back."""
        found: list[bytes] = []
        while True:
            try:
                data = self._tls.read(_READ_BYTES)
            except ssl.SSLWantReadError:
                return found
            if not data:
                raise ChannelError("closed by the peer")
            self._records += 1
            self._frames += data
            self._split_frames(found)

    def _split_frames(self, found: list[bytes]) -> None:
        at = 0
        while len(self._frames) - at >= _LENGTH_BYTES:
            start = at + _LENGTH_BYTES
            length = int.from_bytes(self._frames[at:start], "big")
            if length > FRAME_BYTES_MAX:
                raise ChannelError("a frame is longer than a frame can be")
            if len(self._frames) < start + length:
                break
            if len(found) == FRAMES_AT_ONCE_MAX:
                raise ChannelError("more frames at once than an honest end sends")
            at = start + length
            self._accept_frame(bytes(self._frames[start:at]), found)
        del self._frames[:at]

    def _accept_frame(self, frame: bytes, found: list[bytes]) -> None:
        """The server's first frame is empty and no other is: it tells the client that it was authenticated too."""
        if self._established == (not frame):
            raise ChannelError("an empty frame has one place, and this is another")
        if self._established:
            found.append(frame)
        self._established = True


def _tls_context(role: Role, leaf: Credentials, anchor: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT if role == "client" else ssl.PROTOCOL_TLS_SERVER)
    context.check_hostname = False  # the leaf's name is a channel, checked by check_channel_leaf
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    if role == "server":
        context.num_tickets = 0
    context.load_verify_locations(cadata=anchor)
    _load_leaf(context, leaf)
    return context


def _load_leaf(context: ssl.SSLContext, leaf: Credentials) -> None:
    """Hand a certificate and its key to TLS, which takes them only from files.

    The files are pipes: kernel memory that no file system and no swap device ever holds, and that is empty once read.
    Both fit into a pipe's buffer, so writing does not wait for the reader.
    """
    certificate, key = _filled_pipe(leaf.certificate.encode()), -1
    try:
        key = _filled_pipe(leaf.private_key)
        context.load_cert_chain(f"/dev/fd/{certificate}", f"/dev/fd/{key}")
    finally:
        os.close(certificate)
        if key >= 0:
            os.close(key)


def _filled_pipe(data: bytes) -> int:
    """The reading end of a pipe that holds ``data`` and then ends."""
    reader, writer = os.pipe()
    try:
        os.write(writer, data)
    finally:
        os.close(writer)
    return reader
