"""The fan-out: one chunk is encoded once and handed to every client.

The hub sends everything that listeners hear through `send`; `broadcast_chunk` is the same for a caller who has PCM and
clients but no streams, tiers or cursors.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from services.contract.timebase import CHUNK_BYTES, tick_at
from services.edge.chunk_encoder import ChunkEncoder
from services.edge.listener.payloads import Format, Payload, PayloadCache
from services.edge.stream.chunk import Chunk
from services.runtime.clock import Clock, SystemClock


class Client(Protocol):
    """Whoever gets payloads."""

    def send(self, payload: Payload) -> None:
        """Take a payload; never blocks and never raises."""
        ...


class StreamingServer:
    """Clients, and the way from a chunk to all of them. Starts without I/O.

    Args:
        clock: for the messages' `timestamp`.
        encoder: makes the base64.

    Attributes:
        clients: who is connected.
        payloads: makes the messages; shared by everybody who sends.
    """

    def __init__(self, clock: Clock | None = None, encoder: ChunkEncoder | None = None) -> None:
        self._clock = SystemClock() if clock is None else clock
        self.payloads = PayloadCache(ChunkEncoder() if encoder is None else encoder)
        self.clients: list[Client] = []

    def send(self, payload: Payload, clients: Iterable[Client]) -> None:
        """Hand one payload to many clients."""
        for client in clients:
            client.send(payload)

    async def broadcast_chunk(
        self,
        audio_data: bytes,
        *,
        chunk_id: int | None = None,
        format_: Format = Format.JSON,
        tier: str = "normal",
        buffer_depth: int = 1,
    ) -> None:
        """Encode one chunk and send it to everybody in `clients`.

        Args:
            audio_data: 17,640 bytes of s16le stereo.
            chunk_id: its tick; None: the tick that is live now.
            format_: of the message.
            tier, buffer_depth: what the message says of the clients' buffers.

        Raises:
            ValueError: `audio_data` is not a chunk.
        """
        if len(audio_data) != CHUNK_BYTES:
            raise ValueError(f"audio_data: got {len(audio_data)} bytes, expected {CHUNK_BYTES}: 100 ms of stereo s16le")
        now_s = self._clock.now()
        self.payloads.begin(now_s)
        chunk = Chunk(tick_at(now_s) if chunk_id is None else chunk_id, audio_data)
        self.send(self.payloads.audio(chunk, format_, tier, buffer_depth), list(self.clients))
