"""Pure. How a layer is played: by a measured instrument (`Part`) or by a tone in closed form (`Patch`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from services.synthesis.sound.instruments import INSTRUMENTS


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
        name: what it is called in exported scores.
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
        transpose: semitones.
        tide_db, tide_pace: as of a `Part`.
    """

    name: str
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
    transpose: float = 0.0
    tide_db: float = 0.0
    tide_pace: float = 1.0


@dataclass(frozen=True, slots=True)
class Part:
    """A layer, or a part of it, played by a measured instrument.

    Attributes:
        instrument: a name of `instruments.INSTRUMENTS`.
        level_db: of a note at full gain, RMS against the layer's.
        players: how many play each note; each reads another recorded note at another place.
        spread: how far to the sides the players sit, 0 to 1.
        cents: each player is out of tune by up to this much.
        attack_s: a swell in place of the recorded attack; 0 keeps the recorded one.
        release_s: to silence after the key is let go; 0 takes the measured one.
        transpose: semitones.
        rows: partials of a note at most.
        dull_db: how much each octave above the note loses when brightness and intensity are 0; at 1 it loses nothing.
        moving: how far the upper partials rise and fall by themselves, 0 to 1: a brightness that never stands still.
        moving_hz: how quickly.
        rise_db: how much louder, against the other layers, it is at intensity 1 than at 0.
        send_db: to the reverb.
        width: how far apart partials of one note are panned, 0 to 1.
        breath_db: how far a held note swells and ebbs by itself, from least to most, 0 to 15; `moving_hz` is how often.
        tide_db: how far below its level the part falls when it rests, 0 to 24; parts of one layer take turns.
        tide_pace: 1 comes and goes within 44 to 400 s, 2 within half of that; parts of unlike pace meet at times.
        low_db: what partials below 120 Hz get besides: in most presets the drone alone fills that band.
        shorten_s: the key is let go this much earlier below 120 Hz, so that two long notes do not add up there.
    """

    instrument: str
    level_db: float = 0.0
    players: int = 1
    spread: float = 0.7
    cents: float = 3.0
    attack_s: float = 0.0
    release_s: float = 0.0
    transpose: float = 0.0
    rows: int = 16
    dull_db: float = 6.0
    moving: float = 0.25
    moving_hz: float = 0.08
    rise_db: float = 0.0
    send_db: float = -6.0
    width: float = 0.15
    breath_db: float = 0.0
    tide_db: float = 3.0
    tide_pace: float = 1.0
    low_db: float = 0.0
    shorten_s: float = 0.0

    def __post_init__(self) -> None:
        """Refuse an instrument that is not there."""
        if self.instrument not in INSTRUMENTS:
            raise ValueError(f"instrument: got {self.instrument!r}, expected one of {', '.join(INSTRUMENTS)}")
