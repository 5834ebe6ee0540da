"""The detector of clicks finds what was planted, and the music has none."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from services.contract.spec import PRESETS, StreamSpec
from services.contract.timebase import BLOCK_FRAMES, BLOCKS_PER_SECTION, SAMPLE_RATE_HZ
from services.synthesis.dsp.level import KNEE
from services.synthesis.render.renderer import Renderer
from services.synthesis.score.compose import compose_section
from services.synthesis.sound.parts import Part
from services.synthesis.sound.patches import SOUNDS
from tests.support.clicks import FRAME, Click, find_clicks
from tests.synthesis.conftest import BUILD_TIMEOUT_S, CPU
from tests.synthesis.fakes import without_air
from tests.synthesis.listening import as_sound

FloatArray = NDArray[np.float64]

SECTION_END = 7_083_334 * BLOCKS_PER_SECTION
PLACE = 2 * BLOCK_FRAMES + 4_417
SMALL = 0.002
"""-54 dBFS: 36 dB below the music."""
AUDIBLE_OVER_AIR = 0.05
LOUDEST_BEND = 40.0
SMOOTH = [preset for preset in PRESETS if SOUNDS[preset].texture.kind in {"wind", "sea"}]
"""Presets whose texture has no grains. Drops, crackles and chirps are clicks, and are meant to be heard."""


@pytest.fixture(scope="module")
def plain() -> Iterator[Renderer]:
    """A renderer whose music has no noise, in which a click could hide."""
    renderer = Renderer(CPU, max_streams=8, compose=without_air)
    renderer.warm_up()
    yield renderer
    renderer.close()


def _sound(renderer: Renderer, spec: StreamSpec, first: int, seconds: int) -> FloatArray:
    return as_sound(renderer.render([(spec, first + second) for second in range(seconds)]).pcm)


ATTACK_FRAMES = SAMPLE_RATE_HZ // 25
"""A hammer or a finger surprises a prediction for this long: 40 ms."""


def _attacks(spec: StreamSpec, first: int, seconds: int) -> NDArray[np.int64]:
    """Frames, from the start of second `first`, at which a note begins that keeps its recorded attack."""
    struck = [
        layer
        for layer, parts in SOUNDS[spec.preset].layers.items()
        if any(isinstance(part, Part) and part.attack_s == 0.0 for part in parts)
    ]
    found = []
    for number in {first // BLOCKS_PER_SECTION, (first + seconds) // BLOCKS_PER_SECTION}:
        notes = compose_section(spec, number).notes
        begin_s = number * BLOCKS_PER_SECTION - first
        found.append(begin_s + notes.onset_s[np.isin(notes.layer, struck)])
    return (np.concatenate(found) * SAMPLE_RATE_HZ).astype(np.int64)


def _between_attacks(clicks: list[Click], attacks: NDArray[np.int64]) -> list[Click]:
    """The clicks that no struck or plucked note explains."""
    return [
        click
        for click in clicks
        if not ((click.frame - attacks > -BLOCK_FRAMES // 100) & (click.frame - attacks < ATTACK_FRAMES)).any()
    ]


def _clicks(sound: FloatArray) -> list[Click]:
    """Clicks, but for where the limiter begins to bend the highest crests: sharp to a prediction, and inaudible."""
    return [
        click
        for click in find_clicks(sound)
        if click.strength > LOUDEST_BEND or np.abs(sound[max(click.frame - 16, 0) : click.frame + 16]).max() < KNEE
    ]


def _step(sound: FloatArray) -> FloatArray:
    return np.concatenate((sound[:PLACE], sound[PLACE:] + SMALL))


def _tick(sound: FloatArray) -> FloatArray:
    ticked = sound.copy()
    ticked[PLACE, 0] -= SMALL
    return ticked


def _lost_frame(sound: FloatArray) -> FloatArray:
    return np.delete(sound, PLACE, axis=0)


def _doubled_frame(sound: FloatArray) -> FloatArray:
    return np.insert(sound, PLACE, sound[PLACE], axis=0)


def _hole(sound: FloatArray) -> FloatArray:
    holed = sound.copy()
    holed[PLACE : PLACE + 3] = 0.0
    return holed


def _late(sound: FloatArray) -> FloatArray:
    # A chunk comes 3 ms late: the samples before it are held.
    return np.concatenate((sound[:PLACE], sound[PLACE - SAMPLE_RATE_HZ * 3 // 1000 :]))


PLANTED: list[Callable[[FloatArray], FloatArray]] = [_step, _tick, _lost_frame, _doubled_frame, _hole, _late]


@pytest.mark.timeout(BUILD_TIMEOUT_S)
@pytest.mark.parametrize("preset", ["drift", "lantern", "cathedral"])
@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__.strip("_"))
def test_what_was_planted_is_found_where_it_is(
    plain: Renderer, preset: str, plant: Callable[[FloatArray], FloatArray]
) -> None:
    sound = _sound(plain, StreamSpec(preset=preset, intensity_steps=14), SECTION_END, 4)
    assert _clicks(sound) == []
    clicks = _clicks(plant(sound))
    assert clicks
    assert all(abs(click.frame - PLACE) <= 48 for click in clicks)


def test_noise_and_tones_without_a_click_have_none() -> None:
    random = np.random.default_rng(4)
    time_s = np.arange(4 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    tones = sum(0.05 * np.sin(2 * np.pi * hz * time_s + hz) for hz in (65.4, 130.9, 392.1, 1_568.3, 5_021.7))
    for level in (0.0, 1e-4, 0.01, 0.2):
        sound = (tones + level * random.normal(size=(2, len(time_s)))).T
        assert find_clicks(sound) == []


def test_silence_and_what_is_too_short_have_none() -> None:
    assert find_clicks(np.zeros((3 * FRAME, 2))) == []
    assert find_clicks(np.ones((FRAME - 1, 1))) == []


@pytest.mark.timeout(BUILD_TIMEOUT_S)
@pytest.mark.parametrize("preset", PRESETS)
def test_no_click_at_chunks_blocks_or_a_sections_end(plain: Renderer, preset: str) -> None:
    spec = StreamSpec(preset=preset, intensity_steps=14, bpm=83)
    first = SECTION_END - 4
    assert _between_attacks(_clicks(_sound(plain, spec, first, 8)), _attacks(spec, first, 8)) == []


@pytest.mark.timeout(BUILD_TIMEOUT_S)
@pytest.mark.parametrize("preset", SMOOTH)
def test_no_click_in_what_a_listener_gets(renderer: Renderer, preset: str) -> None:
    sound = _sound(renderer, StreamSpec(preset=preset, intensity_steps=18), SECTION_END - 3, 6)
    assert find_clicks(sound, threshold=8.0) == []
    sound[PLACE, 1] += AUDIBLE_OVER_AIR
    assert [abs(click.frame - PLACE) < 48 for click in find_clicks(sound, threshold=8.0)] == [True]


@pytest.mark.long
@pytest.mark.timeout(BUILD_TIMEOUT_S)
@pytest.mark.parametrize("steps", [2, 10, 18])
@pytest.mark.parametrize("preset", PRESETS)
def test_minutes_of_every_preset_have_no_click(plain: Renderer, preset: str, steps: int) -> None:
    spec = StreamSpec(key="E", mode="mixolydian", preset=preset, intensity_steps=steps, bpm=71, seed=5)
    for first in range(SECTION_END + 180, SECTION_END + 300, 20):
        # A second more at the front, because nothing precedes the first one to judge it by.
        assert _between_attacks(_clicks(_sound(plain, spec, first - 1, 21)), _attacks(spec, first - 1, 21)) == []
