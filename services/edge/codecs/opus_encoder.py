"""Pure: encodes chunks as Opus packets: five of 20 ms for each chunk, at 48 kHz."""

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
"""Bits a second, for both channels together."""
COMPLEXITY: Final = 6
"""From 0 to 10. At 128 kbit/s the steps above 6 make no audible difference and cost a third of the time."""
EXPECTED_LOSS: Final = "20"
"""Percent of lost packets that the encoder prepares for. TCP loses none, but the setting makes packets depend only on a
short past: a decoder that starts 80 ms early is exact from then on. It costs 1 % of the bytes."""
_PACKET_FRAMES: Final = OPUS_RATE_HZ * OPUS_PACKET_MS // 1000
_INT16_STEP: Final = np.float32(1 / 32768)
"""One step of s16le as a share of full scale."""


class OpusChunk:
    """The packets of a chunk, packed once for all listeners.

    Args:
        packets: of the chunk.
        before: packets of the chunk before it, from the same encoder.
        first: whether the encoder's run begins with this chunk.

    Attributes:
        payload: for listeners that got the chunk before from the same encoder; None if there was none.
        beginning: `payload` with pre-roll, for listeners whose decoder starts here.
    """

    __slots__ = ("beginning", "payload")

    def __init__(self, packets: tuple[bytes, ...], before: tuple[bytes, ...], *, first: bool) -> None:
        self.beginning = pack_opus(packets, before[-OPUS_PREROLL_PACKETS:])
        self.payload = None if first else pack_opus(packets)


class OpusEncoder:
    """Encodes one continuous run of chunks.

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
        """Encode the next 100 ms as five packets; resampler and codec delay their sound by 7 ms.

        Args:
            pcm: 17,640 bytes of s16le stereo at 44.1 kHz.

        Raises:
            ValueError: `pcm` is not a chunk.
        """
        if len(pcm) != CHUNK_BYTES:
            raise ValueError(f"pcm: got {len(pcm)} bytes, expected {CHUNK_BYTES}: 100 ms of stereo s16le")
        sound = np.frombuffer(pcm, "<i2").reshape(-1, CHANNELS).astype(np.float32) * _INT16_STEP
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
