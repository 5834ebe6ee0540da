"""Pure: encodes chunks of PCM as Ogg Opus or MP3, which any player reads.

One encoder serves all listeners of a stream in one format: a new listener gets `head` and then everything from the next
chunk on. No Ogg page and no MP3 frame is divided between two results of `encode`, so a player can start at each result.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final, Literal, cast

import av
import numpy as np
from av.audio.stream import AudioStream

from services.contract.timebase import CHUNK_BYTES, CHUNK_FRAMES, CHUNK_MS, SAMPLE_RATE_HZ
from services.contract.websocket import OPUS_RATE_HZ
from services.edge.codecs.opus_encoder import EXPECTED_LOSS, OPUS_BITRATE

MountFormat = Literal["opus", "mp3"]
MEDIA_TYPES: Final[dict[MountFormat, str]] = {"opus": "audio/ogg", "mp3": "audio/mpeg"}

MP3_BITRATE: Final = 192_000
"""Bits a second, for both channels together."""


class _Sink:
    """A file that keeps what the muxer writes until it is taken."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        return data


class MountEncoder:
    """Encodes one endless stream in one format, chunk by chunk.

    Not safe for concurrent calls; different encoders may run in different threads.

    Args:
        format_: "opus" (48 kHz, 20 ms packets, one Ogg page a chunk) or "mp3" (44.1 kHz).
        title: players that read tags show it.

    Attributes:
        head: what a new listener must get first; empty for MP3.
    """

    def __init__(self, format_: MountFormat, *, title: str) -> None:
        self._sink = _Sink()
        if format_ == "opus":
            # One page a chunk, so that a new listener waits at most that long for its first sound.
            options = {"page_duration": str(CHUNK_MS * 1000), "flush_packets": "1"}
            codec, rate_hz, bitrate = "libopus", OPUS_RATE_HZ, OPUS_BITRATE
            codec_options = {"application": "audio", "frame_duration": "20", "packet_loss": EXPECTED_LOSS}
        else:
            # No header with the length and no tag before the frames, because an endless stream has neither.
            options = {"write_xing": "0", "id3v2_version": "0", "flush_packets": "1"}
            codec, rate_hz, bitrate = "libmp3lame", SAMPLE_RATE_HZ, MP3_BITRATE
            codec_options = {}
        self._container = av.open(self._sink, "w", format="ogg" if format_ == "opus" else "mp3", options=options)
        self._container.metadata.update({"title": title, "artist": "Auralis"})
        # add_stream's type covers video too; both codecs here are audio.
        self._stream = cast(AudioStream, self._container.add_stream(codec, rate=rate_hz, options=codec_options))
        self._stream.layout = "stereo"
        self._stream.bit_rate = bitrate
        self._container.start_encoding()
        context = self._stream.codec_context
        self._resampler = av.AudioResampler(
            format=context.format,
            layout="stereo",
            rate=rate_hz,
            frame_size=context.frame_size,
            # The default is one thread per processor, until the garbage collector finds this object.
            threads=1,
        )
        self._frames = 0
        self.head = self._sink.take()

    def encode(self, pcm: bytes | memoryview) -> bytes:
        """Encode the next 100 ms; empty for the first chunks, while the codec looks ahead.

        Args:
            pcm: 17,640 bytes of s16le stereo at 44.1 kHz.

        Raises:
            ValueError: `pcm` is not a chunk.
        """
        if len(pcm) != CHUNK_BYTES:
            raise ValueError(f"pcm: got {len(pcm)} bytes, expected {CHUNK_BYTES}: 100 ms of stereo s16le")
        frame = av.AudioFrame.from_ndarray(np.frombuffer(pcm, "<i2").reshape(1, -1), format="s16", layout="stereo")
        frame.sample_rate = SAMPLE_RATE_HZ
        frame.time_base = Fraction(1, SAMPLE_RATE_HZ)
        frame.pts = self._frames
        self._frames += CHUNK_FRAMES
        for resampled in self._resampler.resample(frame):
            for packet in self._stream.encode(resampled):
                self._container.mux(packet)
        return self._sink.take()

    def finish(self) -> bytes:
        """The rest of a file, which the codec still holds back; nothing can be encoded afterwards."""
        for last in (*self._resampler.resample(None), None):
            for packet in self._stream.encode(last):
                self._container.mux(packet)
        self._container.close()
        return self._sink.take()

    def close(self) -> None:
        """Free the codec and drop what it still holds back."""
        self._container.close()
        self._sink.take()
