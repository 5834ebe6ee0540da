from __future__ import annotations

import gc
import io

import av
import numpy as np
import psutil
import pytest

from services.contract.timebase import CHUNK_FRAMES, SAMPLE_RATE_HZ
from services.edge.codecs.mount_encoder import MountEncoder, MountFormat

FORMATS: tuple[MountFormat, ...] = ("opus", "mp3")


def tone(chunk: int, hz: float = 440.0) -> bytes:
    frames = np.arange(chunk * CHUNK_FRAMES, (chunk + 1) * CHUNK_FRAMES)
    left = np.rint(8000 * np.sin(2 * np.pi * hz * frames / SAMPLE_RATE_HZ)).astype("<i2")
    return np.stack([left, left // 2], axis=1).tobytes()


def decode(data: bytes) -> np.ndarray:
    """float32 [channels, frames] at 44.1 kHz."""
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="fltp", layout="stereo", rate=SAMPLE_RATE_HZ)
        parts = [out.to_ndarray() for frame in container.decode(stream) for out in resampler.resample(frame)]
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize("format_", FORMATS)
def test_a_tone_keeps_its_pitch_level_and_length(format_: MountFormat) -> None:
    encoder = MountEncoder(format_, title="test")
    data = encoder.head + b"".join(encoder.encode(tone(index)) for index in range(30))
    encoder.close()
    samples = decode(data)
    assert 2.7 < samples.shape[1] / SAMPLE_RATE_HZ < 3.1
    steady = samples[0, SAMPLE_RATE_HZ : 2 * SAMPLE_RATE_HZ]
    spectrum = np.abs(np.fft.rfft(steady))
    assert abs(int(np.argmax(spectrum)) - 440) <= 1
    assert np.sqrt(np.mean(steady**2)) == pytest.approx(8000 / 32768 / np.sqrt(2), rel=0.05)


@pytest.mark.parametrize("format_", FORMATS)
def test_a_player_can_start_after_any_chunk(format_: MountFormat) -> None:
    encoder = MountEncoder(format_, title="test")
    parts = [encoder.encode(tone(index)) for index in range(40)]
    encoder.close()
    for start in (7, 20):
        samples = decode(encoder.head + b"".join(parts[start:]))
        # The first packets after a start may be lost in the codec's overlap.
        assert samples.shape[1] / SAMPLE_RATE_HZ > (40 - start) * 0.1 - 0.35
        late = samples[0, -SAMPLE_RATE_HZ // 2 :]
        assert np.sqrt(np.mean(late**2)) == pytest.approx(8000 / 32768 / np.sqrt(2), rel=0.1)


@pytest.mark.parametrize("format_", FORMATS)
def test_every_chunk_gives_a_part_after_the_first_three(format_: MountFormat) -> None:
    encoder = MountEncoder(format_, title="test")
    sizes = [len(encoder.encode(tone(index))) for index in range(20)]
    encoder.close()
    assert all(size > 0 for size in sizes[3:])


def test_the_joints_between_chunks_are_inaudible() -> None:
    encoder = MountEncoder("opus", title="test")
    data = encoder.head + b"".join(encoder.encode(tone(index)) for index in range(30))
    encoder.close()
    steady = decode(data)[0, SAMPLE_RATE_HZ : 2 * SAMPLE_RATE_HZ]
    spectrum = np.abs(np.fft.rfft(steady * np.hanning(len(steady))))
    # Ten joints a second would be lines at multiples of 10 Hz beside the tone.
    beside = np.concatenate([spectrum[300:430], spectrum[450:600]])
    assert 20 * np.log10(beside.max() / spectrum.max()) < -50


def test_half_a_chunk_is_refused() -> None:
    encoder = MountEncoder("opus", title="test")
    with pytest.raises(ValueError, match="expected 17640"):
        encoder.encode(b"\0" * 8820)
    encoder.close()


def test_encoders_start_no_threads_that_outlive_them() -> None:
    process = psutil.Process()
    # Threads of other tests' decoders end now and not between the two counts.
    gc.collect()
    before = process.num_threads()
    encoders = [MountEncoder(format_, title="x") for format_ in ("opus", "mp3") for _ in range(5)]
    for encoder in encoders:
        for _ in range(3):
            encoder.encode(bytes(17_640))
    assert process.num_threads() <= before
