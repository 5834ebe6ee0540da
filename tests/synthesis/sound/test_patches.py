from __future__ import annotations

import itertools

import numpy as np
import pytest

from services.contract.spec import PRESETS, StreamSpec
from services.contract.timebase import BLOCKS_PER_SECTION
from services.synthesis.render.renderer import Renderer
from services.synthesis.score.events import Layer
from services.synthesis.sound.loudness import GAIN_DB, INTENSITIES, gain, target_lufs
from services.synthesis.sound.parts import Part
from services.synthesis.sound.patches import SOUNDS
from services.synthesis.sound.players import FM_BELL, SUB, WARM
from tests.synthesis.conftest import CPU
from tests.synthesis.fakes import score
from tests.synthesis.listening import as_sound

BLOCK = 1_700_000_160


def test_every_preset_of_the_contract_has_a_sound_for_every_layer() -> None:
    assert tuple(SOUNDS) == PRESETS
    for name, sound in SOUNDS.items():
        assert set(sound.layers) == set(Layer), name
        assert set(sound.mix_db) | set(sound.ebb_db) <= set(Layer), name


@pytest.mark.parametrize("preset", PRESETS)
def test_parts_are_soft_and_within_range(preset: str) -> None:
    for layer, parts in SOUNDS[preset].layers.items():
        assert parts, f"no part plays {layer.name}"
        for part in parts:
            assert part.release_s >= 0.3, layer.name
            assert 0 <= part.tide_db <= 24
            assert 0.5 <= part.tide_pace <= 4
            if isinstance(part, Part):
                assert 1 <= part.players <= 7
                assert 4 <= part.rows <= 40
                assert 0 <= part.moving < 1
                assert 0 <= part.breath_db <= 15
                assert part.cents < 15, f"{layer.name}: out of tune"
            else:
                assert len(part.harmonics) <= 16
                assert all(abs(copy.cents) + part.jitter_cents < 15 for copy in part.copies), (
                    f"{layer.name}: out of tune"
                )


def _players(preset: str, *layers: Layer) -> set[str]:
    """What plays some layers of a preset: names of measured instruments, harmonics of tones in closed form."""
    parts = itertools.chain.from_iterable(SOUNDS[preset].layers[layer] for layer in layers)
    return {part.instrument if isinstance(part, Part) else str(part.harmonics) for part in parts}


def test_presets_are_different_ensembles() -> None:
    # Strings alone are in most of them: who else plays decides.
    for one, two in itertools.combinations(PRESETS, 2):
        first, second = (_players(preset, Layer.PAD, Layer.MELODY) for preset in (one, two))
        shared = len(first & second) / len(first | second)
        assert shared <= 0.5, f"{one} and {two} are played by nearly the same: {sorted(first & second)}"
    for layer in (Layer.PAD, Layer.MELODY):
        assert len({frozenset(_players(preset, layer)) for preset in PRESETS}) == len(PRESETS), layer.name


def test_many_instruments_are_heard() -> None:
    heard = {name for preset in PRESETS for name in _players(preset, *Layer)}
    assert heard & {"strings", "ensemble"}
    for name in ("cello", "choir", "piano", "harp", "flute", "clarinet", "horn", "glass", "celesta", "rhodes"):
        assert name in heard
    for patch in (SUB, WARM, FM_BELL):
        assert str(patch.harmonics) in heard
    assert len(heard) >= 16


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


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("layer", [Layer.PAD, Layer.MELODY])
def test_intensity_brightens_a_note(preset: str, layer: Layer) -> None:
    renderer = Renderer(CPU, max_streams=4, compose=score([(0.0, 200.0, 57.0, 0.0, layer)]))

    def treble(steps: int) -> float:
        spec = StreamSpec(preset=preset, intensity_steps=steps).updated({"levels": {"air": 0}})
        first = BLOCK // BLOCKS_PER_SECTION * BLOCKS_PER_SECTION + 1
        sound = as_sound(renderer.render([(spec, first + second) for second in range(8)]).pcm).mean(axis=1)
        power = np.abs(np.fft.rfft(sound)) ** 2
        hz = np.fft.rfftfreq(len(sound), 1 / 44_100)
        return float(10 * np.log10(power[hz > 800].sum() / power[hz < 800].sum()))

    levels = [treble(steps) for steps in (2, 10, 18)]
    renderer.close()
    assert min(np.diff(levels)) > 0.5


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
