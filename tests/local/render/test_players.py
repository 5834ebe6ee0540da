from __future__ import annotations

import pytest

from services.contract.spec import PRESETS, StreamSpec
from services.local.render.players import PROGRAMS, players_of
from services.synthesis.score.events import Layer
from services.synthesis.sound.instruments import INSTRUMENTS
from services.synthesis.sound.parts import Patch
from services.synthesis.sound.patches import SOUNDS


def test_every_instrument_and_every_tone_has_a_program() -> None:
    parts = [part for sound in SOUNDS.values() for each in sound.layers.values() for part in each]
    assert set(PROGRAMS) == set(INSTRUMENTS) | {part.name for part in parts if isinstance(part, Patch)}
    assert all(0 <= program <= 127 for program in PROGRAMS.values())


@pytest.mark.parametrize("preset", PRESETS)
def test_the_players_of_a_preset_are_the_parts_of_its_sound(preset: str) -> None:
    players = {layer: players_of(StreamSpec(preset=preset), layer) for layer in Layer}
    for layer, parts in SOUNDS[preset].layers.items():
        assert [player.instrument for player in players[layer]] == [
            part.name if isinstance(part, Patch) else part.instrument for part in parts
        ]
        assert [player.transpose for player in players[layer]] == [part.transpose for part in parts]
    # One for each channel of MIDI but that of drums.
    assert sum(map(len, players.values())) <= 15
    # A track is named for its layer and instrument, and no two have one name.
    names = [(layer, player.instrument) for layer, each in players.items() for player in each]
    assert len(set(names)) == len(names)


def test_volume_follows_level_and_balance() -> None:
    drift = StreamSpec(preset="drift")
    parts, players = SOUNDS["drift"].layers[Layer.PAD], players_of(drift, Layer.PAD)
    full, soft = players[:2]
    apart_db = parts[1].level_db - parts[0].level_db
    assert apart_db != 0.0
    assert (soft.volume / full.volume) ** 2 == pytest.approx(10 ** (apart_db / 20), abs=0.03)
    quiet = players_of(drift.updated({"levels": {"pad": 0.5}}), Layer.PAD)[0]
    assert (quiet.volume / full.volume) ** 2 == pytest.approx(0.5, abs=0.02)
    assert all(player.volume <= 127 for player in players_of(drift.updated({"levels": {"melody": 1.5}}), Layer.MELODY))
