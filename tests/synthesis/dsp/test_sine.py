from __future__ import annotations

import numpy as np
import torch

from services.synthesis.dsp.sine import sine
from tests.synthesis.listening import difference_db


def test_the_polynomial_is_a_cosine_to_110_db_over_a_turn() -> None:
    cycles = torch.linspace(-0.5, 0.5, 100_001)
    expected = np.cos(2.0 * np.pi * cycles.double().numpy())
    assert difference_db(sine(cycles).numpy(), expected) < -110.0


def test_phases_of_many_turns_lose_only_the_precision_of_their_own_number() -> None:
    cycles = torch.linspace(-64.0, 64.0, 200_001)
    expected = np.cos(2.0 * np.pi * cycles.double().numpy())
    # Half a step of float32 at 64 is 3.8e-6 turns.
    assert difference_db(sine(cycles).numpy(), expected) < -90.0


def test_its_distortion_is_below_minus_110_db_in_every_harmonic() -> None:
    wave = sine(torch.arange(4096, dtype=torch.float64) * (17.0 / 4096.0)).numpy()
    spectrum = np.abs(np.fft.rfft(wave)) / 2048.0
    spectrum[17] = 0.0
    assert 20.0 * np.log10(spectrum.max()) < -120.0
