"""Opus frames to chunks of 44.1 kHz PCM, across joins and moves without a click. Pure."""

from __future__ import annotations

from typing import Final

import av
import numpy as np
from numpy.typing import NDArray

from services.contract.errors import MessageError
from services.contract.timebase import CHANNELS, SAMPLE_RATE_HZ
from services.contract.websocket import OPUS_PACKET_MS, OPUS_PACKETS, OPUS_PREROLL_PACKETS, OPUS_RATE_HZ, unpack_opus
from services.runtime.polyphase import Polyphase

_PACKET_FRAMES: Final = OPUS_RATE_HZ * OPUS_PACKET_MS // 1000
_JOINT_FRAMES: Final = SAMPLE_RATE_HZ // 200
"""5 ms, over which the difference of two decoders at a joint is faded out."""
_JOINT: Final = (0.5 + 0.5 * np.cos(np.linspace(0, np.pi, _JOINT_FRAMES, dtype=np.float32)))[:, None]


class OpusDecoder:
    """A listener's decoder, over any number of streams and connections.

    A frame with pre-roll starts a new decoder; the sound of the pre-roll is discarded. If the frame follows the chunk
    before (after a resume, or a move to another edge), the two decoders differ by the codec's noise alone; that
    difference is faded out.
    """

    def __init__(self) -> None:
        self._codec: av.AudioCodecContext | None = None
        self._resampler = Polyphase(OPUS_RATE_HZ, SAMPLE_RATE_HZ)
        self._last_id: int | None = None
        self._last_frame = np.zeros(CHANNELS, np.float32)

    def splice(self) -> None:
        """The next frame is of another stream, so it is not joined to the last one."""
        self._last_id = None

    def decode(self, chunk_id: int, payload: bytes | memoryview) -> bytes:
        """A frame's payload as 17,640 bytes of s16le stereo.

        Args:
            chunk_id: of the frame.
            payload: the frame without its header.

        Raises:
            ContractError: it is not an Opus payload, or the first one has no pre-roll.
        """
        preroll, packets = unpack_opus(payload)
        difference: NDArray[np.float32] | None = None
        if preroll:
            self._codec = av.CodecContext.create("libopus", "r")
            self._codec.sample_rate = OPUS_RATE_HZ
            self._codec.layout = "stereo"
            self._resampler = Polyphase(OPUS_RATE_HZ, SAMPLE_RATE_HZ)
            before = self._resampler.process(self._decode(preroll, OPUS_PREROLL_PACKETS))
            if self._last_id is not None and chunk_id == self._last_id + 1:
                difference = self._last_frame - before[-1]
        elif self._codec is None:
            raise MessageError("Opus frame: got no pre-roll, expected it on a connection's first frame")
        sound = self._resampler.process(self._decode(packets, OPUS_PACKETS))
        if difference is not None:
            sound[:_JOINT_FRAMES] += difference * _JOINT
        self._last_id, self._last_frame = chunk_id, sound[-1].copy()
        return np.clip(np.rint(sound), -32768, 32767).astype("<i2").tobytes()

    def _decode(self, packets: list[bytes], expected_packets: int) -> NDArray[np.float32]:
        """Float32 [frames, 2] at 48 kHz, in steps of the 16-bit scale: 20 ms for each packet."""
        assert self._codec is not None  # noqa: S101 - for the type checker; the caller has made it
        parts: list[NDArray[np.float32]] = []
        try:
            for packet in packets:
                parts.extend(
                    frame.to_ndarray().reshape(-1, CHANNELS).astype(np.float32)
                    for frame in self._codec.decode(av.Packet(packet))
                )
        except av.FFmpegError as error:
            raise MessageError(f"Opus frame: a packet cannot be decoded ({error})") from error
        sound = np.concatenate(parts) if parts else np.zeros((0, CHANNELS), np.float32)
        expected_frames = expected_packets * _PACKET_FRAMES
        if len(sound) != expected_frames:
            raise MessageError(f"Opus frame: decodes to {len(sound)} frames, expected {expected_frames}")
        return sound
