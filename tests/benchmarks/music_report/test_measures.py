"""Each measure of the listening report, on sounds whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.music_report import air, controls, dynamics, low_end, peers, recognition, space, tone
from benchmarks.music_report.sound import Sound, band, level_db

RATE_HZ = 44_100


def sound(left: NDArray[np.float64], right: NDArray[np.float64] | None = None) -> Sound:
    right = left if right is None else right
    return Sound(np.stack((left, right), axis=1).astype(np.float32), RATE_HZ)


def at(seconds: float) -> NDArray[np.float64]:
    return np.arange(round(seconds * RATE_HZ)) / RATE_HZ


def sine(hz: float, seconds: float, amplitude: float = 0.1) -> NDArray[np.float64]:
    return amplitude * np.sin(2.0 * np.pi * hz * at(seconds))


def white(seconds: float, seed: int = 1) -> NDArray[np.float64]:
    return 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE_HZ))


def two_sines(hz: float, beat_hz: float, depth_db: float, seconds: float) -> NDArray[np.float64]:
    """Amplitudes 1 and r swing between 1 + r and 1 - r."""
    swing = 10.0 ** (depth_db / 20.0)
    second = (swing - 1.0) / (swing + 1.0)
    return sine(hz, seconds) + sine(hz + beat_hz, seconds, 0.1 * second)


def test_a_band_keeps_what_lies_in_it_and_drops_the_rest() -> None:
    low, high = sound(sine(100.0, 2.0)), sound(sine(4_000.0, 2.0))
    both = Sound(low.samples + high.samples, RATE_HZ)
    kept = band(both.samples, RATE_HZ, 2_000.0, np.inf)[RATE_HZ:]
    assert level_db(kept) == pytest.approx(level_db(high.samples), abs=0.2)
    assert level_db(band(low.samples, RATE_HZ, 0.0, 1_000.0)) == pytest.approx(level_db(low.samples), abs=0.2)


def test_peaks_are_counted_down_to_50_db() -> None:
    # Six lines: four within 50 dB of the strongest one.
    levels_db = (0.0, -10.0, -30.0, -45.0, -56.0, -70.0)
    lines = sum(sine(300.0 * (1 + i), 10.0, 0.3 * 10.0 ** (db / 20.0)) for i, db in enumerate(levels_db))
    assert tone.peaks(sound(np.asarray(lines))) == 4


def test_noise_has_no_peaks() -> None:
    assert tone.peaks(peers.pink_noise(60.0)) == 0


def test_a_steady_tone_does_not_move_and_one_that_pulses_does() -> None:
    steady = sine(500.0, 20.0)
    assert tone.movement_db(sound(steady)) < 0.3
    # Half of the time 12 dB down: 6 dB on either side of the mean.
    slow = np.where(at(20.0) % 4.0 < 2.0, 1.0, 10.0 ** (-12.0 / 20.0))
    assert tone.movement_db(sound(steady * slow)) == pytest.approx(6.0, abs=0.3)


def test_a_tone_outside_of_the_band_is_not_heard_in_its_movement() -> None:
    slow = np.where(at(20.0) % 4.0 < 2.0, 1.0, 0.1)
    assert tone.movement_db(sound(sine(500.0, 20.0) + slow * sine(4_000.0, 20.0))) < 0.3


def test_pink_noise_falls_by_3_db_an_octave_and_white_noise_does_not() -> None:
    assert tone.slope_db(peers.pink_noise(30.0)) == pytest.approx(-3.0, abs=0.15)
    assert tone.slope_db(sound(white(30.0))) == pytest.approx(0.0, abs=0.15)


@pytest.mark.parametrize("depth_db", [3.0, 12.0])
def test_two_sines_that_beat_by_so_much_are_heard_to_do_so(depth_db: float) -> None:
    assert low_end.beat_db(sound(two_sines(65.4, 0.19, depth_db, 60.0))) == pytest.approx(depth_db, abs=0.3)


def test_a_note_that_ends_is_no_beat() -> None:
    seconds = 60.0
    ends = np.where(at(seconds) < 50.0, 1.0, 0.0)
    assert low_end.beat_db(sound(sine(65.4, seconds) * ends)) < 0.5


def test_silence_below_120_hz_says_nothing_of_beats_and_sides() -> None:
    above = sound(sine(2_000.0, 20.0))
    assert np.isnan(low_end.beat_db(above))
    assert np.isnan(low_end.correlation(above))


def test_a_low_end_in_mono_is_1_and_one_out_of_phase_is_not() -> None:
    low, high = sine(60.0, 20.0), (white(20.0, 1), white(20.0, 2))
    # What lies above does not count, however wide it is.
    wide = [band(side[:, None].astype(np.float32), RATE_HZ, 1_000.0, np.inf)[:, 0].astype(np.float64) for side in high]
    assert low_end.correlation(sound(low + wide[0], low + wide[1])) == pytest.approx(1.0, abs=0.01)
    quarter = 0.1 * np.cos(2.0 * np.pi * 60.0 * at(20.0))
    assert low_end.correlation(sound(low, quarter)) == pytest.approx(0.0, abs=0.05)


def test_the_least_mono_stretch_counts() -> None:
    low = sine(60.0, 20.0)
    right = low * np.where(at(20.0) < 10.0, 1.0, -1.0)
    assert low_end.correlation(sound(low, right)) < -0.9


def test_a_centroid_lies_between_two_tones_by_their_power() -> None:
    together = sine(400.0, 5.0, 0.3) + sine(1_000.0, 5.0, 0.1)
    assert low_end.centroid_hz(sound(together)) == pytest.approx(460.0, rel=0.01)
    # Noise 40 dB below the tones hardly moves it.
    assert low_end.centroid_hz(sound(together + 0.02 * white(5.0))) == pytest.approx(460.0, rel=0.02)


def test_the_worst_pair_of_keys_counts_and_b_is_beside_c() -> None:
    assert low_end.key_step_percent([100.0, 105.0, 100.0, 100.0]) == pytest.approx(5.0)
    assert low_end.key_step_percent([100.0, 105.0, 110.0, 120.0]) == pytest.approx(20.0)


@pytest.mark.parametrize("rt60_s", [1.5, 6.0])
def test_a_decay_of_noise_rings_for_as_long_as_it_was_made_to(rt60_s: float) -> None:
    fall = 10.0 ** (-3.0 * at(1.2 * rt60_s) / rt60_s)
    response = sound(white(1.2 * rt60_s) * fall)
    assert space.t30_s(response, *space.OCTAVE_500_HZ) == pytest.approx(rt60_s, rel=0.06)
    assert space.t30_s(response, *space.HIGH_HZ) == pytest.approx(rt60_s, rel=0.06)


def test_a_room_that_ends_below_9_khz_has_no_decay_up_there() -> None:
    response = Sound(sound(white(2.0)).samples, 11_025)
    assert np.isnan(space.t30_s(response, *space.HIGH_HZ))


def test_wet_is_told_against_dry() -> None:
    dry, wet = sine(6_000.0, 2.0), sine(7_000.0, 2.0, 0.1 * 10.0 ** (-20.0 / 20.0))
    low = sine(200.0, 2.0, 0.2)
    assert space.wet_db(sound(dry + wet + low), sound(dry)) == pytest.approx(-20.0, abs=0.3)


def test_seconds_that_the_limiter_bends_do_not_count_for_the_room() -> None:
    dry, wet = sine(6_000.0, 2.0), sine(7_000.0, 2.0, 0.01)
    loud = np.where(at(2.0) < 1.0, 1.0, 8.0)
    bent = np.where(at(2.0) < 1.0, 1.0, 300.0)
    assert space.wet_db(sound(dry * loud + wet * bent), sound(dry * loud)) == pytest.approx(-20.0, abs=0.3)
    assert np.isnan(space.wet_db(sound(8.0 * dry), sound(8.0 * dry)))


def test_a_tail_is_told_against_the_note() -> None:
    time = at(10.0)
    fall = np.where(time < 5.0, 1.0, 10.0 ** (-12.0 * (time - 5.0) / 20.0))
    # 12 dB a second: 36 dB after three, and 1.8 dB less for the middle of the 0.3 s.
    assert space.tail_db(sound(sine(300.0, 10.0) * fall), 5.0, 3.0) == pytest.approx(-37.7, abs=0.3)


def test_air_is_heard_above_5_khz_alone() -> None:
    levels_db = np.linspace(-6.0, 6.0, 41)
    loud = [sound(sine(200.0, 0.5, 0.5 * (i % 2)) + 10.0 ** (db / 20.0) * sine(9_000.0, 0.5, 0.01))
            for i, db in enumerate(levels_db)]  # fmt: skip
    assert air.movement_db(loud) == pytest.approx(12.0 / 12.0**0.5, abs=0.2)


def test_loudness_of_a_full_sine_is_that_of_the_standard() -> None:
    # BS.1770: 997 Hz at full scale on one side is -3.01 LUFS, on both 0.
    tone_997 = sine(997.0, 5.0, 1.0)
    assert dynamics.integrated_lufs(sound(tone_997, 0.0 * tone_997)) == pytest.approx(-3.01, abs=0.1)
    assert dynamics.loudness_lufs(sound(tone_997), 3.0)[-1] == pytest.approx(0.0, abs=0.1)


def test_a_range_is_that_between_soft_and_loud_stretches() -> None:
    steps = np.where(at(80.0) % 40.0 < 20.0, 1.0, 10.0 ** (-8.0 / 20.0))
    assert dynamics.range_lu(sound(sine(997.0, 80.0, 0.3) * steps)) == pytest.approx(8.0, abs=0.4)


def test_a_sudden_change_is_found_and_a_slow_one_is_none() -> None:
    loud = sine(997.0, 20.0, 0.3)
    sudden = np.where(at(20.0) < 10.0, 10.0 ** (-20.0 / 20.0), 1.0)
    slow = 10.0 ** (-20.0 / 20.0 * (1.0 - at(20.0) / 20.0))
    assert dynamics.greatest_change_lu(sound(loud * slow)) == pytest.approx(1.0, abs=0.2)
    # From 20 dB down a third of a window's power comes in at once: 10 log10((1/3 + 2/300) / (1/100)).
    assert dynamics.greatest_change_lu(sound(loud * sudden)) == pytest.approx(15.3, abs=0.5)


def test_sounds_that_differ_are_recognised_and_those_that_do_not_are_guessed() -> None:
    def heard(hz: float, seed: int) -> list[recognition.Features]:
        return [recognition.features(sound(sine(hz * (1 + 0.02 * i), 2.0) + white(2.0, seed + i))) for i in range(8)]

    known = {"low": heard(300.0, 100), "high": heard(2_000.0, 200)}
    unseen = {"low": heard(310.0, 300), "high": heard(2_100.0, 400)}
    assert recognition.recognised(known, unseen) == {"low": 1.0, "high": 1.0}
    same = {"a": heard(300.0, 100), "b": heard(300.0, 200)}
    shares = recognition.recognised(same, {"a": heard(300.0, 300), "b": heard(300.0, 400)})
    assert 0.2 < np.mean(list(shares.values())) < 0.8


def test_lines_that_begin_are_counted_and_those_that_last_are_not() -> None:
    age = at(10.0) % 0.5
    struck = np.minimum(age / 0.02, 1.0) * np.exp(-8.0 * age)
    plucks = sine(430.66, 10.0, 0.3) * struck
    once = controls.beginnings_per_min(sound(plucks))
    # Twenty plucks in ten seconds; what is around a beginning may count with it.
    assert 1.0 <= once / 120.0 <= 4.0
    twice = controls.beginnings_per_min(sound(plucks + sine(1_507.3, 10.0, 0.3) * struck))
    assert twice == pytest.approx(2.0 * once, rel=0.25)
    assert controls.beginnings_per_min(sound(sine(440.0, 10.0))) == 0.0
    change = controls.more_beginnings_per_min((sound(sine(440.0, 10.0)), sound(plucks)))
    assert change == once


def test_notes_that_begin_together_are_one_onset() -> None:
    assert controls.onsets([]) == 0
    assert controls.onsets([3.0, 1.0, 1.02, 1.04, 3.1]) == 3


def test_controls_are_told_by_what_they_change() -> None:
    dull, bright = sound(sine(400.0, 4.0)), sound(sine(600.0, 4.0))
    assert controls.centroid_change_percent((dull, bright)) == pytest.approx(50.0, abs=3.0)
    quiet, loud = sound(sine(8_000.0, 4.0, 0.01)), sound(sine(8_000.0, 4.0, 0.02))
    assert controls.air_change_db((quiet, loud)) == pytest.approx(6.0, abs=0.1)


def test_the_two_most_similar_spectra_decide() -> None:
    noise = white(4.0)
    plain, same = sound(noise), sound(white(4.0, seed=2))
    dull = Sound(band(plain.samples, RATE_HZ, 0.0, 1_000.0), RATE_HZ)
    assert controls.least_difference_db((plain, same, dull)) < 0.5
    assert controls.least_difference_db((plain, dull)) > 6.0


def test_a_muted_layer_is_told_by_what_is_missing() -> None:
    low, high = sine(300.0, 4.0, 0.1), sine(2_000.0, 4.0, 0.01)
    changed = controls.muting(sound(low + high), sound(low))
    assert changed.share_db == pytest.approx(-20.0, abs=0.1)
    assert changed.centroid_percent < -4.0
    assert -0.5 < changed.loudness_lu < 0.0
    assert np.isnan(controls.muting(sound(low), sound(low)).share_db)


def test_the_organ_is_lines_and_nothing_else() -> None:
    organ = peers.sine_organ(60.0)
    assert tone.peaks(organ) >= 12
    assert low_end.correlation(organ) == pytest.approx(1.0)
    assert level_db(organ.samples) == pytest.approx(-20.0, abs=0.1)
