"""What brightness, density, texture and levels do to the rendered sound."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pyloudnorm
import pytest
from numpy.typing import NDArray

from services.contract.spec import LAYERS, PRESETS, StreamSpec
from services.contract.timebase import SAMPLE_RATE_HZ
from services.synthesis.dsp.level import CEILING
from services.synthesis.render.renderer import Renderer
from services.synthesis.score.events import Layer
from services.synthesis.sound.chosen_texture import LOUDNESS_DB
from services.synthesis.sound.patches import SOUNDS
from tests.synthesis.conftest import BUILD_TIMEOUT_S, CPU
from tests.synthesis.fakes import score
from tests.synthesis.listening import as_sound, db

pytestmark = pytest.mark.timeout(BUILD_TIMEOUT_S)

BLOCK = 1_700_000_220
SECONDS = 12


def _sound(renderer: Renderer, params: dict[str, Any], seconds: int = SECONDS) -> NDArray[np.float64]:
    spec = StreamSpec.from_params(params)
    return as_sound(renderer.render([(spec, BLOCK + second) for second in range(seconds)]).pcm)


def _spectrum(sound: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Hz and amplitude."""
    window = np.hanning(len(sound))
    return np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE_HZ), np.abs(np.fft.rfft(sound.mean(axis=1) * window))


def _centroid_hz(sound: NDArray[np.float64]) -> float:
    hz, amplitude = _spectrum(sound)
    return float((hz * amplitude**2).sum() / (amplitude**2).sum())


def _lufs(sound: NDArray[np.float64]) -> float:
    return float(pyloudnorm.Meter(SAMPLE_RATE_HZ).integrated_loudness(sound))


@pytest.mark.parametrize("preset", PRESETS)
def test_the_spectral_centroid_rises_with_brightness_and_loudness_stays(renderer: Renderer, preset: str) -> None:
    sounds = [_sound(renderer, {"preset": preset, "brightness": steps / 4}) for steps in range(5)]
    centroids = [_centroid_hz(sound) for sound in sounds]
    assert np.diff(centroids).min() > 0.0
    assert centroids[4] > 1.15 * centroids[0]
    loudness = np.array([_lufs(sound) for sound in sounds])
    assert np.abs(loudness - loudness[2]).max() < 3.0


@pytest.mark.parametrize("preset", PRESETS)
def test_top_octaves_follow_brightness_and_never_vanish(renderer: Renderer, preset: str) -> None:
    def band_db(brightness: float) -> NDArray[np.float64]:
        hz, amplitude = _spectrum(_sound(renderer, {"preset": preset, "brightness": brightness}))
        return np.array(
            [db(np.sqrt((amplitude[(hz >= low) & (hz < 2 * low)] ** 2).sum())) for low in (250, 1_000, 4_000)]
        )

    dark, plain, bright = (band_db(brightness) for brightness in (0.0, 0.5, 1.0))
    for change in (bright - plain, plain - dark):
        assert abs(change[0]) < 3.0
        # A note gives back what it gains as a whole, so that the middle moves little.
        assert -0.5 < change[1] < 7.0
        # Rain and sea are most of this band where they are forward, and move by 5 dB.
        assert 4.5 < change[2] < 18.0


@pytest.mark.parametrize("preset", ["lantern", "cathedral"])
def test_more_tones_begin_at_a_higher_density(renderer: Renderer, preset: str) -> None:
    # Counted as partials: in the sound, lines of bowed, sung and breathing notes rise all the time.
    specs = [
        StreamSpec.from_params({"preset": preset, "levels": {"air": 0, "drone": 0, "pad": 0}, "density": density})
        for density in (0.0, 0.5, 1.0)
    ]
    partials = [renderer.render([(spec, BLOCK + second) for second in range(30)]).partials for spec in specs]
    assert 1.2 * partials[0] < partials[1]
    assert 1.2 * partials[1] < partials[2]


@pytest.mark.parametrize("preset", PRESETS)
def test_density_keeps_the_loudness(renderer: Renderer, preset: str) -> None:
    # Stretches of four seconds over a quarter of an hour: parts rest for a minute and more.
    seconds = [50 * stretch + second for stretch in range(20) for second in range(4)]

    def lufs(density: float) -> float:
        spec = StreamSpec.from_params({"preset": preset, "density": density})
        blocks = [[(spec, BLOCK + second) for second in seconds[first : first + 20]] for first in range(0, 80, 20)]
        return _lufs(np.concatenate([as_sound(renderer.render(each).pcm) for each in blocks]))

    loudness = [lufs(density) for density in (0.0, 0.5, 1.0)]
    assert max(loudness) - min(loudness) < 3.5


def test_the_partials_of_a_silent_layer_are_gone_and_cost_nothing() -> None:
    compose = score([(0.0, 200.0, 57.0, 0.0, Layer.PAD), (0.0, 200.0, 64.0, 0.0, Layer.DRONE)])
    renderer = Renderer(CPU, max_streams=4, compose=compose)
    pad_hz, drone_hz = 220.0, 440.0 * 2 ** (-5 / 12)

    def line_db(levels: dict[str, float], wanted_hz: float) -> float:
        hz, amplitude = _spectrum(_sound(renderer, {"levels": {"air": 0, **levels}}, 4))
        return db(float(amplitude[np.abs(hz - wanted_hz) < 4.0].max()))

    assert line_db({}, pad_hz) - line_db({"pad": 0}, pad_hz) > 50.0
    assert line_db({"pad": 0}, drone_hz) == pytest.approx(line_db({}, drone_hz), abs=0.2)
    plain, muted = (
        renderer.render([(StreamSpec.from_params({"levels": levels}), BLOCK)]).partials for levels in ({}, {"pad": 0})
    )
    assert 0 < muted < plain
    renderer.close()


@pytest.mark.parametrize("layer", [layer for layer in Layer if layer is not Layer.PULSE])
def test_a_level_is_the_gain_of_its_layer(layer: Layer) -> None:
    renderer = Renderer(CPU, max_streams=4, compose=score([(0.0, 200.0, 69.0, 0.0, layer)]))

    def rms(level: float) -> float:
        spec = StreamSpec.from_params({"levels": {"air": 0, layer.name.lower(): level}})
        first = BLOCK // 240 * 240
        return float(
            np.sqrt((as_sound(renderer.render([(spec, first + second) for second in range(4)]).pcm) ** 2).mean())
        )

    assert db(rms(0.5) / rms(1.0)) == pytest.approx(db(0.5), abs=0.2)
    assert db(rms(1.5) / rms(1.0)) == pytest.approx(db(1.5), abs=0.5)  # the limiter may have begun
    renderer.close()


def test_the_level_of_the_air_is_the_gain_of_its_noise(renderer: Renderer) -> None:
    silent = dict.fromkeys(LAYERS, 0.0)
    rms = [
        float(np.sqrt((_sound(renderer, {"preset": "harbor", "levels": {**silent, "air": level}}) ** 2).mean()))
        for level in (0.5, 1.0, 1.5)
    ]
    assert db(rms[0] / rms[1]) == pytest.approx(db(0.5), abs=0.2)
    assert db(rms[2] / rms[1]) == pytest.approx(db(1.5), abs=0.2)


@pytest.mark.parametrize(
    "params",
    [{"levels": dict.fromkeys(LAYERS, 0)}, {"texture": "none", "levels": {**dict.fromkeys(LAYERS, 0), "air": 1}}],
)
def test_a_stream_of_silent_layers_is_dither_alone(renderer: Renderer, params: dict[str, Any]) -> None:
    sound = _sound(renderer, params, 4)
    assert np.abs(sound).max() * 32_768 <= 1.0


def _texture(renderer: Renderer, preset: str, texture: str, seconds: int = 8) -> NDArray[np.float64]:
    """The texture of a stream alone."""
    return _sound(
        renderer, {"preset": preset, "texture": texture, "levels": {**dict.fromkeys(LAYERS, 0), "air": 1.5}}, seconds
    )


@pytest.mark.parametrize("preset", PRESETS)
def test_the_presets_own_texture_is_the_same_by_its_name(renderer: Renderer, preset: str) -> None:
    own = SOUNDS[preset].texture.kind
    assert np.array_equal(_texture(renderer, preset, own), _texture(renderer, preset, "preset"))


@pytest.mark.parametrize("preset", ["lantern", "rainfall"])
def test_every_texture_is_another_sound_about_as_loud_and_heard(renderer: Renderer, preset: str) -> None:
    own = SOUNDS[preset].texture.kind
    sounds = [_texture(renderer, preset, kind, 24) for kind in LOUDNESS_DB if kind != own]
    loudness = np.array([_lufs(sound) for sound in sounds])
    # Sea, wind and fire swell within seconds.
    assert np.ptp(loudness) < 5.0
    # At level 1.5; the music has about -18.
    assert loudness.min() > -38.0
    sounds.append(_texture(renderer, preset, own, 24))
    bands = np.array([_third_octaves_db(sound) for sound in sounds])
    for one, two in itertools.combinations(bands, 2):
        assert np.sqrt(((one - two) ** 2).mean()) > 2.0


def _third_octaves_db(sound: NDArray[np.float64]) -> NDArray[np.float64]:
    hz, amplitude = _spectrum(sound)
    edges = 200.0 * 2.0 ** (np.arange(19) / 3)
    return np.array(
        [db(np.sqrt((amplitude[(hz >= low) & (hz < high)] ** 2).mean())) for low, high in itertools.pairwise(edges)]
    )


@pytest.mark.parametrize("preset", PRESETS)
def test_everything_at_its_highest_stays_below_the_ceiling_and_within_bounds(renderer: Renderer, preset: str) -> None:
    plain = {"preset": preset, "intensity": 1}
    full = {**plain, "brightness": 1, "density": 1, "levels": dict.fromkeys(LAYERS, 1.5)}
    sound = _sound(renderer, full)
    assert np.abs(sound).max() <= CEILING + 1e-3
    # 3.5 dB of levels, and what brightness adds: nothing takes the levels back.
    assert 2.0 < _lufs(sound) - _lufs(_sound(renderer, plain)) < 8.0
