"""Pure. What plays each layer of a preset, and the General MIDI program that comes nearest to it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.contract.spec import StreamSpec
from services.synthesis.score.events import Layer

_TONES: Final[Mapping[Layer, int]] = {
    Layer.DRONE: 89,  # warm pad
    Layer.BASS: 39,  # synth bass 2
    Layer.PAD: 89,  # warm pad
    Layer.MELODY: 11,  # vibraphone
    Layer.SHIMMER: 98,  # crystal
    Layer.PULSE: 12,  # marimba
}
"""Programs for tones in closed form, which imitate no instrument: what suits the layer."""

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
    volume = _volume(0.0, spec.levels[layer.name.lower()])
    return (Player("tone", _TONES[layer], volume),)


def _volume(level_db: float, level: float) -> int:
    amplitude = level * float(10.0 ** (level_db / 20.0))
    return min(round(_FULL_VOLUME * math.sqrt(amplitude)), _LARGEST)
