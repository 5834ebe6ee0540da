from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.io import wavfile

from services.local.render.float_wav import MAX_SECONDS, FloatWav


def test_a_reader_gets_every_sample_also_what_is_louder_than_full_scale(tmp_path: Path) -> None:
    sound = np.random.default_rng(1).normal(0.0, 1.0, (1000, 2)).astype(np.float32)
    with FloatWav(tmp_path / "a.wav") as file:
        file.write(sound[:300])
        file.write(sound[300:])
    rate_hz, found = wavfile.read(tmp_path / "a.wav")
    assert rate_hz == 44_100
    assert found.dtype == np.float32
    assert np.array_equal(found, sound)
    assert np.abs(sound).max() > 1.0


def test_an_empty_file_is_a_wav_file_too(tmp_path: Path) -> None:
    FloatWav(tmp_path / "a.wav").close()
    assert wavfile.read(tmp_path / "a.wav")[1].shape[0] == 0


def test_the_longest_file_has_a_size_that_its_header_can_tell() -> None:
    assert 58 + MAX_SECONDS * 44_100 * 8 < 2**32 <= 58 + (MAX_SECONDS + 1) * 44_100 * 8
