"""Limits of the rendered sound: loudness, peaks, balance, silence, and spectral lines that belong to no partial."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyloudnorm
import pytest
from numpy.typing import NDArray
from scipy.signal.windows import blackmanharris

from services.contract.spec import PRESETS, StreamSpec
from services.contract.timebase import BLOCKS_PER_SECTION, SAMPLE_RATE_HZ
from services.synthesis.dsp.control import COLUMNS
from services.synthesis.instruments.files import load_bank
from services.synthesis.packing.section import prepare_section
from services.synthesis.render.renderer import Renderer
from services.synthesis.score.events import Layer
from services.synthesis.sound.loudness import target_lufs
from services.synthesis.sound.parts import SINGLE, Patch
from services.synthesis.sound.patches import SOUNDS
from tests.synthesis.conftest import BUILD_TIMEOUT_S, CPU
from tests.synthesis.fakes import score
from tests.synthesis.listening import as_sound, db, longest_silence_s, true_peak_db

FloatArray = NDArray[np.float64]

SECTION = 7_083_334
TEN_MINUTES_S = 600
MAX_TRUE_PEAK_DB = -1.0
MAX_DC = 1e-4
MAX_SILENCE_S = 0.25


def _sound(renderer: Renderer, spec: StreamSpec, blocks: list[int]) -> FloatArray:
    parts = [
        as_sound(renderer.render([(spec, block) for block in blocks[first : first + 32]]).pcm)
        for first in range(0, len(blocks), 32)
    ]
    return np.concatenate(parts)


def _lufs(sound: FloatArray) -> float:
    return float(pyloudnorm.Meter(SAMPLE_RATE_HZ).integrated_loudness(sound))


def _check(sound: FloatArray, intensity: float, tolerance_lu: float) -> None:
    assert abs(_lufs(sound) - target_lufs(intensity)) <= tolerance_lu
    assert true_peak_db(sound) <= MAX_TRUE_PEAK_DB
    assert np.abs(sound.mean(axis=0)).max() < MAX_DC
    assert longest_silence_s(sound) <= MAX_SILENCE_S
    left, right = sound.T
    # Two sides of one room: neither one signal twice, nor two that cancel when they are summed.
    assert 0.0 < np.corrcoef(left, right)[0, 1] < 0.98


@pytest.mark.timeout(BUILD_TIMEOUT_S)
@pytest.mark.parametrize("preset", PRESETS)
def test_a_sample_of_twenty_minutes_is_as_loud_as_all_presets(renderer: Renderer, preset: str) -> None:
    # Twenty-four stretches of four seconds, spread over five sections: parts rest for a minute and more.
    first = SECTION * BLOCKS_PER_SECTION
    blocks = [first + start + second for start in range(7, 2 * TEN_MINUTES_S, 50) for second in range(4)]
    _check(_sound(renderer, StreamSpec(preset=preset), blocks), 0.5, tolerance_lu=2.5)


@pytest.mark.long
@pytest.mark.timeout(BUILD_TIMEOUT_S)
@pytest.mark.parametrize("steps", [2, 10, 18])
@pytest.mark.parametrize("preset", PRESETS)
def test_ten_minutes_of_every_preset_keep_their_loudness(renderer: Renderer, preset: str, steps: int) -> None:
    first = SECTION * BLOCKS_PER_SECTION
    spec = StreamSpec(preset=preset, intensity_steps=steps)
    _check(_sound(renderer, spec, list(range(first, first + TEN_MINUTES_S))), spec.intensity, tolerance_lu=2.0)


def test_the_peak_meter_finds_peaks_between_samples() -> None:
    # A sine of a quarter of the rate that meets its crests halfway between two samples.
    frame = np.arange(SAMPLE_RATE_HZ)
    sound = np.repeat(np.sin(np.pi / 2 * frame + np.pi / 4)[:, None], 2, axis=1)
    assert np.abs(sound).max() < 0.71
    assert true_peak_db(sound[4_000:-4_000] * np.hanning(len(sound) - 8_000)[:, None]) == pytest.approx(0.0, abs=0.05)


def test_the_ear_for_silence_finds_a_hole() -> None:
    sound = 0.1 * np.random.default_rng(1).normal(size=(2 * SAMPLE_RATE_HZ, 2))
    assert longest_silence_s(sound) == 0.0
    sound[30_000 : 30_000 + int(0.3 * SAMPLE_RATE_HZ)] *= 1e-4
    assert 0.26 <= longest_silence_s(sound) <= 0.3


# --- lines that belong to nothing ----------------------------------------------------------------------------------

_PURE = Patch(
    name="pure",
    harmonics=((1.0, 0.0),),
    copies=SINGLE,
    level_db=12.0,
    attack_s=0.05,
    dull_db=0.0,
    send_db=-6.0,
    width=0.0,
)
_LINE_SECONDS = 4


def _spectrum_db(samples: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Hz and level against the strongest line, of sound long enough to tell lines 2 Hz apart."""
    power = np.abs(np.fft.rfft(samples * blackmanharris(len(samples))))
    return np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE_HZ), 20 * np.log10(power / power.max() + 1e-15)


def _worst_line(samples: FloatArray, partials_hz: FloatArray, reach_hz: FloatArray) -> tuple[float, float]:
    """Level against the strongest line, and Hz, of the strongest line that is near no partial."""
    hz, level_db = _spectrum_db(samples)
    apart = hz > 20.0
    for partial, reach in zip(partials_hz, reach_hz, strict=True):
        apart &= np.abs(hz - partial) > reach
    worst = int(np.argmax(np.where(apart, level_db, -400.0)))
    return float(level_db[worst]), float(hz[worst])


@pytest.mark.timeout(BUILD_TIMEOUT_S)
@pytest.mark.parametrize("hz", [65.4, 997.0, 2_503.0, 3_511.0, 4_090.0, 4_110.0, 6_007.0, 9_001.0, 11_850.0])
def test_a_pure_tone_is_one_line(monkeypatch: pytest.MonkeyPatch, hz: float) -> None:
    """On both sides of the split, at the edges of the filters' pass bands, and just below the highest partial."""
    plain = SOUNDS["tundra"]
    layers = {**plain.layers, Layer.PAD: (_PURE,)}
    monkeypatch.setitem(SOUNDS, "tundra", dataclasses.replace(plain, layers=layers))  # type: ignore[arg-type]  # a dict
    renderer = Renderer(
        CPU, max_streams=4, compose=score([(0.0, 60.0, 69.0 + 12.0 * np.log2(hz / 440.0), 0.0, Layer.PAD)])
    )
    blocks = [SECTION * BLOCKS_PER_SECTION + 4 + second for second in range(_LINE_SECONDS)]
    samples = _sound(renderer, StreamSpec(preset="tundra", intensity_steps=20), blocks)[:, 0]
    renderer.close()
    assert -30.0 < db(float(np.abs(samples).max())) < -6.0
    level_db, where_hz = _worst_line(samples, np.array([hz]), np.array([20.0]))
    assert level_db <= -80.0, f"a spectral line at {where_hz:.0f} Hz that belongs to no partial"


@pytest.mark.timeout(BUILD_TIMEOUT_S)
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("layer", [Layer.PAD, Layer.MELODY, Layer.SHIMMER])
def test_a_high_note_of_a_patch_has_no_line_but_its_partials(preset: str, layer: Layer) -> None:
    pitch = {Layer.PAD: 84.0, Layer.MELODY: 96.0, Layer.SHIMMER: 105.0}[layer]
    compose = score([(0.0, 20.0, pitch, 0.0, layer)])
    spec = StreamSpec(preset=preset, intensity_steps=20)
    prepared = prepare_section(compose(spec, SECTION), spec, load_bank())
    increments = np.concatenate([table.words[:, COLUMNS + 1] for table in (prepared.low, prepared.high)])
    partials_hz = increments.view(np.uint32) / 2.0**32 * SAMPLE_RATE_HZ
    renderer = Renderer(CPU, max_streams=4, compose=compose)
    start = SECTION * BLOCKS_PER_SECTION
    # A second in which the note has fully begun.
    begin_s = int(0.25 + 1.6 * max(part.attack_s for part in SOUNDS[preset].layers[layer]))
    heard = _sound(renderer, spec, [start + begin_s, start + begin_s + 1])[SAMPLE_RATE_HZ // 4 :, 0][:SAMPLE_RATE_HZ]
    renderer.close()
    # Measured envelopes are exact at control points, 175 to a second, and straight in between. That leaves images
    # beside a partial in steps of 175 Hz, 45 dB below its own movements, which lie 15 dB and more below it. Images
    # of the resampling and aliases would stand anywhere: the pure tones above are held to -80 dB for them.
    level_db, where_hz = _worst_line(heard, partials_hz, np.full(len(partials_hz), 600.0))
    assert level_db <= -58.0, f"a line at {where_hz:.0f} Hz that no part plays"
