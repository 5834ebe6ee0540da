"""The sentences of the presets are true."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from services.contract.spec import SENTENCES
from services.synthesis.sound.parts import Part
from services.synthesis.sound.patches import SOUNDS

PLAYED: Mapping[str, set[str]] = {
    "electric piano": {"rhodes"},
    "music box": {"musicbox"},
    "cello": {"cello"},
    "celesta": {"celesta"},
    "choir": {"choir"},
    "clarinet": {"clarinet"},
    "flute": {"flute"},
    "glass": {"glass"},
    "guitar": {"guitar"},
    "harp": {"harp"},
    "horn": {"horn"},
    "kalimba": {"kalimba"},
    "piano": {"piano"},
    "strings": {"strings", "ensemble"},
    "vibraphone": {"vibraphone"},
    "voices": {"voices"},
}
"""Words for instruments, longer ones first, and what plays where they stand."""
HEARD = {"rain": "rain", "sea": "sea", "wind": "wind", "fire": "fire", "record": "vinyl", "insects": "insects"}
"""Words for textures."""


@pytest.mark.parametrize("preset", SENTENCES)
def test_a_sentence_names_what_plays(preset: str) -> None:
    sound, left = SOUNDS[preset], SENTENCES[preset].lower()
    playing = {part.instrument for parts in sound.layers.values() for part in parts if isinstance(part, Part)}
    named = 0
    for word, instruments in PLAYED.items():
        if word in left:
            assert playing & instruments, f"no {word} in {preset}, but {', '.join(sorted(playing))}"
            left = left.replace(word, "")
            named += 1
    assert named >= 1
    assert {HEARD[word] for word in HEARD if word in left} <= {sound.texture.kind}
