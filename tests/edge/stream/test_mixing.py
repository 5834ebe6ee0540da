from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from services.contract.timebase import CHUNK_BYTES, CHUNK_FRAMES
from services.edge.stream.mixing import Loop, crossfade, loop_chunks, rms


def tone(pitch_hz: float, *, start: int = 0, level: float = 8000, frames: int = CHUNK_FRAMES) -> bytes:
    wave = level * np.sin(2 * np.pi * pitch_hz * (np.arange(frames) + start) / 44_100)
    return np.repeat(np.round(wave).astype("<i2"), 2).tobytes()


def noise(seed: int, level: float = 8000) -> bytes:
    samples = np.random.default_rng(seed).normal(0, level / 3, CHUNK_FRAMES * 2)
    return np.clip(samples, -32768, 32767).astype("<i2").tobytes()


def left(pcm: bytes | memoryview) -> NDArray[np.float64]:
    return np.frombuffer(pcm, "<i2")[::2].astype(np.float64)


def worst_step(pcm: bytes) -> float:
    """Largest second difference: a click in a smooth sound stands out in it."""
    return float(np.abs(np.diff(left(pcm), 2)).max())


def test_a_crossfade_begins_as_the_old_and_ends_as_the_new() -> None:
    old, new = tone(440), tone(550)
    mixed = crossfade(old, new)
    assert len(mixed) == CHUNK_BYTES
    assert left(mixed)[0] == left(old)[0]
    assert abs(left(mixed)[-1] - left(new)[-1]) < 5


def test_unrelated_sounds_keep_their_power_through_a_crossfade() -> None:
    first, second = noise(1), noise(2)
    middle = left(crossfade(first, second))[1500:3000]
    assert np.std(middle) == pytest.approx(np.std(left(first)), rel=0.06)


def test_equal_sounds_pass_a_crossfade_unchanged() -> None:
    same = tone(440)
    assert np.abs(left(crossfade(same, same)) - left(same)).max() <= 1


def test_a_crossfade_of_loud_sounds_is_clipped_and_never_wraps() -> None:
    loud = np.full(CHUNK_FRAMES * 2, 32767, "<i2").tobytes()
    other = np.where(np.arange(CHUNK_FRAMES * 2) % 3 > 0, 32767, -32768).astype("<i2").tobytes()
    middle = left(crossfade(loud, other))[2000:2400]
    assert middle.max() == 32767
    assert middle.min() > -32768


def test_silence_crossfades_without_a_word() -> None:
    silence = bytes(CHUNK_BYTES)
    assert crossfade(silence, silence) == silence


def test_rms_is_of_full_scale() -> None:
    assert rms(tone(441, level=16384)) == pytest.approx(0.5 / np.sqrt(2), rel=0.01)
    assert rms(bytes(CHUNK_BYTES)) == 0


def test_a_loop_joins_the_last_chunks_and_repeats_without_a_click() -> None:
    heard = [tone(437, start=index * CHUNK_FRAMES) for index in range(12)]
    loop = Loop(heard[2:])
    assert len(loop) == 9
    # The loop takes the place of the last chunk heard.
    heard_and_loop = b"".join([*heard[:-1], *(bytes(loop.take()) for _ in range(40))])
    assert worst_step(heard_and_loop) < 1.5 * worst_step(b"".join(heard))


def test_a_loop_of_two_chunks_is_the_least() -> None:
    loop = Loop([tone(440), tone(440, start=CHUNK_FRAMES)])
    assert len(loop) == 1
    with pytest.raises(ValueError, match="at least 2"):
        Loop([tone(440)])


@pytest.mark.parametrize(("bpm", "chunks"), [(40, 61), (60, 41), (70, 70), (120, 61), (180, 68)])
def test_a_loop_is_whole_bars_long_as_nearly_as_chunks_allow(bpm: int, chunks: int) -> None:
    most = loop_chunks(bpm, most=80)
    bars = (most - 1) * bpm / 2400
    assert most <= 80
    assert abs(bars - round(bars)) * 2400 / bpm <= 0.5
    assert most == chunks
