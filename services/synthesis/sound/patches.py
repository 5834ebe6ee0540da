"""Pure. What each preset sounds like: the parts of each layer, a balance of the layers, a room and a texture.

The score decides what is played; nothing here knows about chords. Levels are relative, because `loudness` brings every
preset to the same loudness.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from services.synthesis.dsp.reverb import Room
from services.synthesis.score.events import Layer
from services.synthesis.sound.parts import Part, Patch


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
    swell_db: float = 4.0

    @property
    def gain(self) -> float:
        """`level_db` as a linear gain."""
        return float(10.0 ** (self.level_db / 20.0))


@dataclass(frozen=True, slots=True)
class Sound:
    """A preset's sound.

    Attributes:
        layers: for each Layer what plays it.
        mix_db: the balance: what each layer gets besides its parts' levels.
        room: the reverb.
        texture: what is heard around it.
    """

    layers: Mapping[Layer, tuple[Part | Patch, ...]]
    mix_db: Mapping[Layer, float]
    room: Room
    texture: Texture


# Parts that several presets begin from.
_STRINGS: Final = Part(
    "strings", players=2, rows=12, attack_s=2.0, release_s=4.0, send_db=-4.0, low_db=-12.0, moving=0.3
)
_ENSEMBLE: Final = replace(_STRINGS, instrument="ensemble")
_CHOIR: Final = Part("choir", players=2, rows=12, attack_s=1.1, release_s=3.0, send_db=-2.0, low_db=-12.0, dull_db=4.0)
_VOICES: Final = replace(_CHOIR, instrument="voices")
_DRONE: Final = Part(
    "cello",
    players=2,
    attack_s=5.0,
    release_s=7.0,
    rows=14,
    dull_db=5.0,
    moving=0.35,
    moving_hz=0.045,
    send_db=-10.0,
    shorten_s=7.0,
)
_BOWED_BASS: Final = Part("contrabass", attack_s=0.35, release_s=1.8, rows=16, send_db=-12.0, low_db=-4.0, dull_db=4.0)
_PLUCKED_BASS: Final = Part("guitar", transpose=0.0, release_s=2.0, send_db=-12.0, low_db=-2.0, dull_db=4.0)
_PIANO: Final = Part("piano", release_s=2.5, send_db=-4.0, dull_db=5.0, rise_db=4.0, low_db=-4.0)
_HARP: Final = Part("harp", rows=14, release_s=2.5, send_db=-5.0, dull_db=4.0, rise_db=6.0, low_db=-6.0)
_CELESTA: Final = Part("celesta", release_s=3.0, send_db=-1.0, dull_db=4.0, rise_db=4.0, rows=6)
_GLASS: Final = Part("glass", players=2, rows=12, attack_s=2.5, release_s=5.0, send_db=0.0, dull_db=5.0, rise_db=3.0)
_FLUTE: Final = Part("flute", attack_s=0.12, release_s=1.4, send_db=-3.0, dull_db=4.0, rise_db=5.0, rows=12)
_SUB: Final = Patch(harmonics=((1, 0), (2, -16)), attack_s=0.3, release_s=2.0, dull_db=0.0, send_db=-40.0, width=0.0)

SOUNDS: Final[Mapping[str, Sound]] = {
    "drift": Sound(
        layers={
            Layer.DRONE: (_DRONE,),
            Layer.BASS: (_BOWED_BASS,),
            Layer.PAD: (replace(_ENSEMBLE, tide_db=5.0), replace(_VOICES, level_db=-4.0, attack_s=2.5, tide_db=7.0)),
            Layer.MELODY: (replace(_PIANO, tide_db=5.0), replace(_HARP, tide_db=8.0, rise_db=2.0)),
            Layer.SHIMMER: (_CELESTA,),
            Layer.PULSE: (_HARP,),
        },
        mix_db={
            Layer.DRONE: 0.0,
            Layer.BASS: 0.0,
            Layer.PAD: 0.0,
            Layer.MELODY: 0.0,
            Layer.SHIMMER: 0.0,
            Layer.PULSE: 0.0,
        },
        room=Room(
            cut_low_hz=220.0, rt60_low_s=4.5, rt60_mid_s=4.2, rt60_high_s=2.2, bloom_s=0.05, tilt_db=-7.0, seed=11
        ),
        texture=Texture("wind", level_db=-40.0),
    ),
    "aurora": Sound(
        layers={
            Layer.DRONE: (replace(_DRONE, instrument="voices", dull_db=4.0),),
            Layer.BASS: (replace(_BOWED_BASS, attack_s=1.0, release_s=3.0),),
            Layer.PAD: (
                replace(_GLASS, attack_s=4.0, release_s=6.0, low_db=-12.0, tide_db=6.0),
                replace(_STRINGS, attack_s=4.0, release_s=6.0, level_db=-1.0, tide_db=7.0),
            ),
            Layer.MELODY: (
                replace(_FLUTE, attack_s=0.3, release_s=3.0),
                Part("vibraphone", release_s=4.0, send_db=-1.0, tide_db=6.0),
            ),
            Layer.SHIMMER: (_GLASS,),
            Layer.PULSE: (Part("vibraphone", release_s=4.0, send_db=-1.0, rise_db=6.0),),
        },
        mix_db={
            Layer.DRONE: 0.0,
            Layer.BASS: 0.0,
            Layer.PAD: 0.0,
            Layer.MELODY: 0.0,
            Layer.SHIMMER: 0.0,
            Layer.PULSE: 0.0,
        },
        room=Room(
            cut_low_hz=220.0,
            rt60_low_s=6.0,
            rt60_mid_s=6.5,
            rt60_high_s=4.0,
            bloom_s=0.12,
            tilt_db=-4.0,
            width=1.0,
            early_db=-9.0,
            seed=12,
        ),
        texture=Texture("wind", level_db=-42.0, gust_hz=0.11),
    ),
    "cathedral": Sound(
        layers={
            Layer.DRONE: (replace(_DRONE, instrument="ensemble"),),
            Layer.BASS: (Part("horn", attack_s=0.25, release_s=1.4, send_db=-6.0, low_db=-4.0),),
            Layer.PAD: (replace(_STRINGS, tide_db=5.0, attack_s=1.4), replace(_VOICES, level_db=-2.0, tide_db=6.0)),
            Layer.MELODY: (
                Part("cello", attack_s=0.2, release_s=1.8, send_db=-1.0, rise_db=4.0, tide_db=9.0),
                replace(_CHOIR, level_db=-3.0, attack_s=0.3, release_s=2.0, send_db=-1.0, tide_db=9.0),
            ),
            Layer.SHIMMER: (Part("vibraphone", release_s=5.0, send_db=1.0, rise_db=3.0),),
            Layer.PULSE: (replace(_HARP, send_db=-1.0),),
        },
        mix_db={
            Layer.DRONE: 0.0,
            Layer.BASS: 0.0,
            Layer.PAD: 0.0,
            Layer.MELODY: 0.0,
            Layer.SHIMMER: 0.0,
            Layer.PULSE: 0.0,
        },
        room=Room(
            cut_low_hz=220.0,
            rt60_low_s=7.0,
            rt60_mid_s=7.0,
            rt60_high_s=3.0,
            bloom_s=0.08,
            tilt_db=-7.0,
            width=0.95,
            early_db=-8.0,
            seed=13,
        ),
        texture=Texture("wind", level_db=-46.0, gust_depth=0.3),
    ),
    "harbor": Sound(
        layers={
            Layer.DRONE: (_DRONE,),
            Layer.BASS: (_PLUCKED_BASS,),
            Layer.PAD: (
                replace(_ENSEMBLE, instrument="horn", attack_s=1.2, release_s=2.5, tide_db=5.0),
                replace(_STRINGS, attack_s=1.5, level_db=-4.0, tide_db=6.0),
            ),
            Layer.MELODY: (
                Part("clarinet", attack_s=0.1, release_s=1.2, send_db=-3.0, rise_db=4.0, tide_db=6.0),
                replace(_PIANO, tide_db=9.0),
            ),
            Layer.SHIMMER: (Part("vibraphone", release_s=3.0, send_db=-2.0, rise_db=4.0),),
            Layer.PULSE: (Part("guitar", release_s=2.0, send_db=-6.0, rise_db=6.0),),
        },
        mix_db={
            Layer.DRONE: 0.0,
            Layer.BASS: 0.0,
            Layer.PAD: 0.0,
            Layer.MELODY: 0.0,
            Layer.SHIMMER: 0.0,
            Layer.PULSE: 0.0,
        },
        room=Room(
            cut_low_hz=220.0,
            rt60_low_s=2.2,
            rt60_mid_s=2.0,
            rt60_high_s=1.2,
            bloom_s=0.02,
            tilt_db=-8.0,
            width=0.85,
            seed=14,
        ),
        texture=Texture("sea", level_db=-35.0, gust_hz=0.13, gust_depth=0.75),
    ),
    "lantern": Sound(
        layers={
            Layer.DRONE: (replace(_DRONE, instrument="ensemble"),),
            Layer.BASS: (_PLUCKED_BASS,),
            Layer.PAD: (replace(_VOICES, attack_s=0.8, release_s=2.0), replace(_STRINGS, attack_s=1.0, level_db=-5.0)),
            Layer.MELODY: (
                Part("musicbox", release_s=3.0, send_db=-3.0, rows=8, level_db=-2.0, tide_db=6.0),
                replace(_HARP, rise_db=0.0, tide_db=6.0),
            ),
            Layer.SHIMMER: (_CELESTA,),
            Layer.PULSE: (Part("guitar", release_s=2.0, send_db=-6.0, rise_db=6.0),),
        },
        mix_db={
            Layer.DRONE: 0.0,
            Layer.BASS: 0.0,
            Layer.PAD: 0.0,
            Layer.MELODY: 0.0,
            Layer.SHIMMER: 0.0,
            Layer.PULSE: 0.0,
        },
        room=Room(
            cut_low_hz=220.0,
            rt60_low_s=1.9,
            rt60_mid_s=1.9,
            rt60_high_s=1.4,
            bloom_s=0.012,
            tilt_db=-5.0,
            width=0.8,
            early_db=-2.0,
            seed=15,
        ),
        texture=Texture("vinyl", level_db=-42.0, gust_depth=0.2),
    ),
    "nocturne": Sound(
        layers={
            Layer.DRONE: (replace(_DRONE, instrument="ensemble", dull_db=7.0),),
            Layer.BASS: (Part("contrabass", attack_s=0.1, release_s=1.4, send_db=-14.0, low_db=-3.0, rows=14),),
            Layer.PAD: (
                Part("rhodes", release_s=2.5, send_db=-5.0, rise_db=-1.0, players=2, spread=0.5),
                replace(_STRINGS, attack_s=2.5, level_db=-4.0, dull_db=7.0),
            ),
            Layer.MELODY: (
                Part("clarinet", attack_s=0.12, release_s=1.4, send_db=-3.0, rise_db=4.0, tide_db=9.0),
                replace(_PIANO, tide_db=6.0),
            ),
            Layer.SHIMMER: (Part("vibraphone", release_s=3.0, send_db=-2.0, rise_db=4.0),),
            Layer.PULSE: (replace(_PIANO, rise_db=6.0, transpose=-12.0),),
        },
        mix_db={
            Layer.DRONE: 0.0,
            Layer.BASS: 0.0,
            Layer.PAD: 0.0,
            Layer.MELODY: 0.0,
            Layer.SHIMMER: 0.0,
            Layer.PULSE: 0.0,
        },
        room=Room(
            cut_low_hz=220.0,
            rt60_low_s=2.8,
            rt60_mid_s=2.6,
            rt60_high_s=1.2,
            bloom_s=0.02,
            tilt_db=-11.0,
            width=0.8,
            seed=16,
        ),
        texture=Texture("insects", level_db=-44.0, gust_depth=0.3),
    ),
    "rainfall": Sound(
        layers={
            Layer.DRONE: (replace(_DRONE, instrument="ensemble"),),
            Layer.BASS: (_PLUCKED_BASS,),
            Layer.PAD: (replace(_STRINGS, attack_s=1.8),),
            Layer.MELODY: (
                Part("kalimba", release_s=2.0, send_db=-2.0, rise_db=3.0, rows=12),
                replace(_PIANO, level_db=-2.0),
            ),
            Layer.SHIMMER: (_HARP,),
            Layer.PULSE: (Part("kalimba", release_s=1.0, send_db=-3.0, rise_db=6.0),),
        },
        mix_db={
            Layer.DRONE: 0.0,
            Layer.BASS: 0.0,
            Layer.PAD: 0.0,
            Layer.MELODY: 0.0,
            Layer.SHIMMER: 0.0,
            Layer.PULSE: 0.0,
        },
        room=Room(
            cut_low_hz=220.0,
            rt60_low_s=3.0,
            rt60_mid_s=3.4,
            rt60_high_s=2.4,
            bloom_s=0.05,
            tilt_db=-5.0,
            width=1.0,
            seed=17,
        ),
        texture=Texture("rain", level_db=-34.0, gust_hz=0.09),
    ),
    "tundra": Sound(
        layers={
            Layer.DRONE: (replace(_DRONE, instrument="ensemble", attack_s=7.0, release_s=9.0, shorten_s=7.0),),
            Layer.BASS: (replace(_BOWED_BASS, attack_s=1.5, release_s=4.0),),
            Layer.PAD: (
                replace(_STRINGS, attack_s=4.0, release_s=6.0, tide_db=5.0),
                replace(_VOICES, attack_s=4.0, release_s=6.0, level_db=-3.0, tide_db=7.0),
            ),
            Layer.MELODY: (
                replace(_PIANO, send_db=-1.0, tide_db=5.0),
                Part("vibraphone", release_s=4.0, send_db=-1.0, rise_db=4.0, level_db=-3.0, tide_db=8.0),
            ),
            Layer.SHIMMER: (_GLASS,),
            Layer.PULSE: (Part("piano", release_s=3.0, send_db=-4.0, rise_db=6.0, low_db=-6.0),),
        },
        mix_db={
            Layer.DRONE: 0.0,
            Layer.BASS: 0.0,
            Layer.PAD: 0.0,
            Layer.MELODY: 0.0,
            Layer.SHIMMER: 0.0,
            Layer.PULSE: 0.0,
        },
        room=Room(
            cut_low_hz=220.0,
            rt60_low_s=6.0,
            rt60_mid_s=5.5,
            rt60_high_s=2.0,
            bloom_s=0.15,
            tilt_db=-10.0,
            width=0.95,
            early_db=-10.0,
            seed=18,
        ),
        texture=Texture("wind", level_db=-36.0, gust_hz=0.06, gust_depth=0.8),
    ),
}
"""By the names of `services.contract.spec.PRESETS`."""

PRESET_NAMES: Final = tuple(SOUNDS)
