from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from services.contract.spec import LAYERS, PRESETS, StreamSpec
from services.contract.timebase import SECTION_S
from services.synthesis.dsp.level import KNEE, soft_limit
from services.synthesis.render.renderer import Renderer
from services.synthesis.render.stems import render_stems, stem_specs
from tests.synthesis.listening import db

START = 7_083_334 * SECTION_S
SECONDS = 40.25


def collected(spec: StreamSpec, renderer: Renderer, seconds: float = SECONDS) -> dict[str, NDArray[np.float32]]:
    parts: dict[str, list[NDArray[np.float32]]] = {}
    for _, part in render_stems(spec, seconds, start_block=START, renderer=renderer):
        for layer, sound in part.items():
            parts.setdefault(layer, []).append(sound)
    return {layer: np.concatenate(sounds) for layer, sounds in parts.items()}


def before_level(spec: StreamSpec, renderer: Renderer, seconds: int) -> NDArray[np.float32]:
    return renderer.sums([(spec, START + second) for second in range(seconds)]).reshape(-1, 2)


def level(sound: NDArray[np.floating]) -> float:
    """RMS in dB of full scale."""
    return db(float(np.sqrt(np.mean(np.square(sound, dtype=np.float64)))))


@pytest.mark.parametrize("preset", PRESETS)
def test_the_stems_of_every_preset_add_up_to_the_mix(preset: str, renderer: Renderer) -> None:
    spec = StreamSpec("D", preset=preset, intensity_steps=16, level_steps=(10, 10, 8, 12, 10, 10, 15))
    stems = collected(spec, renderer)
    mix = before_level(spec, renderer, 41)[: round(SECONDS * 44_100)]
    assert set(stems) == set(LAYERS)
    assert all(stem.shape == mix.shape for stem in stems.values())
    difference = np.sum(list(stems.values()), axis=0, dtype=np.float64) - mix
    assert level(difference) < level(mix) - 90
    assert np.abs(difference).max() < 1e-4
    # Each of them is heard: a stem too many or too few is no sum by chance.
    assert sum(level(stem) > -70 for stem in stems.values()) >= 5


def test_the_level_stage_of_the_sum_is_what_a_listener_gets(renderer: Renderer) -> None:
    spec = StreamSpec(preset="lantern", intensity_steps=20, level_steps=(15,) * 7)
    mix = np.sum(list(collected(spec, renderer, 20.0).values()), axis=0, dtype=np.float64)
    heard = renderer.render([(spec, START + second) for second in range(20)]).pcm.reshape(-1, 2) / 32_767.0
    assert np.abs(mix).max() > KNEE
    limited = soft_limit(torch.from_numpy(mix)).numpy()
    # Dither and rounding are at most one and a half steps of 16 bits.
    assert np.abs(heard - limited).max() < 1.6 / 32_767.0
    assert np.abs(heard - mix).max() > 10 / 32_767.0


def test_a_stem_is_the_layer_alone_at_its_own_level() -> None:
    spec = StreamSpec(level_steps=(10, 0, 5, 10, 0, 10, 12))
    stems = stem_specs(spec)
    assert list(stems) == ["drone", "pad", "melody", "pulse", LAYERS[-1]]
    assert stems["pad"].levels == {**dict.fromkeys(LAYERS, 0.0), "pad": 0.5}


def test_what_cannot_be_rendered_is_named(renderer: Renderer) -> None:
    with pytest.raises(ValueError, match="seconds: got 0"):
        next(render_stems(StreamSpec(), 0, start_block=0, renderer=renderer))
    with pytest.raises(ValueError, match="start_block: got -1"):
        next(render_stems(StreamSpec(), 1, start_block=-1, renderer=renderer))
