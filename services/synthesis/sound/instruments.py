"""Pure. The instruments: what each one is made of, where it sounds, and where it was recorded.

Measured ones are tables of `services/synthesis/instruments`; a `Part` names one and says how a layer plays it. Tones in
closed form (`Patch`) need no table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_FLUID: Final = "FluidR3 GM by Frank Wen and contributors, MIT"
_VSCO: Final = "Versilian Studios Chamber Orchestra 2 CE by Sam Gossner and others, CC0"
_SPLENDID: Final = "Splendid Grand by AKAI, public domain"


@dataclass(frozen=True, slots=True)
class Instrument:
    """A measured instrument.

    Attributes:
        what: a sentence for a musician.
        low_midi, high_midi: range that was recorded, as MIDI pitches; two or three semitones beyond sound well too.
        source: of the recording, and its licence.
    """

    what: str
    low_midi: int
    high_midi: int
    source: str = _FLUID


INSTRUMENTS: Final[Mapping[str, Instrument]] = {
    "strings": Instrument("Chamber strings, slow bows: celli, violas and violins across the range.", 36, 84, _VSCO),
    "ensemble": Instrument("A large string section, warm, closer to a film than to a hall.", 36, 84),
    "cello": Instrument("One cello with vibrato.", 36, 72),
    "contrabass": Instrument("One bowed double bass.", 28, 52),
    "choir": Instrument("A mixed choir on 'ah'.", 44, 84),
    "voices": Instrument("Voices on 'oh', softer and darker than the choir.", 48, 80),
    "flute": Instrument("A flute with breath and vibrato.", 60, 92),
    "clarinet": Instrument("A clarinet: odd harmonics, hardly any vibrato.", 48, 84),
    "horn": Instrument("Soft French horns.", 40, 72),
    "piano": Instrument("A Steinway played softly, its felt heard.", 36, 96, _SPLENDID),
    "rhodes": Instrument("A tine electric piano.", 36, 84),
    "harp": Instrument("A concert harp.", 36, 96),
    "guitar": Instrument("A nylon-string guitar.", 40, 80),
    "kalimba": Instrument("A thumb piano: a dry knock and a short sine.", 48, 84),
    "vibraphone": Instrument("A vibraphone with soft mallets.", 54, 84),
    "celesta": Instrument("A celesta.", 60, 102),
    "musicbox": Instrument("A music box.", 60, 102),
    "glass": Instrument("Bowed glass: long, cold, its partials drift.", 48, 90),
}
"""By the names of their tables."""
