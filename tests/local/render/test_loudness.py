import math
import wave
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
from numpy.typing import NDArray

from services.local.render.loudness import integrated_lufs


def write(path: Path, sound: NDArray[np.float64], rate_hz: int = 44_100) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(sound.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(np.rint(sound * 32767).astype("<i2").tobytes())
    return path


def noise(seconds: float, level: float, seed: int = 1) -> NDArray[np.float64]:
    return level * np.clip(np.random.default_rng(seed).normal(0, 0.3, (int(seconds * 44_100), 2)), -1, 1)


def test_loudness_agrees_with_pyloudnorm_on_sound_with_quiet_passages(tmp_path: Path) -> None:
    sound = np.concatenate([noise(5, 0.5), noise(3, 0.001), noise(70, 0.2, 2), noise(4, 0.02)])
    path = write(tmp_path / "a.wav", sound)
    expected = pyloudnorm.Meter(44_100).integrated_loudness(np.rint(sound * 32767) / 32768)
    assert integrated_lufs(path) == pytest.approx(expected, abs=0.1)


def test_a_full_scale_sine_of_1_khz_in_one_channel_is_minus_3_lufs(tmp_path: Path) -> None:
    n = np.arange(10 * 48_000)
    sine = np.sin(2 * np.pi * 997 * n / 48_000)
    sound = np.stack([sine, np.zeros_like(sine)], axis=1)
    assert integrated_lufs(write(tmp_path / "sine.wav", sound, 48_000)) == pytest.approx(-3.01, abs=0.05)


def test_silence_and_very_short_sound_have_no_loudness(tmp_path: Path) -> None:
    assert integrated_lufs(write(tmp_path / "silent.wav", np.zeros((44_100, 2)))) == -math.inf
    assert integrated_lufs(write(tmp_path / "short.wav", noise(0.3, 0.5))) == -math.inf
