from __future__ import annotations

import numpy as np
import pytest

from services.runtime.polyphase import Polyphase

PAIRS = pytest.mark.parametrize(("from_hz", "to_hz"), [(44_100, 48_000), (48_000, 44_100)])


def tone(hz: float, rate_hz: int, frames: int, *, start: float = 0.0) -> np.ndarray:
    wave = np.sin(2 * np.pi * hz * (np.arange(frames) + start) / rate_hz)
    return np.stack([wave, wave / 2], axis=1).astype(np.float32)


@PAIRS
def test_a_chunk_keeps_its_length_in_time_exactly(from_hz: int, to_hz: int) -> None:
    resampler = Polyphase(from_hz, to_hz)
    for _ in range(20):
        assert resampler.process(np.zeros((from_hz // 10, 2), np.float32)).shape == (to_hz // 10, 2)


@PAIRS
@pytest.mark.parametrize(("hz", "error_db"), [(50, -80), (440, -80), (5_000, -80), (15_000, -80), (18_000, -50)])
def test_a_tone_comes_out_as_it_went_in_but_for_the_delay(from_hz: int, to_hz: int, hz: int, error_db: int) -> None:
    resampler = Polyphase(from_hz, to_hz)
    sound = tone(hz, from_hz, from_hz)
    out = np.concatenate([resampler.process(part) for part in np.split(sound, 10)])
    ideal = tone(hz, to_hz, to_hz, start=-resampler.delay_frames * to_hz / from_hz)
    error = (out - ideal)[to_hz // 10 :]
    assert 10 * np.log10(np.mean(error**2) / np.mean(ideal**2)) < error_db


def test_nothing_folds_back_into_what_is_heard() -> None:
    out = np.zeros(44_100)
    for hz in (22_300, 23_000, 23_700):
        out = out + Polyphase(48_000, 44_100).process(tone(hz, 48_000, 96_000))[44_100:, 0]
    spectrum = np.abs(np.fft.rfft(out * np.hanning(len(out)))) / (len(out) / 4)
    assert 20 * np.log10(spectrum[:20_000].max()) < -80


@PAIRS
def test_the_pieces_do_not_matter(from_hz: int, to_hz: int) -> None:
    sound = np.random.default_rng(3).standard_normal((from_hz // 5, 2)).astype(np.float32)
    whole = Polyphase(from_hz, to_hz).process(sound)
    resampler = Polyphase(from_hz, to_hz)
    step = from_hz // 50
    parts = [resampler.process(sound[start : start + step]) for start in range(0, len(sound), step)]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-5)


def test_a_piece_that_ends_between_two_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 147"):
        Polyphase(44_100, 48_000).process(np.zeros((100, 2), np.float32))
