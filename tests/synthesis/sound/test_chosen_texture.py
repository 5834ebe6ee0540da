"""The texture that a stream hears."""

from __future__ import annotations

import numpy as np
import pyloudnorm
import pytest

from services.contract.spec import NO_TEXTURE, OWN_TEXTURE, PRESETS, TEXTURES
from services.contract.timebase import SAMPLE_RATE_HZ
from services.synthesis.score.presets import SCORE_PRESETS
from services.synthesis.sound.chosen_texture import CHOSEN_LUFS, LOUDNESS_DB, chosen_texture
from services.synthesis.sound.patches import SOUNDS
from services.synthesis.sound.textures import NAMES, loops


def test_the_contract_names_every_loop() -> None:
    assert set(TEXTURES) - {OWN_TEXTURE, NO_TEXTURE} == set(NAMES) == set(LOUDNESS_DB)


def test_the_loudness_of_each_loop_is_what_was_measured() -> None:
    quiet_db = -30.0
    for name, loop in zip(NAMES, loops(), strict=True):
        sound = loop.transpose(2, 1, 0).reshape(-1, 2) * 10.0 ** (quiet_db / 20.0)
        measured = pyloudnorm.Meter(SAMPLE_RATE_HZ).integrated_loudness(sound.astype(np.float64))
        assert measured - quiet_db == pytest.approx(LOUDNESS_DB[name], abs=0.1)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_presets_own_texture_is_the_same_by_its_name_and_none_is_silent(preset: str) -> None:
    own = SOUNDS[preset].texture
    assert chosen_texture(preset, OWN_TEXTURE) == chosen_texture(preset, own.kind) == own
    assert chosen_texture(preset, NO_TEXTURE).gain == 0.0


@pytest.mark.parametrize("preset", PRESETS)
def test_chosen_textures_are_equally_loud_as_loud_as_the_own_one_and_loud_enough_to_be_heard(preset: str) -> None:
    own = SOUNDS[preset].texture
    score_db = 20.0 * np.log10(SCORE_PRESETS[preset].air.level)
    chosen = [chosen_texture(preset, kind) for kind in NAMES if kind != own.kind]
    loudness = np.array([each.level_db + LOUDNESS_DB[each.kind] + score_db for each in chosen])
    assert np.ptp(loudness) < 1e-9
    assert loudness[0] == pytest.approx(max(CHOSEN_LUFS, own.level_db + LOUDNESS_DB[own.kind] + score_db))
    assert {each.gust_hz for each in chosen} == {own.gust_hz}
