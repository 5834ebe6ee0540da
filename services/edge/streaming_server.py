"""The fan-out in its simplest form (shell): one chunk, encoded once, goes to every client.

An edge's listeners hear different streams at different places, so its crowd (fanout/crowd.py) decides what each is
sent and takes only the payloads from here. `broadcast_chunk` is for callers that have PCM and clients and nothing else.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from services.contract.timebase import CHUNK_BYTES, tick_at
from services.edge.chunk_encoder import ChunkEncoder
from services.edge.listener.payloads import Format, Payload, PayloadCache
from services.edge.stream.chunk import Chunk
from services.runtime.clock import Clock, SystemClock, unix_s


class Client(Protocol):
    """A receiver of payloads."""

    def send(self, payload: Payload) -> None:
        """Take a payload; never blocks and never raises."""
        ...


class StreamingServer:
    """Sends one chunk to all clients, and builds the payloads.

    Args:
        clock: for the `timestamp` of messages; None: the system's.
        encoder: makes the base64 text; None: a new one.

    Attributes:
        clients: all that are connected. Assign any collection: in an edge it is the hub's own registry.
        payloads: builds the messages, each once.
    """

    def __init__(self, clock: Clock | None = None, encoder: ChunkEncoder | None = None) -> None:
        self._clock = SystemClock() if clock is None else clock
        self.payloads = PayloadCache(ChunkEncoder() if encoder is None else encoder)
        self.clients: Collection[Client] = []

    async def broadcast_chunk(
        self,
        audio_data: bytes,
        *,
        chunk_id: int | None = None,
        format_: Format = Format.JSON,
        tier: str = "normal",
        buffer_depth: int = 1,
    ) -> None:
        """Encode one chunk and send it to all `clients`.

        Args:
            audio_data: 17,640 bytes of s16le stereo at 44.1 kHz.
            chunk_id: its tick; None: the live tick.
            format_: of the message, JSON or PCM.
            tier: the buffer tier that the message names.
            buffer_depth: chunks that the clients hold with this one.

        Raises:
            ValueError: `audio_data` is not a chunk.
        """
        if len(audio_data) != CHUNK_BYTES:
            raise ValueError(f"audio_data: got {len(audio_data)} bytes, expected {CHUNK_BYTES}: 100 ms of stereo s16le")
        now_s = unix_s(self._clock)
        self.payloads.begin(now_s)
        chunk = Chunk(tick_at(now_s) if chunk_id is None else chunk_id, audio_data)
        payload = self.payloads.audio(chunk, format_, tier, buffer_depth)
        for client in list(self.clients):
            client.send(payload)
