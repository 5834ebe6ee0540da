from __future__ import annotations

import itertools

import numpy as np
import pytest

from services.contract.spec import PRESETS, StreamSpec
from services.synthesis.render.renderer import Renderer
from services.synthesis.score.events import Layer
from services.synthesis.sound.loudness import GAIN_DB, INTENSITIES, gain, target_lufs
from services.synthesis.sound.parts import Part
from services.synthesis.sound.patches import SOUNDS
from tests.synthesis.listening import as_sound

BLOCK = 1_700_000_160


def test_every_preset_of_the_contract_has_a_sound_for_every_layer() -> None:
    assert tuple(SOUNDS) == PRESETS
    for name, sound in SOUNDS.items():
        assert set(sound.layers) == set(Layer), name
        assert set(sound.mix_db) == set(Layer), name


@pytest.mark.parametrize("preset", PRESETS)
def test_parts_are_soft_and_within_range(preset: str) -> None:
    for layer, parts in SOUNDS[preset].layers.items():
        assert parts, f"no part plays {layer.name}"
        for part in parts:
            assert isinstance(part, Part)
            assert part.release_s >= 0.3, layer.name
            assert 1 <= part.players <= 7
            assert 4 <= part.rows <= 40
            assert 0 <= part.moving < 1
            assert part.cents < 15, f"{layer.name}: out of tune"
            assert part.tide_db <= 12


def _fingerprint(renderer: Renderer, preset: str) -> np.ndarray:
    """Level in eleven bands an octave or less wide, in dB, of ten seconds; its mean is taken out."""
    spec = StreamSpec(preset=preset)
    sound = as_sound(renderer.render([(spec, BLOCK + 20 + i) for i in range(10)]).pcm).mean(axis=1)
    power = np.abs(np.fft.rfft(sound)) ** 2
    hz = np.fft.rfftfreq(len(sound), 1 / 44_100)
    edges = [40, 90, 150, 250, 400, 600, 900, 1_400, 2_200, 3_500, 5_500, 12_000]
    bands = [power[(hz >= low) & (hz < high)].sum() for low, high in itertools.pairwise(edges)]
    levels = 10 * np.log10(np.array(bands) + 1e-9)
    return levels - levels.mean()


def test_presets_are_plainly_different_in_spectrum(renderer: Renderer) -> None:
    prints = {preset: _fingerprint(renderer, preset) for preset in PRESETS}
    for one, two in itertools.combinations(PRESETS, 2):
        assert np.abs(prints[one] - prints[two]).mean() > 1.0, f"{one} and {two} sound alike"


def test_intensity_brightens_the_sound(renderer: Renderer) -> None:
    def treble(steps: int) -> float:
        spec = StreamSpec(intensity_steps=steps)
        sound = as_sound(renderer.render([(spec, BLOCK + 20 + i) for i in range(10)]).pcm).mean(axis=1)
        power = np.abs(np.fft.rfft(sound)) ** 2
        hz = np.fft.rfftfreq(len(sound), 1 / 44_100)
        return float(10 * np.log10(power[(hz > 800) & (hz < 4_000)].sum() / power[hz < 800].sum()))

    assert treble(2) + 3.0 < treble(10)
    assert treble(10) + 2.0 < treble(18)


def test_gains_are_interpolated_between_measured_intensities() -> None:
    for preset in PRESETS:
        assert len(GAIN_DB[preset]) == len(INTENSITIES)
        for place, intensity in enumerate(INTENSITIES):
            assert 20 * np.log10(gain(preset, intensity, intensity)) == pytest.approx(GAIN_DB[preset][place])
        steps = [20 * np.log10(gain(preset, step / 20, step / 20)) for step in range(21)]
        assert np.abs(np.diff(steps)).max() < 1.5, f"{preset}: steering the intensity would jump"


def test_density_changes_the_notes_and_not_the_loudness_that_is_aimed_at() -> None:
    for preset in PRESETS:
        for intensity, reach in ((0.5, 0.0), (0.5, 1.0), (0.2, 0.8)):
            gained_db = 20 * np.log10(gain(preset, intensity, reach) / gain(preset, reach, reach))
            assert gained_db == pytest.approx(target_lufs(intensity) - target_lufs(reach))
