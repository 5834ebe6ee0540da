"""Pure. What plays each layer of a preset, and the General MIDI program that comes nearest to it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.contract.spec import StreamSpec
from services.synthesis.score.events import Layer
from services.synthesis.sound.parts import Part
from services.synthesis.sound.patches import SOUNDS

PROGRAMS: Final[Mapping[str, int]] = {
    "strings": 48,  # string ensemble 1
    "ensemble": 49,  # string ensemble 2
    "cello": 42,
    "contrabass": 43,
    "choir": 52,  # choir aahs
    "voices": 53,  # voice oohs
    "flute": 73,
    "clarinet": 71,
    "horn": 60,  # French horn
    "piano": 0,  # acoustic grand piano
    "rhodes": 4,  # electric piano 1
    "harp": 46,
    "guitar": 24,  # nylon
    "kalimba": 108,
    "vibraphone": 11,
    "celesta": 8,
    "musicbox": 10,
    "glass": 92,  # bowed pad
    "sub bass": 39,  # synth bass 2
    "warm pad": 89,
    "FM bell": 98,  # crystal
    "FM electric piano": 5,  # electric piano 2
}
"""Programs of General MIDI, counted from 0, by the names of measured instruments and of tones in closed form."""

_FULL_VOLUME: Final = 100
"""Controller 7 of a player at 0 dB; sequencers begin with it."""
_LARGEST: Final = 127


@dataclass(frozen=True, slots=True)
class Player:
    """An instrument that plays the notes of a layer.

    Attributes:
        instrument: its name.
        program: the General MIDI program that comes nearest, 0 to 127.
        volume: MIDI controller 7, 0 to 127: its level in the mix, of which an instrument makes (volume / 127)².
        transpose: semitones that it plays above the written pitch.
    """

    instrument: str
    program: int
    volume: int
    transpose: int = 0


def players_of(spec: StreamSpec, layer: Layer) -> tuple[Player, ...]:
    """What plays `layer` of a stream; each of them plays every note."""
    sound = SOUNDS[spec.preset]
    found = []
    for part in sound.layers[layer]:
        # Parts rise and fall with the intensity, against the other layers.
        level_db = sound.mix_db.get(layer, 0.0) + part.level_db + part.rise_db * (spec.intensity - 0.5)
        volume = _volume(level_db, spec.levels[layer.name.lower()])
        name = part.instrument if isinstance(part, Part) else part.name
        found.append(Player(name, PROGRAMS[name], volume, round(part.transpose)))
    return tuple(found)


def _volume(level_db: float, level: float) -> int:
    amplitude = level * float(10.0 ** (level_db / 20.0))
    return min(round(_FULL_VOLUME * math.sqrt(amplitude)), _LARGEST)
