from __future__ import annotations

import numpy as np
import pytest
import torch

from services.synthesis.dsp.grid import QUARTER_BLOCK
from services.synthesis.dsp.noise import WHITE_FRAMES, colour_taps, triangular, white
from services.synthesis.sound.patches import SOUNDS


def _white(first: int, seeds: tuple[int, int] = (11, 12)) -> np.ndarray:
    return white(torch.tensor([[first]], dtype=torch.int32), torch.tensor([seeds], dtype=torch.int32))[0].numpy()


def test_noise_belongs_to_the_frame_and_not_to_the_block() -> None:
    here, there = _white(1_000_000), _white(1_000_000 + QUARTER_BLOCK)
    shared = WHITE_FRAMES - QUARTER_BLOCK
    assert np.array_equal(here[:, QUARTER_BLOCK:], there[:, :shared])


def test_noise_goes_on_where_its_32_bit_counter_wraps() -> None:
    here, there = _white(2**31 - QUARTER_BLOCK), _white(-(2**31))
    assert np.array_equal(here[:, QUARTER_BLOCK:], there[:, : WHITE_FRAMES - QUARTER_BLOCK])


def test_noise_is_white_centred_and_different_in_each_channel_and_stream() -> None:
    noise = np.concatenate([_white(first) for first in range(0, 20 * QUARTER_BLOCK, QUARTER_BLOCK)], axis=1)
    assert abs(noise.mean()) < 0.005
    assert abs(noise.std() - 3**-0.5) < 0.005
    assert abs(np.corrcoef(noise)[0, 1]) < 0.01
    other = _white(0, (13, 14))
    assert abs(np.corrcoef(other[0], _white(0)[0])[0, 1]) < 0.03
    lagged = [abs(np.corrcoef(noise[0, lag:], noise[0, :-lag])[0, 1]) for lag in range(1, 200)]
    assert max(lagged) < 0.012


def test_triangular_noise_stays_within_one_step_and_is_centred() -> None:
    noise = triangular(torch.arange(200_000, dtype=torch.int32), torch.tensor(7, dtype=torch.int32)).numpy()
    assert noise.max() < 1.0
    assert noise.min() > -1.0
    assert abs(noise.mean()) < 0.002
    assert abs(noise.std() - 6**-0.5) < 0.002


@pytest.mark.parametrize("preset", SOUNDS)
def test_air_filters_have_no_dc_and_unit_loudness(preset: str) -> None:
    taps = colour_taps(*np.array(SOUNDS[preset].air.points, dtype=np.float64).T).astype(np.float64)
    assert abs(taps.sum()) < 1e-5
    assert np.sum(taps**2) / 3.0 == pytest.approx(1.0, rel=1e-5)
