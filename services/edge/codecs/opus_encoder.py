"""A stream's chunks as Opus packets: five of 20 ms for each chunk, at 48 kHz. Pure but for the codec."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

import av
import numpy as np

from services.contract.timebase import CHANNELS, CHUNK_BYTES, SAMPLE_RATE_HZ
from services.contract.websocket import OPUS_PACKET_MS, OPUS_PACKETS, OPUS_PREROLL_PACKETS, OPUS_RATE_HZ, pack_opus
from services.edge.stream.mixing import Pcm
from services.runtime.polyphase import Polyphase

OPUS_BITRATE: Final = 128_000
COMPLEXITY: Final = 6
"""Of 10. At 128 kbit/s the rest is not heard, and costs a third of the time."""
EXPECTED_LOSS: Final = "20"
"""Percent. Nothing is lost here, but an encoder that is told so lets no packet lean on what was long before it: a
decoder that begins 80 ms early is then exact from its first sample on, for one more byte in a hundred."""
_PACKET_FRAMES: Final = OPUS_RATE_HZ * OPUS_PACKET_MS // 1000
_FULL_SCALE: Final = np.float32(1 / 32768)


class OpusChunk:
    """A chunk's packets, as payloads that are made once for all listeners.

    Attributes:
        payload: for whoever had the chunk before from the same encoder; None for the first of a run.
        beginning: the same with pre-roll, for whoever begins here.
    """

    __slots__ = ("beginning", "payload")

    def __init__(self, packets: tuple[bytes, ...], before: tuple[bytes, ...], *, first: bool) -> None:
        self.beginning = pack_opus(packets, before[-OPUS_PREROLL_PACKETS:])
        self.payload = None if first else pack_opus(packets)


class OpusEncoder:
    """Encodes one unbroken run of chunks.

    Not safe for concurrent calls; different encoders may run in different threads.
    """

    def __init__(self) -> None:
        self._codec = av.CodecContext.create("libopus", "w")
        self._codec.sample_rate = OPUS_RATE_HZ
        self._codec.layout = "stereo"
        self._codec.format = "flt"
        self._codec.bit_rate = OPUS_BITRATE
        self._codec.options = {
            "application": "audio",
            "frame_duration": str(OPUS_PACKET_MS),
            "compression_level": str(COMPLEXITY),
            "packet_loss": EXPECTED_LOSS,
        }
        self._codec.open()
        self._resampler = Polyphase(SAMPLE_RATE_HZ, OPUS_RATE_HZ)
        self._frames = 0

    def encode(self, pcm: Pcm) -> tuple[bytes, ...]:
        """The next 100 ms as five packets. Their sound is 7 ms late: the resampler's and the codec's delay.

        Args:
            pcm: 17,640 bytes of s16le stereo at 44.1 kHz.

        Raises:
            ValueError: `pcm` is not a chunk.
        """
        if len(pcm) != CHUNK_BYTES:
            raise ValueError(f"pcm: got {len(pcm)} bytes, expected {CHUNK_BYTES}: 100 ms of stereo s16le")
        sound = np.frombuffer(pcm, "<i2").reshape(-1, CHANNELS).astype(np.float32) * _FULL_SCALE
        resampled = self._resampler.process(sound).reshape(OPUS_PACKETS, 1, -1)
        packets: list[bytes] = []
        for part in resampled:
            frame = av.AudioFrame.from_ndarray(part, format="flt", layout="stereo")
            frame.sample_rate = OPUS_RATE_HZ
            frame.time_base = Fraction(1, OPUS_RATE_HZ)
            frame.pts = self._frames
            self._frames += _PACKET_FRAMES
            packets.extend(bytes(packet) for packet in self._codec.encode(frame))
        return tuple(packets)
