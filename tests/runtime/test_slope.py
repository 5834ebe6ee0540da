from __future__ import annotations

import math
import random

import pytest

from services.runtime.slope import LEAK_MB_PER_HOUR, growth


def curve(
    hours: float,
    *,
    leak_mb_per_hour: float = 0.0,
    tooth_mb: float = 0.0,
    tooth_s: float = 240.0,
    noise_mb: float = 0.0,
    warm_up_mb: float = 0.0,
    seed: int = 0,
    interval_s: float = 10.0,
) -> tuple[list[float], list[float]]:
    """Memory of a service: a base, a leak, the collector's sawtooth, noise, and caches that fill in 3 minutes."""
    chance = random.Random(seed)
    times = [index * interval_s for index in range(round(hours * 3600 / interval_s) + 1)]
    phase = chance.random()
    values = [
        150.0
        + leak_mb_per_hour * time_s / 3600
        + tooth_mb * ((time_s / tooth_s + phase) % 1)
        + chance.gauss(0, noise_mb)
        + warm_up_mb * (1 - math.exp(-time_s / 60))
        for time_s in times
    ]
    return times, values


@pytest.mark.parametrize("seed", range(40))
def test_a_leak_of_20_mb_an_hour_is_found_within_30_minutes_of_sawtooth_and_noise(seed: int) -> None:
    times, values = curve(
        0.5, leak_mb_per_hour=20, tooth_mb=6, tooth_s=90 + 5 * seed, noise_mb=0.3, warm_up_mb=60, seed=seed
    )
    result = growth(times, values)
    assert result.leak
    assert result.confidence > 0.95
    assert result.slope_mb_per_hour == pytest.approx(20, abs=8)


@pytest.mark.parametrize("seed", range(10))
def test_a_larger_leak_is_found_too(seed: int) -> None:
    times, values = curve(0.5, leak_mb_per_hour=200, tooth_mb=6, noise_mb=1, seed=seed)
    assert growth(times, values).leak


@pytest.mark.parametrize("tooth_mb", [5, 40])
@pytest.mark.parametrize("tooth_s", [45, 300, 600])
def test_eight_hours_of_sawtooth_never_raise_an_alarm(tooth_mb: float, tooth_s: float) -> None:
    times, values = curve(8, tooth_mb=tooth_mb, tooth_s=tooth_s, noise_mb=0.5, warm_up_mb=80, seed=1)
    alarms = [times[end - 1] / 60 for end in range(90, len(times) + 1, 30) if growth(times[:end], values[:end]).leak]
    assert alarms == []


@pytest.mark.parametrize("seed", range(10))
def test_a_slow_growth_below_half_the_threshold_is_no_leak(seed: int) -> None:
    times, values = curve(2, leak_mb_per_hour=LEAK_MB_PER_HOUR * 0.4, tooth_mb=5, noise_mb=0.5, seed=seed)
    result = growth(times, values)
    assert not result.leak
    assert result.slope_mb_per_hour == pytest.approx(LEAK_MB_PER_HOUR * 0.4, abs=2)


def test_a_growth_that_is_surely_below_the_threshold_is_no_leak() -> None:
    times, values = curve(8, leak_mb_per_hour=15, noise_mb=0.2)
    result = growth(times, values)
    assert not result.leak
    assert result.high_mb_per_hour < LEAK_MB_PER_HOUR


def test_a_single_step_is_no_leak() -> None:
    times, values = curve(2, noise_mb=0.3)
    values = [value + (50 if time_s > 3600 else 0) for time_s, value in zip(times, values, strict=True)]
    assert not growth(times, values).leak


def test_one_wild_sample_changes_nothing() -> None:
    times, values = curve(1, noise_mb=0.1)
    calm = growth(times, values)
    values[200] += 5000
    values[201] -= 100
    wild = growth(times, values)
    assert not wild.leak
    assert wild.slope_mb_per_hour == pytest.approx(calm.slope_mb_per_hour, abs=1)


def test_warm_up_is_left_out_of_the_growth() -> None:
    times, values = curve(1, warm_up_mb=100)
    result = growth(times, values)
    assert result.initial_mb == pytest.approx(250, abs=2)
    assert result.growth_mb == pytest.approx(0, abs=2)


def test_a_straight_line_has_exactly_its_slope() -> None:
    times, values = curve(1, leak_mb_per_hour=36)
    result = growth(times, values)
    assert result.slope_mb_per_hour == pytest.approx(36)
    assert result.low_mb_per_hour == pytest.approx(36)
    assert result.high_mb_per_hour == pytest.approx(36)
    assert result.growth_mb == pytest.approx(36 * 55 / 60, rel=0.05)


def test_falling_memory_is_no_leak_and_no_confidence() -> None:
    times, values = curve(1, leak_mb_per_hour=-50)
    result = growth(times, values)
    assert not result.leak
    assert result.confidence == 0
    assert result.slope_mb_per_hour == pytest.approx(-50)


def test_a_few_minutes_are_never_called_a_leak() -> None:
    times, values = curve(0.2, leak_mb_per_hour=1000)
    result = growth(times, values)
    assert not result.leak
    assert result.confidence == 0
    assert result.slope_mb_per_hour == pytest.approx(1000)


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_very_few_samples_are_enough_for_a_report(samples: int) -> None:
    result = growth([10.0 * index for index in range(samples)], [100.0] * samples)
    assert (result.initial_mb, result.final_mb, result.growth_mb) == (100, 100, 0)
    assert result.slope_mb_per_hour == 0
    assert not result.leak


def test_samples_at_one_moment_have_no_slope() -> None:
    assert growth([5.0, 5.0, 5.0], [1.0, 2.0, 3.0]).slope_mb_per_hour == 0


@pytest.mark.parametrize(("times", "values"), [([], []), ([1.0], []), ([1.0], [1.0, 2.0])])
def test_no_samples_or_unequal_ones_are_refused(times: list[float], values: list[float]) -> None:
    with pytest.raises(ValueError, match="expected as many, at least one"):
        growth(times, values)
