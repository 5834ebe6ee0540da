from __future__ import annotations

import numpy as np
import pytest
import torch

from services.synthesis.dsp.grid import (
    GUARD_FRAMES,
    HIGH_CENTRE_HZ,
    LOW_FRAMES,
    LOW_INTERVALS,
    PADDED_INTERVAL,
    QUARTER,
    QUARTER_BLOCK,
    QUARTER_HZ,
    QUARTER_INTERVAL,
    SPLIT_HZ,
    TEXTURE_FRAMES,
    TEXTURE_STEP,
    TOP_HZ,
)
from services.synthesis.dsp.level import CEILING, KNEE, Taps, finish, full_sum, quarter_mix, soft_limit, texture
from services.synthesis.dsp.resample import high_phases, phases
from services.synthesis.dsp.voices import HIGH_SUMS
from tests.synthesis.listening import db

TAPS = Taps(*(taps.tolist() for taps in (phases(), *high_phases())))


def _finish(mixed: torch.Tensor, bright: torch.Tensor | None = None) -> tuple[torch.Tensor, ...]:
    rows = mixed.shape[0]
    silence = torch.zeros(rows, QUARTER, QUARTER_BLOCK)
    sound = full_sum(mixed, bright, (silence, silence), TAPS)
    packed, peak, mean_square = finish(sound, torch.zeros((rows, 2), dtype=torch.int32))
    return played(packed), peak, mean_square


def played(packed: torch.Tensor) -> torch.Tensor:
    """Packed samples in playing order: int16 [rows, frames, 2]."""
    return packed.transpose(1, 2).contiguous().view(torch.int16).reshape(packed.shape[0], -1, 2)


def test_the_limiter_leaves_quiet_sound_alone_and_never_passes_its_ceiling() -> None:
    sound = torch.linspace(-8.0, 8.0, 160_001)
    limited = soft_limit(sound)
    quiet = sound.abs() <= KNEE
    assert torch.equal(limited[quiet], sound[quiet])
    assert limited.abs().max() <= CEILING + 1e-6
    assert (limited.diff() >= -1e-7).all()
    assert torch.equal(soft_limit(-sound), -limited)


def test_the_limiter_has_no_corner() -> None:
    sound = torch.linspace(0.0, 2.0, 200_001, dtype=torch.float64)
    slope = soft_limit(sound).diff() / sound.diff()
    assert slope.diff().abs().max() < 1e-3


def test_a_row_that_is_not_a_number_is_silent_and_its_neighbours_keep_their_bits() -> None:
    mixed = 0.3 * torch.randn(3, 2, LOW_FRAMES, generator=torch.Generator().manual_seed(1))
    healthy = _finish(mixed)
    broken = mixed.clone()
    broken[1, 0, 5_000] = float("nan")
    samples, _, mean_square = _finish(broken)
    assert not torch.isfinite(mean_square[1])
    assert torch.equal(samples[[0, 2]], healthy[0][[0, 2]])
    assert torch.isfinite(mean_square[[0, 2]]).all()


def test_silence_comes_out_as_dither_alone() -> None:
    samples, peak, mean_square = _finish(torch.zeros(1, 2, LOW_FRAMES))
    assert samples.abs().max() <= 1
    assert 0.05 < (samples != 0).double().mean() < 0.5
    assert abs(samples.double().mean()) < 0.02
    assert peak.item() == 0.0
    assert mean_square.item() == 0.0


def test_peak_and_mean_square_are_of_full_scale() -> None:
    samples, peak, mean_square = _finish(torch.full((1, 2, LOW_FRAMES), 0.25))
    assert abs(peak.item() - 0.25) < 1e-3
    assert abs(mean_square.item() - 0.0625) < 1e-3
    assert abs(samples.double().mean().item() / 32_767.0 - 0.25) < 1e-3


@pytest.mark.parametrize("hz", [SPLIT_HZ, 5_512.0, HIGH_CENTRE_HZ, 11_025.0, TOP_HZ])
def test_a_bright_tone_comes_out_in_place_and_as_loud_on_its_own_side(hz: float) -> None:
    turn = 2.0 * np.pi * hz * (np.arange(LOW_FRAMES) - GUARD_FRAMES) / QUARTER_HZ
    bright = torch.zeros(1, HIGH_SUMS, LOW_FRAMES)
    bright[0, 1], bright[0, 3] = torch.from_numpy(0.4 * np.cos(turn)), torch.from_numpy(0.4 * np.sin(turn))
    samples = _finish(torch.zeros(1, 2, LOW_FRAMES), bright)[0][0].numpy()
    expected = 0.4 * np.cos(2.0 * np.pi * hz * np.arange(QUARTER * QUARTER_BLOCK) / (QUARTER * QUARTER_HZ))
    assert db(float(np.abs(samples[:, 1] / 32_767.0 - expected).max())) < -68.0
    # Dither alone.
    assert np.abs(samples[:, 0]).max() <= 1


def _stereo(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Sounds of a texture as words of the kernels."""
    low, high = ((side / TEXTURE_STEP).round().to(torch.int32) for side in (left, right))
    return (low & 0xFFFF) | (high << 16)


def test_a_texture_follows_its_levels_from_the_blocks_start_to_its_end() -> None:
    ones = torch.ones(QUARTER, TEXTURE_FRAMES)
    loops = torch.stack((_stereo(ones, 0.0 * ones), _stereo(-10.0 * ones, -3.0 * ones)))
    places = torch.tensor([[500, loops[0].numel() + 700]], dtype=torch.int32)
    levels = torch.tensor([[[[1.0, 2.0], [0.0, 0.0]], [[0.0, 0.0], [0.5, 0.5]]]])
    left, right = texture(loops.flatten(), places, levels)
    rise = 1.0 + np.arange(QUARTER_BLOCK) / QUARTER_BLOCK
    assert left.shape == right.shape == (1, QUARTER, QUARTER_BLOCK)
    assert np.allclose(left[0].numpy(), rise, atol=1e-5)
    assert np.allclose(right[0].numpy(), -1.5, atol=1e-5)


def test_a_texture_is_read_from_its_place_on_in_every_phase() -> None:
    count = QUARTER * TEXTURE_FRAMES
    low, high = torch.arange(count, dtype=torch.int32) % 5_000, torch.arange(count, dtype=torch.int32) // 5_000 - 50
    heard = texture((low & 0xFFFF) | (high << 16), torch.tensor([[40, 40]], dtype=torch.int32), torch.ones(1, 2, 2, 2))
    for side, numbers in zip(heard, (low, high), strict=True):
        for phase in range(QUARTER):
            first = phase * TEXTURE_FRAMES + 40
            expected = 2.0 * TEXTURE_STEP * numbers[first : first + QUARTER_BLOCK].to(torch.float32)
            assert torch.equal(side[0, phase], expected)


def test_voices_and_reverb_add_up_without_the_gaps_between_intervals() -> None:
    voices = torch.zeros(1, LOW_INTERVALS, 3, PADDED_INTERVAL)
    voices[0, 3, 1, QUARTER_INTERVAL - 1], voices[0, 3, 1, QUARTER_INTERVAL] = 0.5, 9.0
    wet = torch.full((1, 2, LOW_FRAMES), 0.25)
    mixed = quarter_mix(voices, wet)
    assert mixed[0, 1, 4 * QUARTER_INTERVAL - 1] == 0.75
    assert (mixed != 0.25).sum() == 1
