from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from services.client.continuation import PREDICTED_FRAMES, extrapolate
from services.contract.timebase import CHUNK_FRAMES, SAMPLE_RATE_HZ
from tests.support.clicks import find_clicks


def chord(frames: int, *, phase: float = 0.0) -> NDArray[np.float32]:
    """Three quiet partials over a little noise, in steps of 16 bits: where a kink is not masked."""
    time = np.arange(frames) / SAMPLE_RATE_HZ
    partials = [
        (220.0, 3000.0),
        (331.0, 2000.0),
        (523.0, 1500.0),
    ]
    sound = sum(size * np.sin(2 * np.pi * pitch * time + phase) for pitch, size in partials)
    noise = np.random.default_rng(3).normal(0, 2.0, (frames, 2))
    return (np.asarray(sound)[:, None] + noise).astype(np.float32)


def clicks(before: NDArray[np.float32], after: NDArray[np.float32]) -> list[int]:
    """Where the joint of the two clicks, in frames from the joint."""
    sound = np.concatenate((before, after)).astype(np.float64) / 32768
    return [click.frame - len(before) for click in find_clicks(sound) if abs(click.frame - len(before)) < 1000]


@pytest.mark.parametrize("phase", np.linspace(0, np.pi, 7))
def test_nothing_is_heard_where_it_takes_over_and_the_mirror_alone_would_be(phase: float) -> None:
    sound = chord(3 * CHUNK_FRAMES, phase=float(phase))
    last = sound[-CHUNK_FRAMES:]
    assert clicks(sound, extrapolate(last)) == []


def test_the_mirror_alone_clicks() -> None:
    heard = [
        bool(clicks(sound, sound[-CHUNK_FRAMES:][::-1]))
        for sound in (chord(3 * CHUNK_FRAMES, phase=float(phase)) for phase in np.linspace(0, np.pi, 7))
    ]
    assert any(heard)


def test_what_is_steady_goes_on_for_a_millisecond_as_it_would_have() -> None:
    sound = chord(2 * CHUNK_FRAMES)
    known, unknown = sound[:CHUNK_FRAMES], sound[CHUNK_FRAMES:]
    moment = SAMPLE_RATE_HZ // 1000
    error = extrapolate(known)[:moment] - unknown[:moment]
    assert np.sqrt(np.mean(error**2)) < 0.05 * np.sqrt(np.mean(unknown**2))


@pytest.mark.parametrize("level", [0.0, 0.4, 1.0, 32767.0])
def test_a_constant_stays(level: float) -> None:
    sound = np.full((CHUNK_FRAMES, 2), level, np.float32)
    np.testing.assert_allclose(extrapolate(sound), sound, atol=0.1 * level + 1e-6)


def test_it_grows_beyond_nothing_that_was_there() -> None:
    generator = np.random.default_rng(7)
    time = np.arange(CHUNK_FRAMES) / SAMPLE_RATE_HZ
    sounds = [
        generator.normal(0, 8000, (CHUNK_FRAMES, 2)),
        32000 * np.sign(np.sin(2 * np.pi * 441 * time))[:, None].repeat(2, axis=1),
        32000 * np.sin(2 * np.pi * 8000 * time)[:, None].repeat(2, axis=1),
        np.exp(time * 40)[:, None].repeat(2, axis=1) * 100,
        np.eye(CHUNK_FRAMES, 2, k=-(CHUNK_FRAMES - 2)) * 32767,
    ]
    for sound in sounds:
        after = extrapolate(sound.astype(np.float32))
        assert after.shape == sound.shape
        assert np.isfinite(after).all()
        assert np.abs(after).max() <= 1.5 * np.abs(sound).max() + 1


def test_after_the_prediction_it_is_the_mirror() -> None:
    sound = chord(CHUNK_FRAMES)
    np.testing.assert_array_equal(extrapolate(sound)[PREDICTED_FRAMES:], sound[::-1][PREDICTED_FRAMES:])
