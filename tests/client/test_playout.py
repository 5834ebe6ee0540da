import math

import numpy as np
import pytest
from numpy.typing import NDArray

from services.client.playout import MAX_CORRECTION, DriftController, Player, Resampler
from services.client.timeline import Placed, frames
from services.contract.timebase import CHUNK_FRAMES, SAMPLE_RATE_HZ, TICK_S


def sine(first: int, count: int, frequency_hz: float = 440.0) -> NDArray[np.float32]:
    n = np.arange(first, first + count)
    wave = 8000 * np.sin(2 * np.pi * frequency_hz * n / SAMPLE_RATE_HZ)
    return np.repeat(wave[:, None], 2, axis=1).astype(np.float32)


def chunk(chunk_id: int, frequency_hz: float = 440.0) -> bytes:
    return sine(chunk_id * CHUNK_FRAMES, CHUNK_FRAMES, frequency_hz).astype("<i2").tobytes()


# --- drift -----------------------------------------------------------------------------------------------------------


def simulate_hours(
    drift_ppm: float, hours: float, *, jitter_s: float = 0.0, seed: int = 1
) -> tuple[list[float], float]:
    """Levels, one a second of simulated time, of a player whose clock is `drift_ppm` fast; and its last correction."""
    rng = np.random.default_rng(seed)
    controller = DriftController()
    level_s, correction = 1.0, 0.0
    levels = []
    for tick in range(int(hours * 36_000)):
        now_s = tick * TICK_S
        # A chunk arrives; until the next one the sound card draws 100 ms by its own clock, corrected.
        late_s = abs(rng.normal(0, jitter_s)) if jitter_s else 0.0
        correction = controller.observe(level_s - late_s, 1.0, now_s)
        level_s += TICK_S - TICK_S * (1 + drift_ppm * 1e-6) * (1 + correction)
        if tick % 10 == 0:
            levels.append(level_s)
    return levels, correction


@pytest.mark.parametrize("drift_ppm", [-200, 50, 200])
def test_a_clock_that_is_off_keeps_its_depth_for_eight_hours(drift_ppm: float) -> None:
    levels, correction = simulate_hours(drift_ppm, 8.0)
    assert all(abs(level - 1.0) < 0.06 for level in levels)
    assert all(abs(level - 1.0) < 0.03 for level in levels[600:])
    assert correction == pytest.approx(-drift_ppm * 1e-6, abs=20e-6)


def test_jitter_of_the_network_is_not_taken_for_drift() -> None:
    levels, _ = simulate_hours(100, 1.0, jitter_s=0.03)
    assert all(abs(level - 1.0) < 0.1 for level in levels)
    assert np.ptp(levels[1200:]) < 0.05


def test_within_the_dead_band_the_sound_is_left_alone() -> None:
    controller = DriftController()
    for tick in range(1000):
        controller.observe(1.0 + 0.019 * math.sin(tick), 1.0, tick * TICK_S)
    assert controller.correction == 0.0


def test_the_correction_never_exceeds_its_bound_and_does_not_wind_up() -> None:
    controller = DriftController()
    for tick in range(36_000):
        assert abs(controller.observe(9.0, 1.0, tick * TICK_S)) <= MAX_CORRECTION
    # An hour at the bound: when the level is right again the correction must go quickly.
    for tick in range(36_000, 36_000 + 600):
        controller.observe(1.0, 1.0, tick * TICK_S)
    assert abs(controller.correction) < MAX_CORRECTION / 4


def test_a_restart_forgets_the_level_and_keeps_the_drift() -> None:
    controller = DriftController()
    level_s = 1.0
    for tick in range(20_000):
        correction = controller.observe(level_s, 1.0, tick * TICK_S)
        level_s += TICK_S - TICK_S * (1 + 150e-6) * (1 + correction)
    controller.restart()
    assert controller.observe(1.5, 1.5, 2000.0) == pytest.approx(-150e-6, abs=20e-6)


# --- resampling ------------------------------------------------------------------------------------------------------


def test_at_no_correction_the_sound_comes_out_as_it_went_in() -> None:
    resampler = Resampler()
    sound = sine(0, 3 * CHUNK_FRAMES)
    resampler.feed(sound)
    produced = np.concatenate([resampler.produce(441, 0.0) for _ in range(20)])
    assert np.array_equal(produced, sound[: len(produced)])


@pytest.mark.parametrize("correction", [-0.002, -0.00005, 0.0007, 0.002])
@pytest.mark.parametrize("frequency_hz", [110.0, 997.0, 9000.0])
def test_a_tone_is_transposed_and_nothing_is_added(correction: float, frequency_hz: float) -> None:
    resampler = Resampler()
    resampler.feed(sine(0, 44_100, frequency_hz))
    produced = np.concatenate([resampler.produce(441, correction) for _ in range(80)])[100:]
    n = np.arange(100, 100 + len(produced)) * (1 + correction)
    expected = 8000 * np.sin(2 * np.pi * frequency_hz * n / SAMPLE_RATE_HZ)
    error = np.sqrt(np.mean((produced[:, 0] - expected) ** 2)) / (8000 / math.sqrt(2))
    assert 20 * math.log10(error) < -60


def test_a_change_of_speed_makes_no_step() -> None:
    resampler = Resampler()
    resampler.feed(sine(0, 44_100, 440.0))
    produced = np.concatenate(
        [resampler.produce(300, correction) for correction in (0, 0.002, -0.002, 0, 0.001) for _ in range(10)]
    )
    steepest = 8000 * 2 * np.pi * 440 / SAMPLE_RATE_HZ * 1.01
    assert np.abs(np.diff(produced, axis=0)).max() < steepest


def test_what_was_played_is_not_kept() -> None:
    resampler = Resampler()
    for n in range(300):
        resampler.feed(sine(n * 4410, 4410))
        while resampler.can_produce(441, 0.001):
            resampler.produce(441, 0.001)
    assert resampler.waiting_frames < 1000
    assert resampler._input.shape[1] < 1000


# --- the player ------------------------------------------------------------------------------------------------------


def push(player: Player, chunk_id: int, frequency_hz: float = 440.0, *, depth: int = 5, now_s: float = 0.0) -> Placed:
    return player.push(chunk_id, chunk(chunk_id, frequency_hz), buffer_depth=depth, tier="normal", now_s=now_s)


def test_it_waits_for_its_first_chunks_then_fades_in_and_plays_them_as_they_are() -> None:
    player = Player(start_chunks=2)
    push(player, 10)
    assert not player.pull(441).any()
    push(player, 11)
    push(player, 12)
    first = player.pull(CHUNK_FRAMES)
    assert np.abs(first[:10]).max() < 100
    assert np.array_equal(player.pull(2205), frames(chunk(11)).astype(np.int16)[:2205])
    assert player.playing_id == 11
    assert player.underruns == 0


def test_level_is_what_has_been_pushed_and_not_pulled() -> None:
    player = Player()
    for n in range(5):
        push(player, n)
    assert player.level_s == pytest.approx(0.5)
    player.pull(441)
    assert player.level_s == pytest.approx(0.49, abs=0.001)


def test_running_dry_is_counted_once_and_makes_no_click() -> None:
    player = Player(start_chunks=2)
    for n in range(4):
        push(player, n)
    sound = [player.pull(441) for _ in range(100)]
    assert player.underruns == 1
    assert not sound[-1].any()
    # It comes back when enough is there, at the chunk after the last one.
    push(player, 4)
    assert not player.pull(441).any()
    push(player, 5)
    push(player, 6)
    sound += [player.pull(441) for _ in range(25)]
    steepest = 8000 * 2 * np.pi * 440 / SAMPLE_RATE_HZ
    whole = np.concatenate(sound).astype(np.float32)
    assert np.abs(np.diff(whole, axis=0)).max() < 1.2 * steepest
    assert np.abs(sound[-1]).max() > 4000
    assert player.underruns == 1


def test_a_splice_is_heard_although_the_old_chunks_were_there() -> None:
    player = Player()
    for n in range(10):
        push(player, n, 440.0, depth=n + 1)
    player.pull(CHUNK_FRAMES)
    player.splice(3)
    for n in range(3, 10):
        assert push(player, n, 660.0, depth=9) is Placed.HELD
    sound = np.concatenate([player.pull(CHUNK_FRAMES) for _ in range(6)])
    assert np.array_equal(sound[-CHUNK_FRAMES:], frames(chunk(6, 660.0)).astype(np.int16))
    assert np.abs(np.diff(sound.astype(np.float32), axis=0)).max() < 8000 * 2 * np.pi * 1100 / SAMPLE_RATE_HZ


def test_a_slow_sound_card_is_corrected_by_playing_faster() -> None:
    player = Player()
    for n in range(10):
        push(player, n, depth=10)
    pulled = 0
    for n in range(10, 1810):
        push(player, n, depth=10, now_s=n * TICK_S)
        # 300 ppm slow: it draws less in the time of a chunk.
        due = int((n - 9) * CHUNK_FRAMES * (1 - 300e-6))
        player.pull(due - pulled)
        pulled = due
    assert player.underruns == 0
    assert player.drift.correction == pytest.approx(300e-6, rel=0.5)
    assert player.level_s < 1.1


def test_a_new_tier_is_no_drift() -> None:
    player = Player()
    for n in range(10):
        push(player, n, depth=n + 1)
    for n in range(10, 200):
        player.pull(CHUNK_FRAMES)
        push(player, n, depth=10, now_s=n * TICK_S)
    for n in range(200, 215):
        player.push(n, chunk(n), buffer_depth=n - 190, tier="defensive", now_s=20.0)
    for n in range(215, 400):
        player.pull(CHUNK_FRAMES)
        player.push(n, chunk(n), buffer_depth=25, tier="defensive", now_s=n * TICK_S)
    assert abs(player.drift.correction) < 200e-6
