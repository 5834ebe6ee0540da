from __future__ import annotations

import numpy as np
import pytest

from services.synthesis.sound.brightness import SLOPE_DB, brightness_db, brightness_gain, texture_gain

HZ = np.geomspace(30.0, 15_000.0, 200)


def test_the_middle_changes_no_bit() -> None:
    assert (brightness_db(HZ, 0.5) == 0.0).all()
    amplitude = np.random.default_rng(1).uniform(0.0, 1.0, (5, 40)) ** 8
    amplitude[2] = 0.0
    assert (brightness_gain(amplitude, HZ[:200].reshape(5, 40), 0.5) == 1.0).all()
    assert texture_gain(np.array(0.5)) == 1.0


def test_top_octaves_gain_and_lose_the_slope_and_low_tones_nothing() -> None:
    at_2k, at_4k = brightness_db(np.array([2_000.0, 4_000.0]), 1.0)
    assert at_4k - at_2k == pytest.approx(SLOPE_DB, rel=0.1)
    assert np.abs(brightness_db(np.array([50.0, 100.0]), 1.0)).max() < 0.1
    assert (brightness_db(HZ, 0.0) == -brightness_db(HZ, 1.0)).all()


def test_the_change_is_bounded_and_rises_with_frequency_and_brightness() -> None:
    table = np.stack([brightness_db(HZ, steps / 20) for steps in range(21)])
    assert np.abs(table).max() <= 3 * SLOPE_DB
    assert (np.diff(table, axis=0) > 0).all()
    assert (np.diff(table[-1]) >= 0).all()


def test_a_note_gives_back_most_of_the_power_that_it_gains() -> None:
    amplitude = np.array([[0.1, 0.2, 0.1]])
    hz = np.array([[3_000.0, 3_000.0, 3_000.0]])
    gained_db = 20 * np.log10(brightness_gain(amplitude, hz, 1.0))
    assert gained_db == pytest.approx(np.full((1, 3), 0.1 * brightness_db(hz, 1.0)[0, 0]))
