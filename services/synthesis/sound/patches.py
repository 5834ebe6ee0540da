"""Pure. What each preset sounds like: a patch for each layer, a balance of the layers, a room and the air's colour.

The score decides what is played; nothing here knows about chords. Levels are relative, because `loudness` brings every
preset to the same loudness.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from services.synthesis.dsp.reverb import Room
from services.synthesis.score.events import Layer


@dataclass(frozen=True, slots=True)
class Copy:
    """One of several detuned copies of a tone.

    Attributes:
        cents: detune.
        pan: added to the note's pan, -1 to 1.
        level: linear.
    """

    cents: float
    pan: float
    level: float = 1.0


SINGLE: Final = (Copy(0.0, 0.0),)


def chorus(cents: float, spread: float) -> tuple[Copy, ...]:
    """Two copies, one on each side, that beat slowly. They are not equal, so that no beat cancels the tone.

    Args:
        cents: detune of each, one down and one up.
        spread: pan of each, 0 to 1.
    """
    return (Copy(-cents, -spread, 0.85), Copy(cents, spread, 0.5))


@dataclass(frozen=True, slots=True)
class Patch:
    """The tone of a layer. A "partial n times as high" is one whose frequency is n times the note's.

    Attributes:
        harmonics: (ratio to the note, level in dB) of each partial; ratios need not be whole.
        copies: detuned copies of the lowest partials.
        copy_harmonics: how many of the lowest partials have copies.
        level_db: of all partials.
        attack_s: time to full level.
        attack_bloom: a partial n times as high takes `attack_bloom` (n - 1) attack times longer.
        decay_s: time to `sustain`; 0 does not decay.
        damping: a partial n times as high decays 1 + `damping` (n - 1) times faster.
        sustain: level after the decay, 0 to 1.
        release_s: time from the note's end to silence.
        rise_db: how much louder the layer is at intensity 1 than at intensity 0, relative to the others.
        dull_db: what each octave above the note loses at brightness and intensity 0; at 1 it loses nothing.
        swell_depth, swell_hz: slow tremolo, depth 0 to 1; the lowest partial swells least, each has its own phase.
        vibrato_cents, vibrato_hz: slow movement of the pitch.
        send_db: level of the reverb send.
        width: how far apart the partials of a note are panned, 0 to 1.
        jitter_cents: each note is out of tune by up to this much.
    """

    harmonics: tuple[tuple[float, float], ...]
    copies: tuple[Copy, ...] = SINGLE
    copy_harmonics: int = 1
    level_db: float = 0.0
    attack_s: float = 0.01
    attack_bloom: float = 0.0
    decay_s: float = 0.0
    damping: float = 0.0
    sustain: float = 0.0
    release_s: float = 1.0
    rise_db: float = 0.0
    dull_db: float = 9.0
    swell_depth: float = 0.0
    swell_hz: float = 0.1
    vibrato_cents: float = 0.0
    vibrato_hz: float = 4.0
    send_db: float = -6.0
    width: float = 0.2
    jitter_cents: float = 0.0


@dataclass(frozen=True, slots=True)
class AirPatch:
    """The air: coloured noise up to 5 kHz, and white noise (hiss) over the whole band.

    Attributes:
        points: (Hz, dB) corners of the coloured noise's spectrum. It falls to the hiss's level at 5 kHz: its end
            is not heard.
        level_db: RMS of the coloured noise relative to full scale, where the score's air level is 1.
        gust_hz: rate of its slow movement between left and right.
        gust_depth: of that movement, 0 to 1.
        hiss_db: RMS of the hiss relative to full scale, where the score's air level is 1.
    """

    points: tuple[tuple[float, float], ...]
    level_db: float
    gust_hz: float = 0.07
    gust_depth: float = 0.5
    hiss_db: float = -60.0

    @property
    def gain(self) -> float:
        """`level_db` as a linear gain."""
        return float(10.0 ** (self.level_db / 20.0))

    @property
    def hiss_gain(self) -> float:
        """`hiss_db` as a linear gain."""
        return float(10.0 ** (self.hiss_db / 20.0))


@dataclass(frozen=True, slots=True)
class Sound:
    """A preset's sound.

    Attributes:
        layers: a patch for each layer.
        mix_db: the balance: what each layer gets besides its patch's level.
        room: the reverb.
        air: the noise.
    """

    layers: Mapping[Layer, Patch]
    mix_db: Mapping[Layer, float]
    room: Room
    air: AirPatch


# Tones that presets share or change.
_WARM_PAD: Final = Patch(
    harmonics=((1, 0), (2, -4), (3, -8), (4, -12), (5, -15)),
    copies=chorus(5.0, 0.6),
    attack_s=1.8,
    attack_bloom=0.35,
    release_s=3.5,
    dull_db=9.0,
    swell_depth=0.3,
    swell_hz=0.13,
    vibrato_cents=2.5,
    vibrato_hz=0.31,
    send_db=-5.0,
    width=0.5,
    rise_db=-1.5,
)
_DRONE: Final = Patch(
    harmonics=((1, -3), (2, 0), (3, -7), (4, -9), (6, -15)),
    copies=chorus(2.5, 0.5),
    copy_harmonics=2,
    level_db=-6.0,
    attack_s=4.0,
    attack_bloom=0.1,
    release_s=7.0,
    dull_db=8.0,
    swell_depth=0.35,
    swell_hz=0.06,
    vibrato_cents=1.5,
    vibrato_hz=0.11,
    send_db=-10.0,
    width=0.4,
    rise_db=-3.0,
)
_ROUND_BASS: Final = Patch(
    harmonics=((1, 0), (2, -5), (3, -12)),
    attack_s=0.09,
    decay_s=9.0,
    damping=0.5,
    sustain=0.25,
    release_s=1.6,
    dull_db=6.0,
    send_db=-16.0,
    width=0.1,
)
_SOFT_PLUCK: Final = Patch(
    harmonics=((1, 0), (2, -5), (3, -10), (4, -15), (5.02, -20), (8.1, -29)),
    copies=chorus(3.0, 0.25),
    level_db=3.0,
    attack_s=0.012,
    decay_s=4.2,
    damping=0.55,
    release_s=1.6,
    dull_db=9.0,
    send_db=-4.0,
    width=0.35,
    vibrato_cents=2.0,
    vibrato_hz=3.1,
    rise_db=5.0,
)
_BELL: Final = Patch(
    harmonics=((1, 0), (2.0, -8), (2.76, -11), (4.07, -16), (5.40, -20), (8.93, -26)),
    level_db=2.0,
    attack_s=0.007,
    decay_s=6.5,
    damping=0.38,
    release_s=3.0,
    dull_db=5.0,
    send_db=-3.0,
    width=0.5,
    rise_db=4.0,
)
_SPARKLE: Final = Patch(
    harmonics=((1, 0), (2.01, -10), (4.1, -19)),
    level_db=4.0,
    attack_s=0.02,
    decay_s=4.5,
    damping=0.6,
    release_s=2.5,
    dull_db=6.0,
    send_db=0.0,
    width=0.7,
    rise_db=4.0,
)
_HALO: Final = Patch(
    harmonics=((1, 0), (2, -11)),
    copies=chorus(4.0, 0.8),
    level_db=3.0,
    attack_s=2.6,
    release_s=5.0,
    dull_db=5.0,
    swell_depth=0.5,
    swell_hz=0.21,
    vibrato_cents=4.0,
    vibrato_hz=0.4,
    send_db=-1.0,
    width=0.8,
    rise_db=3.0,
)
_SOFT_PULSE: Final = Patch(
    harmonics=((1, 0), (2, -7), (3, -14)),
    attack_s=0.018,
    decay_s=1.4,
    damping=0.7,
    release_s=0.5,
    dull_db=7.0,
    send_db=-8.0,
    width=0.4,
    rise_db=7.0,
)
_FLUTE: Final = Patch(
    harmonics=((1, 0), (2, -8), (3, -12), (4, -20)),
    copies=chorus(3.5, 0.3),
    level_db=3.0,
    attack_s=0.22,
    attack_bloom=0.5,
    decay_s=14.0,
    sustain=0.55,
    release_s=1.8,
    dull_db=7.0,
    swell_depth=0.18,
    swell_hz=0.9,
    vibrato_cents=6.0,
    vibrato_hz=4.4,
    send_db=-3.0,
    width=0.3,
    rise_db=5.0,
)
_CHOIR: Final = Patch(
    # A vowel: the fourth partial is louder than the slope of its neighbours.
    harmonics=((1, 0), (2, -3), (3, -7), (4, -8), (6, -16)),
    copies=chorus(7.0, 0.7),
    attack_s=1.1,
    attack_bloom=0.15,
    release_s=2.6,
    dull_db=6.0,
    swell_depth=0.22,
    swell_hz=0.17,
    vibrato_cents=5.0,
    vibrato_hz=4.7,
    send_db=-3.0,
    width=0.5,
    rise_db=-1.0,
)

SOUNDS: Final[Mapping[str, Sound]] = {
    "drift": Sound(
        layers={
            Layer.DRONE: _DRONE,
            Layer.BASS: _ROUND_BASS,
            Layer.PAD: _WARM_PAD,
            Layer.MELODY: _SOFT_PLUCK,
            Layer.SHIMMER: _SPARKLE,
            Layer.PULSE: _SOFT_PULSE,
        },
        mix_db={
            Layer.DRONE: 2.0,
            Layer.BASS: 8.0,
            Layer.PAD: -2.0,
            Layer.MELODY: 2.0,
            Layer.SHIMMER: 1.0,
            Layer.PULSE: 9.0,
        },
        room=Room(seed=11),
        air=AirPatch(
            points=((80, -30), (250, 0), (900, -6), (2_500, -17), (5_000, -35)), level_db=-34.0, hiss_db=-51.0
        ),
    ),
    "aurora": Sound(
        layers={
            Layer.DRONE: replace(_DRONE, harmonics=((1, -2), (2, 0), (3, -8), (5, -18), (8, -24)), level_db=-5.0),
            Layer.BASS: replace(_ROUND_BASS, attack_s=0.5, decay_s=0.0, sustain=1.0, release_s=3.0),
            Layer.PAD: replace(
                _WARM_PAD,
                harmonics=((1, 0), (2, -3), (3, -7), (5, -10), (7, -15)),
                copies=chorus(8.0, 0.9),
                attack_s=4.5,
                release_s=6.0,
                swell_depth=0.45,
                swell_hz=0.09,
                send_db=-2.0,
                dull_db=7.0,
            ),
            Layer.MELODY: replace(_FLUTE, attack_s=0.6, release_s=3.5, send_db=0.0),
            Layer.SHIMMER: _HALO,
            Layer.PULSE: replace(_SOFT_PULSE, attack_s=0.05, decay_s=2.2, send_db=-2.0),
        },
        mix_db={
            Layer.DRONE: 3.0,
            Layer.BASS: 0.0,
            Layer.PAD: -1.0,
            Layer.MELODY: 0.0,
            Layer.SHIMMER: 0.0,
            Layer.PULSE: 9.0,
        },
        room=Room(rt60_low_s=2.4, rt60_mid_s=2.5, rt60_high_s=2.0, bloom_s=0.12, tilt_db=-4.0, width=1.0, seed=12),
        air=AirPatch(
            points=((200, -40), (900, -12), (2_000, 0), (3_500, -5), (5_000, -24)),
            level_db=-37.0,
            hiss_db=-48.0,
            gust_hz=0.11,
        ),
    ),
    "cathedral": Sound(
        layers={
            Layer.DRONE: replace(
                _DRONE, harmonics=((1, 0), (2, -4), (3, -9), (4, -9), (6, -15), (8, -20)), swell_depth=0.12
            ),
            Layer.BASS: replace(
                _ROUND_BASS,
                harmonics=((1, 0), (2, -3), (3, -12), (4, -14)),
                attack_s=0.25,
                decay_s=0.0,
                sustain=1.0,
                release_s=1.4,
                send_db=-8.0,
            ),
            Layer.PAD: _CHOIR,
            Layer.MELODY: replace(_CHOIR, attack_s=0.18, release_s=1.8, level_db=-2.0, send_db=-1.0, rise_db=5.0),
            Layer.SHIMMER: replace(
                _BELL,
                harmonics=((0.5, -12), (1, 0), (1.19, -10), (1.5, -14), (2.0, -7), (2.51, -19)),
                decay_s=8.0,
                send_db=1.0,
            ),
            Layer.PULSE: replace(
                _BELL,
                harmonics=((1, 0), (1.19, -14), (2.0, -8), (2.74, -18)),
                attack_s=0.02,
                decay_s=5.0,
                send_db=-2.0,
                rise_db=7.0,
            ),
        },
        mix_db={
            Layer.DRONE: 4.0,
            Layer.BASS: 1.0,
            Layer.PAD: -1.0,
            Layer.MELODY: 5.0,
            Layer.SHIMMER: 8.0,
            Layer.PULSE: 2.0,
        },
        room=Room(rt60_low_s=2.5, rt60_mid_s=2.5, rt60_high_s=1.5, bloom_s=0.08, tilt_db=-8.0, width=0.95, seed=13),
        air=AirPatch(
            points=((60, -12), (160, 0), (500, -14), (2_500, -30), (5_000, -48)),
            level_db=-36.0,
            hiss_db=-55.0,
            gust_depth=0.3,
        ),
    ),
    "harbor": Sound(
        layers={
            Layer.DRONE: replace(
                _DRONE, swell_hz=0.1, swell_depth=0.5, harmonics=((1, -1), (2, 0), (3, -16), (4, -20))
            ),
            Layer.BASS: replace(_ROUND_BASS, decay_s=6.0, level_db=1.0),
            Layer.PAD: replace(
                _WARM_PAD,
                # Odd partials alone: reeds, a far harmonium.
                harmonics=((1, 0), (2, -14), (3, -6), (5, -12), (7, -18)),
                copies=chorus(9.0, 0.5),
                attack_s=0.9,
                release_s=2.2,
                swell_depth=0.25,
                swell_hz=0.24,
            ),
            Layer.MELODY: replace(
                _FLUTE,
                # Calm as a fog horn: slow speech, hardly any vibrato.
                harmonics=((1, 0), (2, -8), (3, -14), (4, -24)),
                attack_s=0.12,
                vibrato_cents=3.0,
                vibrato_hz=3.4,
                decay_s=7.0,
                sustain=0.3,
            ),
            Layer.SHIMMER: replace(_BELL, harmonics=((1, 0), (2.0, -12), (3.01, -18)), decay_s=4.0, level_db=-2.0),
            Layer.PULSE: replace(_SOFT_PULSE, decay_s=2.0, harmonics=((1, 0), (3, -16), (4, -22))),
        },
        mix_db={
            Layer.DRONE: 3.0,
            Layer.BASS: 8.0,
            Layer.PAD: -1.0,
            Layer.MELODY: 3.0,
            Layer.SHIMMER: 14.0,
            Layer.PULSE: 7.0,
        },
        room=Room(rt60_low_s=1.6, rt60_mid_s=1.5, rt60_high_s=0.8, bloom_s=0.02, tilt_db=-10.0, width=0.85, seed=14),
        air=AirPatch(
            points=((100, -14), (350, 0), (1_200, -5), (3_000, -12), (5_000, -33)),
            level_db=-28.0,
            hiss_db=-45.0,
            gust_hz=0.13,
            gust_depth=0.75,
        ),
    ),
    "lantern": Sound(
        layers={
            Layer.DRONE: replace(_DRONE, harmonics=((1, 0), (2, -8), (3, -20)), level_db=-5.0),
            Layer.BASS: replace(_ROUND_BASS, attack_s=0.03, decay_s=5.0),
            Layer.PAD: replace(_WARM_PAD, attack_s=0.7, release_s=1.8, level_db=-3.0, swell_depth=0.15),
            Layer.MELODY: replace(
                _BELL,
                # A tine: a strong octave and a short high ting.
                harmonics=((1, 0), (2, -12), (3.0, -18), (6.27, -24)),
                decay_s=3.6,
                damping=0.5,
                send_db=-6.0,
                level_db=-1.0,
            ),
            Layer.SHIMMER: replace(_SPARKLE, decay_s=2.8),
            Layer.PULSE: replace(_SOFT_PLUCK, decay_s=1.5, release_s=0.6, copies=SINGLE, send_db=-9.0, rise_db=7.0),
        },
        mix_db={
            Layer.DRONE: 0.0,
            Layer.BASS: 2.0,
            Layer.PAD: -3.0,
            Layer.MELODY: 2.0,
            Layer.SHIMMER: -3.0,
            Layer.PULSE: 2.0,
        },
        room=Room(rt60_low_s=1.2, rt60_mid_s=1.2, rt60_high_s=0.9, bloom_s=0.012, tilt_db=-6.0, width=0.8, seed=15),
        air=AirPatch(
            points=((150, -24), (600, -6), (1_600, 0), (3_000, -5), (5_000, -24)),
            level_db=-42.0,
            hiss_db=-54.0,
            gust_depth=0.2,
        ),
    ),
    "nocturne": Sound(
        layers={
            Layer.DRONE: replace(_DRONE, harmonics=((1, 0), (2, -3), (3, -18)), level_db=-4.0),
            Layer.BASS: replace(_ROUND_BASS, attack_s=0.04, decay_s=7.0, level_db=1.0),
            Layer.PAD: replace(
                _WARM_PAD,
                # Electric piano felt: octave and twelfth, soft stroke, slow tremolo between the sides.
                harmonics=((1, 0), (2, -6), (3, -10), (4, -17)),
                copies=chorus(2.0, 0.5),
                attack_s=0.09,
                attack_bloom=0.3,
                decay_s=14.0,
                damping=0.4,
                sustain=0.3,
                release_s=2.2,
                swell_depth=0.3,
                swell_hz=0.55,
                dull_db=10.0,
            ),
            Layer.MELODY: replace(
                _FLUTE, harmonics=((1, 0), (2, -6), (3, -8), (4, -14), (5, -18)), attack_s=0.09, send_db=-5.0
            ),
            Layer.SHIMMER: replace(_SPARKLE, level_db=-2.0),
            Layer.PULSE: replace(_ROUND_BASS, attack_s=0.03, decay_s=1.1, release_s=0.6, sustain=0.0, rise_db=7.0),
        },
        mix_db={
            Layer.DRONE: -3.0,
            Layer.BASS: 3.0,
            Layer.PAD: 0.0,
            Layer.MELODY: -7.0,
            Layer.SHIMMER: 2.0,
            Layer.PULSE: 5.0,
        },
        room=Room(rt60_low_s=1.8, rt60_mid_s=1.7, rt60_high_s=0.7, bloom_s=0.02, tilt_db=-13.0, width=0.8, seed=16),
        air=AirPatch(
            points=((60, -10), (200, 0), (700, -16), (3_000, -36), (5_000, -50)),
            level_db=-36.0,
            hiss_db=-58.0,
            gust_depth=0.3,
        ),
    ),
    "rainfall": Sound(
        layers={
            Layer.DRONE: replace(_DRONE, level_db=-4.0),
            Layer.BASS: replace(_ROUND_BASS, attack_s=0.15),
            Layer.PAD: replace(_WARM_PAD, copies=chorus(6.0, 0.8), dull_db=8.0, swell_depth=0.4, send_db=-3.0),
            Layer.MELODY: replace(
                _SOFT_PLUCK,
                # Wood under water: the fourth partial rings, the others end early.
                harmonics=((1, 0), (3.93, -14), (2.0, -20), (9.2, -32)),
                copies=SINGLE,
                decay_s=2.2,
                damping=0.8,
                send_db=-2.0,
                width=0.5,
            ),
            Layer.SHIMMER: replace(
                _SPARKLE, harmonics=((1, 0), (2.76, -16)), attack_s=0.006, decay_s=1.5, release_s=0.8, width=0.9
            ),
            Layer.PULSE: replace(_SOFT_PULSE, decay_s=0.9, harmonics=((1, 0), (3.93, -15)), send_db=-3.0, width=0.7),
        },
        mix_db={
            Layer.DRONE: 0.0,
            Layer.BASS: 6.0,
            Layer.PAD: -1.0,
            Layer.MELODY: 3.0,
            Layer.SHIMMER: 2.0,
            Layer.PULSE: 10.0,
        },
        room=Room(rt60_low_s=1.7, rt60_mid_s=2.0, rt60_high_s=1.5, bloom_s=0.05, tilt_db=-5.0, width=1.0, seed=17),
        air=AirPatch(
            points=((120, -26), (500, -10), (1_400, 0), (3_000, -6), (5_000, -24)),
            level_db=-28.0,
            hiss_db=-39.5,
            gust_hz=0.09,
        ),
    ),
    "tundra": Sound(
        layers={
            Layer.DRONE: replace(
                _DRONE,
                harmonics=((1, 0), (2, -1), (3, -6), (4, -12), (5, -18), (7, -24)),
                swell_depth=0.5,
                swell_hz=0.045,
                attack_s=7.0,
                release_s=9.0,
            ),
            Layer.BASS: replace(_ROUND_BASS, attack_s=1.5, decay_s=0.0, sustain=1.0, release_s=4.0),
            Layer.PAD: replace(
                _WARM_PAD,
                harmonics=((1, 0), (2, -8), (3, -5), (4, -16), (6, -14)),
                copies=chorus(4.0, 1.0),
                attack_s=5.5,
                release_s=7.0,
                swell_depth=0.55,
                swell_hz=0.07,
            ),
            Layer.MELODY: replace(_BELL, decay_s=8.0, attack_s=0.01, send_db=0.0, level_db=-1.0),
            Layer.SHIMMER: replace(_HALO, attack_s=3.5, release_s=6.0),
            Layer.PULSE: replace(_ROUND_BASS, attack_s=0.04, decay_s=3.0, sustain=0.0, send_db=-6.0, rise_db=7.0),
        },
        mix_db={
            Layer.DRONE: 0.0,
            Layer.BASS: 0.0,
            Layer.PAD: -1.0,
            Layer.MELODY: 6.0,
            Layer.SHIMMER: 1.0,
            Layer.PULSE: 8.0,
        },
        room=Room(rt60_low_s=2.5, rt60_mid_s=2.3, rt60_high_s=0.9, bloom_s=0.15, tilt_db=-11.0, width=0.95, seed=18),
        air=AirPatch(
            points=((120, -18), (420, 0), (800, -8), (2_500, -18), (5_000, -40)),
            level_db=-27.0,
            hiss_db=-47.0,
            gust_hz=0.06,
            gust_depth=0.8,
        ),
    ),
}
"""By the names of `services.contract.spec.PRESETS`."""

PRESET_NAMES: Final = tuple(SOUNDS)
