"""Pure. What each preset sounds like: the parts of each layer, a balance of the layers, a room and a texture.

The score decides what is played; nothing here knows about chords. Levels are relative, because `loudness` brings every
preset to the same loudness.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from services.synthesis.score.events import Layer
from services.synthesis.sound.parts import Part, Patch
from services.synthesis.sound.players import (
    BOWED_BASS,
    CELESTA,
    CELLO,
    CHOIR,
    CLARINET,
    DRONE,
    ENSEMBLE,
    FLUTE,
    FM_BELL,
    FM_TINE,
    GLASS,
    GUITAR,
    HARP,
    HORN,
    KALIMBA,
    MUSICBOX,
    PIANO,
    PLUCKED_BASS,
    RHODES,
    STRINGS,
    SUB,
    VIBRAPHONE,
    VOICES,
    WARM,
)
from services.synthesis.sound.room import Room


@dataclass(frozen=True, slots=True)
class Texture:
    """What is heard around the music.

    Attributes:
        kind: a name of `textures.NAMES`.
        level_db: RMS against full scale where the score's air level is 1.
        gust_hz: rate of its slow movement between left and right.
        gust_depth: 0 to 1.
        swell_db: how far its level comes and goes within minutes.
    """

    kind: str
    level_db: float
    gust_hz: float = 0.07
    gust_depth: float = 0.4
    swell_db: float = 6.0

    @property
    def gain(self) -> float:
        """`level_db` as a linear gain."""
        return float(10.0 ** (self.level_db / 20.0))


@dataclass(frozen=True, slots=True)
class Sound:
    """A preset's sound.

    Attributes:
        layers: for each Layer what plays it.
        room: the reverb.
        texture: what is heard around it.
        mix_db: the balance: what layers get besides their parts' levels; 0 dB where none is named.
        ebb_db: how far layers fall, with all their parts, where they rest; 0 dB where none is named.
    """

    layers: Mapping[Layer, tuple[Part | Patch, ...]]
    room: Room
    texture: Texture
    mix_db: Mapping[Layer, float]
    ebb_db: Mapping[Layer, float]


SOUNDS: Final[Mapping[str, Sound]] = {
    # A string orchestra that comes and goes in waves, a harp and a solo cello in front of it.
    "drift": Sound(
        layers={
            Layer.DRONE: (replace(DRONE, players=1, rows=16),),
            Layer.BASS: (BOWED_BASS,),
            Layer.PAD: (
                replace(ENSEMBLE, tide_db=12.0, breath_db=10.0),
                replace(STRINGS, level_db=-1.0, tide_db=14.0, tide_pace=1.7, transpose=12.0, attack_s=2.5),
            ),
            Layer.MELODY: (
                replace(HARP, tide_db=8.0, level_db=3.0, rows=18),
                replace(CELLO, transpose=-12.0, tide_db=16.0, level_db=3.0),
            ),
            Layer.SHIMMER: (replace(HARP, transpose=-12.0, level_db=3.0),),
            Layer.PULSE: (replace(HARP, tide_db=10.0, tide_pace=2.0, level_db=2.0),),
        },
        mix_db={Layer.DRONE: -5.0, Layer.PAD: -1.0},
        ebb_db={Layer.PAD: 6.0},
        room=Room(
            cut_low_hz=270.0, rt60_low_s=3.6, rt60_mid_s=3.4, rt60_high_s=2.2, bloom_s=0.04, tilt_db=-5.0, seed=11
        ),
        texture=Texture("vinyl", level_db=-29.0),
    ),
    # Light far up: bowed glass, voices and a warm analogue pad, bells and a flute in an endless room.
    "aurora": Sound(
        layers={
            Layer.DRONE: (replace(WARM, attack_s=5.0, release_s=6.0, send_db=-9.0, dull_db=5.0, copy_harmonics=3),),
            Layer.BASS: (replace(SUB, attack_s=1.5, release_s=3.0),),
            Layer.PAD: (
                replace(GLASS, attack_s=3.0, release_s=6.0, tide_db=10.0, breath_db=9.0),
                replace(WARM, tide_db=10.0, tide_pace=1.6),
                replace(VOICES, attack_s=3.0, transpose=12.0, level_db=-4.0, tide_db=16.0, tide_pace=2.3),
            ),
            Layer.MELODY: (
                replace(FM_BELL, tide_db=8.0, level_db=7.0),
                replace(FLUTE, attack_s=0.2, release_s=2.0, tide_db=14.0, level_db=4.0),
            ),
            Layer.SHIMMER: (replace(FM_BELL, level_db=6.0, decay_s=4.0, transpose=-12.0),),
            Layer.PULSE: (replace(VIBRAPHONE, level_db=3.0),),
        },
        mix_db={Layer.DRONE: -6.0, Layer.PAD: -2.0},
        ebb_db={Layer.PAD: 5.0},
        room=Room(
            cut_low_hz=270.0,
            rt60_low_s=6.0,
            rt60_mid_s=6.5,
            rt60_high_s=4.5,
            bloom_s=0.12,
            tilt_db=-2.0,
            width=1.0,
            early_db=-9.0,
            seed=12,
        ),
        texture=Texture("wind", level_db=-38.0, gust_hz=0.11),
    ),
    # Strings, horns and, now and then, a choir in seven seconds of stone; a celesta for its bells.
    "cathedral": Sound(
        layers={
            Layer.DRONE: (replace(DRONE, instrument="ensemble", rows=14, players=1, dull_db=3.0),),
            Layer.BASS: (replace(HORN, attack_s=0.4, players=1, low_db=-4.0, send_db=-6.0),),
            Layer.PAD: (
                replace(STRINGS, tide_db=12.0, attack_s=1.2, release_s=2.5, rows=15, dull_db=3.0, breath_db=11.0),
                replace(HORN, tide_db=16.0, tide_pace=1.4, breath_db=12.0),
                replace(CHOIR, tide_db=24.0, tide_pace=2.1, level_db=-6.0, breath_db=11.0),
            ),
            Layer.MELODY: (
                replace(CELESTA, tide_db=8.0, level_db=8.0, send_db=-2.0, rows=10),
                replace(CHOIR, level_db=-5.0, attack_s=0.35, release_s=2.0, send_db=0.0, tide_db=18.0),
            ),
            Layer.SHIMMER: (replace(FM_BELL, level_db=8.0, transpose=-12.0, decay_s=8.0),),
            Layer.PULSE: (replace(CELESTA, send_db=0.0, level_db=3.0),),
        },
        mix_db={Layer.DRONE: -6.0, Layer.PAD: -2.0, Layer.MELODY: 2.0},
        ebb_db={Layer.PAD: 9.0},
        room=Room(
            cut_low_hz=270.0,
            rt60_low_s=7.0,
            rt60_mid_s=7.0,
            rt60_high_s=4.0,
            bloom_s=0.05,
            tilt_db=-1.0,
            width=0.95,
            early_db=-6.0,
            seed=13,
        ),
        texture=Texture("wind", level_db=-36.0, gust_depth=0.3),
    ),
    # Horns and a clarinet across a bay, a guitar on the quay, and the sea.
    "harbor": Sound(
        layers={
            Layer.DRONE: (replace(DRONE, instrument="contrabass", players=1, rows=20),),
            Layer.BASS: (PLUCKED_BASS,),
            Layer.PAD: (
                replace(HORN, tide_db=12.0, level_db=1.0, rows=18),
                replace(GUITAR, tide_db=10.0, tide_pace=1.5, level_db=-1.0, players=2),
            ),
            Layer.MELODY: (
                replace(CLARINET, tide_db=12.0, level_db=0.0),
                replace(GUITAR, tide_db=14.0, level_db=1.0),
            ),
            Layer.SHIMMER: (replace(VIBRAPHONE, transpose=-12.0),),
            Layer.PULSE: (GUITAR,),
        },
        mix_db={Layer.DRONE: -4.0, Layer.BASS: -2.0},
        ebb_db={Layer.PAD: 6.0},
        room=Room(
            cut_low_hz=270.0,
            rt60_low_s=2.2,
            rt60_mid_s=2.0,
            rt60_high_s=1.2,
            bloom_s=0.02,
            tilt_db=-6.0,
            width=0.85,
            seed=14,
        ),
        texture=Texture("sea", level_db=-26.0, gust_hz=0.13, gust_depth=0.75),
    ),
    # A music box, a harp and a felt piano by a fire; voices hum from the next room.
    "lantern": Sound(
        layers={
            Layer.DRONE: (replace(DRONE, players=1, attack_s=3.0, release_s=4.0, shorten_s=4.0, rows=16),),
            Layer.BASS: (replace(PIANO, low_db=-14.0), replace(SUB, attack_s=0.3, level_db=-4.0, release_s=1.0)),
            Layer.PAD: (
                replace(VOICES, attack_s=0.9, release_s=2.0, level_db=1.0, tide_db=6.0, rows=16, dull_db=2.0),
                replace(PIANO, tide_db=8.0, players=2, level_db=-2.0),
                replace(HARP, tide_db=12.0, tide_pace=1.6, level_db=-2.0),
            ),
            Layer.MELODY: (
                replace(MUSICBOX, tide_db=8.0, level_db=-2.0),
                replace(HARP, tide_db=12.0, level_db=3.0, rows=18),
            ),
            Layer.SHIMMER: (CELESTA,),
            Layer.PULSE: (HARP,),
        },
        mix_db={Layer.DRONE: -2.0, Layer.BASS: -2.0},
        ebb_db={},
        room=Room(
            cut_low_hz=270.0,
            rt60_low_s=1.8,
            rt60_mid_s=1.8,
            rt60_high_s=1.4,
            bloom_s=0.012,
            tilt_db=-4.0,
            width=0.8,
            early_db=-2.0,
            seed=15,
        ),
        texture=Texture("fire", level_db=-34.0, gust_depth=0.2),
    ),
    # An electric piano and a cello at night: dark, low and close, insects outside.
    "nocturne": Sound(
        layers={
            Layer.DRONE: (replace(DRONE, instrument="ensemble", players=1, dull_db=7.0),),
            Layer.BASS: (replace(BOWED_BASS, attack_s=0.1, release_s=1.4, send_db=-14.0, rows=14),),
            Layer.PAD: (
                replace(RHODES, players=2, spread=0.5, tide_db=5.0, level_db=-1.0),
                replace(WARM, attack_s=2.0, level_db=-2.0, dull_db=7.0, tide_db=5.0, copy_harmonics=4),
                replace(FM_TINE, tide_db=12.0, tide_pace=1.5, level_db=-3.0),
            ),
            Layer.MELODY: (
                replace(CELLO, transpose=-12.0, tide_db=10.0, level_db=1.0),
                replace(RHODES, tide_db=12.0, level_db=1.0),
            ),
            Layer.SHIMMER: (replace(VIBRAPHONE, transpose=-12.0),),
            Layer.PULSE: (replace(RHODES, transpose=-12.0),),
        },
        mix_db={Layer.DRONE: -5.0, Layer.BASS: -2.0},
        ebb_db={Layer.PAD: 3.0},
        room=Room(
            cut_low_hz=270.0,
            rt60_low_s=2.2,
            rt60_mid_s=2.0,
            rt60_high_s=1.0,
            bloom_s=0.015,
            tilt_db=-8.0,
            width=0.8,
            seed=16,
        ),
        texture=Texture("insects", level_db=-34.0, gust_depth=0.3),
    ),
    # Rain, close; a kalimba, a guitar and a piano behind the window, strings that hardly sound.
    "rainfall": Sound(
        layers={
            Layer.DRONE: (replace(DRONE, instrument="ensemble", players=1),),
            Layer.BASS: (PLUCKED_BASS,),
            Layer.PAD: (
                replace(GUITAR, tide_db=6.0, players=2, level_db=-3.0),
                replace(STRINGS, tide_db=9.0, tide_pace=1.4, level_db=1.0, attack_s=1.8),
            ),
            Layer.MELODY: (
                replace(PIANO, tide_db=8.0),
                replace(KALIMBA, tide_db=12.0, level_db=0.0),
            ),
            Layer.SHIMMER: (replace(KALIMBA, transpose=-12.0, level_db=-2.0),),
            Layer.PULSE: (replace(KALIMBA, level_db=-2.0),),
        },
        mix_db={Layer.DRONE: -4.0},
        ebb_db={Layer.PAD: 4.0},
        room=Room(
            cut_low_hz=270.0,
            rt60_low_s=2.4,
            rt60_mid_s=2.8,
            rt60_high_s=2.2,
            bloom_s=0.05,
            tilt_db=-4.0,
            width=1.0,
            seed=17,
        ),
        texture=Texture("rain", level_db=-30.5, gust_hz=0.09),
    ),
    # Open snow: wind, a lone piano, a sub below it, and now and then bowed glass or strings far away.
    "tundra": Sound(
        layers={
            Layer.DRONE: (
                replace(DRONE, instrument="ensemble", players=1, attack_s=7.0, release_s=9.0, shorten_s=7.0),
                replace(SUB, attack_s=7.0, release_s=9.0, level_db=-10.0),
            ),
            Layer.BASS: (replace(SUB, attack_s=1.5, release_s=4.0),),
            Layer.PAD: (
                replace(GLASS, attack_s=3.5, release_s=6.0, tide_db=12.0, breath_db=10.0),
                replace(PIANO, tide_db=10.0, tide_pace=1.5, level_db=-1.0, send_db=-3.0, players=2),
                replace(
                    STRINGS,
                    attack_s=4.0,
                    release_s=6.0,
                    tide_db=14.0,
                    tide_pace=1.9,
                    level_db=1.0,
                    rows=16,
                    breath_db=11.0,
                ),
            ),
            Layer.MELODY: (replace(PIANO, send_db=-3.0, tide_db=8.0, level_db=7.0, rows=24),),
            Layer.SHIMMER: (replace(PIANO, transpose=-12.0, send_db=-1.0, level_db=8.0),),
            Layer.PULSE: (replace(PIANO, low_db=-6.0, level_db=3.0),),
        },
        mix_db={Layer.DRONE: -3.0, Layer.BASS: -6.0},
        ebb_db={Layer.PAD: 4.0},
        room=Room(
            cut_low_hz=270.0,
            rt60_low_s=5.5,
            rt60_mid_s=5.0,
            rt60_high_s=2.4,
            bloom_s=0.1,
            tilt_db=-6.0,
            width=0.95,
            early_db=-6.0,
            seed=18,
        ),
        texture=Texture("wind", level_db=-36.0, gust_hz=0.06, gust_depth=0.8),
    ),
}
"""By the names of `services.contract.spec.PRESETS`."""

PRESET_NAMES: Final = tuple(SOUNDS)
