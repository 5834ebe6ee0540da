from __future__ import annotations

import numpy as np
import pytest

from services.synthesis.dsp.grid import QUARTER, QUARTER_HZ, SPLIT_HZ
from services.synthesis.dsp.resample import REACH_AFTER, REACH_BEFORE, TAPS, phases, prototype
from tests.synthesis.listening import db


def _raise(sound: np.ndarray) -> np.ndarray:
    """Bring a quarter-rate signal to the full rate, without its ends."""
    taps = phases()
    count = len(sound) - REACH_BEFORE - REACH_AFTER
    out = np.zeros((count, QUARTER))
    for phase in range(QUARTER):
        for tap in range(TAPS):
            out[:, phase] += taps[phase, tap] * sound[tap : tap + count]
    return out.reshape(-1)


@pytest.mark.parametrize("hz", [20.0, 440.0, 2_000.0, SPLIT_HZ])
def test_a_tone_below_the_split_comes_out_in_place_and_as_loud(hz: float) -> None:
    frames = np.arange(4_000)
    raised = _raise(np.sin(2 * np.pi * hz * frames / QUARTER_HZ))
    full = np.arange(len(raised)) + REACH_BEFORE * QUARTER
    expected = np.sin(2 * np.pi * hz * full / (QUARTER * QUARTER_HZ))
    assert db(float(np.abs(raised - expected).max())) < -70.0


def test_images_of_a_tone_below_the_split_are_below_minus_85_db() -> None:
    response = np.abs(np.fft.rfft(prototype(), n=65_536)) / QUARTER
    hz = np.fft.rfftfreq(65_536, 1 / (QUARTER * QUARTER_HZ))
    assert db(float(response[hz > QUARTER_HZ - SPLIT_HZ].max())) < -85.0
    assert db(float(response[hz < SPLIT_HZ].min())) > -0.02


def test_the_filter_is_symmetrical_so_that_nothing_is_delayed() -> None:
    taps = prototype()
    assert np.allclose(taps, taps[::-1])
    assert taps.sum() == pytest.approx(QUARTER)
