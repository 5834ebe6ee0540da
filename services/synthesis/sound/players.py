"""Pure. Parts that presets begin from: each instrument as it is usually played, and the tones in closed form."""

from __future__ import annotations

from typing import Final

from services.synthesis.sound.parts import Copy, Part, Patch

# --- held: each note swells and ebbs by itself, two players a note ---------------------------------------------------

STRINGS: Final = Part(
    "strings", players=2, rows=12, attack_s=2.0, release_s=4.0, send_db=-4.0, low_db=-12.0, moving=0.3, breath_db=7.0
)
ENSEMBLE: Final = Part(
    "ensemble", players=2, rows=14, attack_s=1.8, release_s=4.0, send_db=-4.0, low_db=-12.0, moving=0.3, breath_db=7.0
)
CHOIR: Final = Part(
    "choir", players=2, rows=14, attack_s=1.1, release_s=3.0, send_db=-2.0, low_db=-12.0, dull_db=3.0, breath_db=8.0
)
VOICES: Final = Part(
    "voices", players=2, rows=12, attack_s=1.4, release_s=3.0, send_db=-2.0, low_db=-12.0, dull_db=4.0, breath_db=7.0
)
HORN: Final = Part(
    "horn", players=2, rows=14, attack_s=0.9, release_s=2.2, send_db=-3.0, low_db=-9.0, dull_db=4.0, breath_db=9.0
)
GLASS: Final = Part(
    "glass", players=2, rows=12, attack_s=2.5, release_s=5.0, send_db=0.0, low_db=-12.0, dull_db=3.0, breath_db=6.0
)
CELLO: Final = Part(
    "cello", attack_s=0.2, release_s=1.8, send_db=-2.0, rows=18, dull_db=4.0, low_db=-6.0, breath_db=5.0
)
FLUTE: Final = Part("flute", attack_s=0.12, release_s=1.4, send_db=-3.0, dull_db=3.0, rise_db=3.0, breath_db=4.0)
CLARINET: Final = Part("clarinet", attack_s=0.1, release_s=1.2, send_db=-3.0, dull_db=3.0, rise_db=3.0, breath_db=5.0)

# --- struck and plucked ----------------------------------------------------------------------------------------------

PIANO: Final = Part("piano", release_s=2.5, send_db=-5.0, dull_db=4.0, rise_db=3.0, low_db=-4.0, rows=18)
RHODES: Final = Part("rhodes", release_s=2.5, send_db=-6.0, dull_db=3.0, low_db=-4.0, rows=14)
HARP: Final = Part("harp", rows=14, release_s=2.5, send_db=-5.0, dull_db=3.0, rise_db=3.0, low_db=-6.0)
GUITAR: Final = Part("guitar", rows=16, release_s=2.0, send_db=-7.0, dull_db=3.0, rise_db=2.0, low_db=-6.0)
KALIMBA: Final = Part("kalimba", rows=12, release_s=1.5, send_db=-4.0, dull_db=2.0, rise_db=3.0)
VIBRAPHONE: Final = Part("vibraphone", rows=10, release_s=4.0, send_db=-2.0, dull_db=3.0, rise_db=3.0)
CELESTA: Final = Part("celesta", rows=6, release_s=3.0, send_db=-2.0, dull_db=3.0, rise_db=3.0)
MUSICBOX: Final = Part("musicbox", rows=8, release_s=3.0, send_db=-4.0, dull_db=3.0, rise_db=2.0)

# --- the low end: one player, in the middle, its fundamental stands still --------------------------------------------

DRONE: Final = Part(
    "cello",
    players=2,
    attack_s=5.0,
    release_s=7.0,
    rows=14,
    dull_db=5.0,
    moving=0.4,
    moving_hz=0.045,
    send_db=-10.0,
    shorten_s=7.0,
    breath_db=6.0,
)
BOWED_BASS: Final = Part("contrabass", attack_s=0.35, release_s=1.8, rows=16, send_db=-12.0, low_db=-4.0, dull_db=4.0)
PLUCKED_BASS: Final = Part("guitar", release_s=2.0, send_db=-12.0, low_db=-2.0, dull_db=3.0)

# --- in closed form --------------------------------------------------------------------------------------------------

SUB: Final = Patch(
    name="sub bass",
    harmonics=((1, 0), (2, -16), (3, -30)),
    attack_s=0.6,
    release_s=2.0,
    dull_db=0.0,
    send_db=-40.0,
    width=0.0,
)
"""Sub bass: a sine with a trace of its octave, dry."""
WARM: Final = Patch(
    name="warm pad",
    harmonics=tuple((n, -9.0 * (n - 1) ** 0.55) for n in range(1, 9)),
    copies=(Copy(-7.0, -0.8, 0.6), Copy(0.0, 0.0, 0.7), Copy(6.0, 0.8, 0.55)),
    copy_harmonics=5,
    attack_s=2.5,
    attack_bloom=0.12,
    release_s=4.0,
    dull_db=4.0,
    swell_depth=0.75,
    swell_hz=0.09,
    vibrato_cents=5.0,
    vibrato_hz=0.31,
    send_db=-5.0,
    width=0.5,
    jitter_cents=4.0,
)
"""Warm analogue pad: three oscillators a few cents apart through a filter that opens and closes."""
FM_BELL: Final = Patch(
    name="FM bell",
    # Carrier 1, modulator 3.5: sidebands at |1 +- 3.5 k|. The upper ones die first, as if the index fell.
    harmonics=((1, 0), (2.5, -9), (4.5, -8), (6, -17), (8, -15), (9.5, -26), (11.5, -24)),
    copies=(Copy(-2.5, -0.5, 0.8), Copy(2.5, 0.5, 0.6)),
    copy_harmonics=2,
    attack_s=0.006,
    decay_s=7.0,
    damping=0.35,
    release_s=4.0,
    dull_db=3.0,
    send_db=-1.0,
    width=0.6,
    rise_db=3.0,
)
"""FM bell: two operators, carrier to modulator as 1 to 3.5."""
FM_TINE: Final = Patch(
    name="FM electric piano",
    # Carrier 1, modulator 1, and a second modulator at 14 that is gone after the stroke.
    harmonics=((1, 0), (2, -10), (3, -19), (4, -29), (13, -27), (14, -24), (15, -27)),
    copies=(Copy(-3.0, -0.5, 0.7), Copy(3.0, 0.5, 0.7)),
    copy_harmonics=2,
    attack_s=0.005,
    decay_s=9.0,
    damping=0.5,
    release_s=1.5,
    dull_db=4.0,
    swell_depth=0.25,
    swell_hz=4.2,
    send_db=-6.0,
    width=0.3,
)
"""FM electric piano: a tine stroke over two slowly dying sines, with the tremolo of the amplifier."""
