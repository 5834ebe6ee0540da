"""The score half of each preset: what is played, how often, how high. How it sounds is the patches' business.

Pitches are MIDI numbers in the key of C; other keys move them by -6 to +5 semitones. Chord lengths are in sixteenths
of a part (a quarter of a section, 60 s), so 4 is 15 s. Melody rhythms are in *ticks*, see `plan.Plan.tick_s`.
Thresholds are the intensities from which something speaks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class DroneVoice:
    """One long tone of the drone.

    Attributes:
        degree: scale degree above the tonic: 0, 4 or 7, which no colour alters; without a perfect fifth, 4 becomes 7.
        octave_midi: the tonic (in C) that the degree is counted from.
        threshold, gain: see `Notes`.
        lag: where in a part it is struck again, 0 to 1: voices with different lags never leave together.
    """

    degree: int
    octave_midi: int
    threshold: float
    gain: float
    lag: float


@dataclass(frozen=True, slots=True)
class Pad:
    """The chords.

    Attributes:
        kinds: chord kinds with their weights (see `theory.KINDS`).
        low_midi, high_midi: band of the voices.
        thresholds: one per voice, from the lowest voice up.
        gain: linear.
        tie: how likely a voice that stays on its note is held and not struck again.
        doubles: thresholds of the octaves above the highest voices, from the top voice down.
        stagger_s: the voices of a chord enter within this time.
        overlap_s: how long an old voice is held into the new chord.
    """

    kinds: Mapping[str, int]
    low_midi: int
    high_midi: int
    thresholds: tuple[float, ...]
    gain: float
    tie: float
    doubles: tuple[float, ...]
    stagger_s: float
    overlap_s: float


@dataclass(frozen=True, slots=True)
class Bass:
    """The chord's foundation.

    Attributes:
        style: "hold" one note a chord; "answer" the root, then the fifth halfway; "step" a scale step leads into the
            next chord.
        threshold, gain: see `Notes`.
        inversion: how likely a chord stands on its third or fifth.
    """

    style: Literal["hold", "answer", "step"]
    threshold: float
    gain: float
    inversion: float


@dataclass(frozen=True, slots=True)
class Melody:
    """Plucked or bell phrases.

    Attributes:
        centre_midi: middle of its register (calls).
        answer_shift: scale steps by which answers lie apart from calls.
        reach: scale steps that a motif may span.
        phrases: what happens on the chords of a part: c call, a answer, h the call's head, v the call varied, - rest.
        rhythms: note lengths in ticks; the last one also says how long the phrase breathes.
        shapes: outlines that motifs take.
        tick_s: about how long a tick is at 70 bpm.
        ring_s: shortest and longest time that a note is held.
        threshold, spread: the rarest phrase speaks from `threshold`, the most frequent from `threshold + spread`.
        gain: linear.
        echoes: how many times a strong note comes back, softer.
        echo_ticks: after how long.
        harmony: threshold of the second voice, 1 for none.
        rubato_s: how far onsets stray from the beat.
    """

    centre_midi: int
    answer_shift: int
    reach: int
    phrases: tuple[str, ...]
    rhythms: tuple[tuple[int, ...], ...]
    shapes: tuple[str, ...]
    tick_s: float
    ring_s: tuple[float, float]
    threshold: float
    spread: float
    gain: float
    echoes: int
    echo_ticks: int
    harmony: float
    rubato_s: float


@dataclass(frozen=True, slots=True)
class Shimmer:
    """High chord tones.

    Attributes:
        style: "sparkle" single points, "halo" long pairs, "drops" short falling groups.
        per_minute: at intensity 1.
        low_midi, high_midi: band.
        ring_s: shortest and longest.
        threshold, spread: as in `Melody`.
        gain: linear.
    """

    style: Literal["sparkle", "halo", "drops"]
    per_minute: float
    low_midi: int
    high_midi: int
    ring_s: tuple[float, float]
    threshold: float
    spread: float
    gain: float


@dataclass(frozen=True, slots=True)
class Pulse:
    """A soft beat that grows out of the chords.

    Attributes:
        steps: (eighth in the pattern, chord tone counted upwards, threshold, accent).
        bars: length of the pattern.
        low_midi: chord tones are counted from here.
        hold: key held, in eighths.
        gain: linear.
        wander: how likely a step takes another chord tone or rests.
    """

    steps: tuple[tuple[int, int, float, float], ...]
    bars: int
    low_midi: int
    hold: float
    gain: float
    wander: float


@dataclass(frozen=True, slots=True)
class Air:
    """The level of the filtered noise.

    Attributes:
        level: mean, 0 to 1.
        depth: how far gusts move it.
        gusts: per section.
    """

    level: float
    depth: float
    gusts: int


@dataclass(frozen=True, slots=True)
class ScorePreset:
    """One character.

    Attributes:
        chord_rhythms: chord lengths of a part; each adds up to 16.
        arc: how far density, register and brightness move over a section, 0 to 1.
        colour: how likely a contrasting section visits a neighbouring mode or key.
        brightness: mean, 0 to 1.
    """

    chord_rhythms: tuple[tuple[int, ...], ...]
    arc: float
    colour: float
    brightness: float
    drone: tuple[DroneVoice, ...]
    pad: Pad
    bass: Bass
    melody: Melody
    shimmer: Shimmer
    pulse: Pulse
    air: Air


SCORE_PRESETS: Final[Mapping[str, ScorePreset]] = {
    # Floating: wide suspended chords, an unhurried pluck that asks and answers. The middle of everything.
    "drift": ScorePreset(
        chord_rhythms=((4, 4, 4, 4), (6, 4, 6), (5, 3, 8), (8, 4, 4), (5, 5, 6)),
        arc=0.6,
        colour=0.5,
        brightness=0.45,
        drone=(DroneVoice(0, 36, 0.0, 0.50, 0.0), DroneVoice(4, 48, 0.10, 0.28, 0.5)),
        pad=Pad(
            kinds={"sus2": 3, "add9": 5, "ninth": 4, "seventh": 2, "seventh_sus2": 2, "sixth9": 1},
            low_midi=52,
            high_midi=73,
            thresholds=(0.0, 0.30, 0.0, 0.55, 0.12),
            gain=0.34,
            tie=0.6,
            doubles=(0.70, 0.90),
            stagger_s=1.6,
            overlap_s=1.2,
        ),
        bass=Bass("hold", 0.15, 0.46, 0.2),
        melody=Melody(
            centre_midi=77,
            answer_shift=-2,
            reach=7,
            phrases=("cahv", "cav-", "cah-", "c-av"),
            rhythms=((3, 3, 2, 4), (2, 2, 4, 4), (2, 1, 1, 2, 4), (3, 1, 2, 4), (4, 2, 4), (1, 2, 1, 2, 4)),
            shapes=("arch", "fall", "wave", "rise"),
            tick_s=0.75,
            ring_s=(1.8, 4.5),
            threshold=-0.16,
            spread=0.72,
            gain=0.62,
            echoes=1,
            echo_ticks=3,
            harmony=0.75,
            rubato_s=0.018,
        ),
        shimmer=Shimmer("sparkle", 13, 84, 98, (2.5, 5.0), 0.22, 0.75, 0.24),
        pulse=Pulse(
            steps=(
                (0, 0, 0.40, 1.0),
                (4, 1, 0.50, 0.8),
                (2, 2, 0.65, 0.6),
                (6, 1, 0.70, 0.6),
                (3, 3, 0.85, 0.4),
                (7, 2, 0.90, 0.5),
            ),
            bars=1,
            low_midi=54,
            hold=1.4,
            gain=0.26,
            wander=0.25,
        ),
        air=Air(0.40, 0.25, 7),
    ),
    # Light far up: slow bright harmonies, halos of high tones, a melody of long notes that answer themselves.
    "aurora": ScorePreset(
        chord_rhythms=((8, 8), (6, 10), (6, 4, 6), (10, 6)),
        arc=0.9,
        colour=0.7,
        brightness=0.70,
        drone=(DroneVoice(0, 36, 0.0, 0.38, 0.25), DroneVoice(4, 48, 0.05, 0.28, 0.75)),
        pad=Pad(
            kinds={"seventh": 3, "ninth": 4, "eleventh": 4, "sixth9": 3, "seventh_sus2": 2, "add9": 1},
            low_midi=56,
            high_midi=78,
            thresholds=(0.0, 0.20, 0.35, 0.0, 0.0),
            gain=0.30,
            tie=0.35,
            doubles=(0.80,),
            stagger_s=5.0,
            overlap_s=3.0,
        ),
        bass=Bass("hold", 0.35, 0.36, 0.35),
        melody=Melody(
            centre_midi=81,
            answer_shift=3,
            reach=8,
            phrases=("cva", "ca", "cv", "c-a"),
            rhythms=((4, 4, 6), (6, 2, 6), (3, 6), (5, 3, 3, 6), (4, 4, 3, 6)),
            shapes=("rise", "arch", "leap"),
            tick_s=1.0,
            ring_s=(3.5, 7.0),
            threshold=-0.16,
            spread=0.75,
            gain=0.46,
            echoes=2,
            echo_ticks=3,
            harmony=0.55,
            rubato_s=0.03,
        ),
        shimmer=Shimmer("halo", 14, 84, 103, (6.0, 11.0), 0.02, 0.90, 0.22),
        pulse=Pulse(
            steps=((0, 0, 0.60, 0.8), (3, 1, 0.70, 0.6), (6, 2, 0.75, 0.7), (9, 3, 0.80, 0.6), (12, 4, 0.90, 0.7)),
            bars=2,
            low_midi=60,
            hold=2.0,
            gain=0.20,
            wander=0.2,
        ),
        air=Air(0.50, 0.35, 4),
    ),
    # Stone and voices: plain triads and suspensions in five moving voices, a chant, a far bell. Pedal tones below.
    "cathedral": ScorePreset(
        chord_rhythms=((4, 4, 4, 4), (3, 3, 4, 6), (2, 2, 4, 8), (3, 5, 3, 5), (2, 4, 2, 8)),
        arc=0.7,
        colour=0.4,
        brightness=0.35,
        drone=(
            DroneVoice(0, 36, 0.0, 0.46, 0.0),
            DroneVoice(7, 36, 0.0, 0.34, 0.5),
            DroneVoice(4, 48, 0.45, 0.24, 0.25),
        ),
        pad=Pad(
            kinds={"triad": 6, "sus4": 4, "add9": 3, "sus2": 2, "seventh": 1},
            low_midi=50,
            high_midi=75,
            thresholds=(0.0, 0.0, 0.25, 0.10, 0.0),
            gain=0.40,
            tie=0.85,
            doubles=(0.55, 0.75, 0.90),
            stagger_s=0.7,
            overlap_s=0.8,
        ),
        bass=Bass("step", 0.20, 0.48, 0.3),
        melody=Melody(
            centre_midi=72,
            answer_shift=-1,
            reach=4,
            phrases=("c-a-", "ca-h", "c--a", "-ca-"),
            rhythms=((2, 1, 1, 2, 4), (1, 1, 1, 1, 2, 4), (3, 1, 2, 4), (2, 2, 1, 1, 4), (1, 2, 1, 2, 2, 4)),
            shapes=("chant", "arch", "fall"),
            tick_s=0.8,
            ring_s=(1.6, 5.0),
            threshold=-0.18,
            spread=0.80,
            gain=0.48,
            echoes=0,
            echo_ticks=4,
            harmony=0.50,
            rubato_s=0.025,
        ),
        shimmer=Shimmer("sparkle", 6, 79, 93, (4.0, 8.0), 0.40, 0.60, 0.20),
        pulse=Pulse(
            steps=((0, 0, 0.45, 1.0), (8, 2, 0.60, 0.7), (12, 1, 0.80, 0.5), (4, 1, 0.90, 0.4)),
            bars=2,
            low_midi=48,
            hold=4.0,
            gain=0.30,
            wander=0.15,
        ),
        air=Air(0.28, 0.12, 4),
    ),
    # Water at a quay: sixth chords over a swaying bass, a low call across the bay and a small high answer.
    "harbor": ScorePreset(
        chord_rhythms=((3, 5, 3, 5), (6, 6, 4), (5, 5, 6), (5, 3, 5, 3)),
        arc=0.45,
        colour=0.35,
        brightness=0.40,
        drone=(DroneVoice(0, 36, 0.0, 0.40, 0.0), DroneVoice(7, 36, 0.20, 0.24, 0.5)),
        pad=Pad(
            kinds={"sixth": 4, "add9": 3, "seventh": 3, "sus4": 1, "triad": 1},
            low_midi=51,
            high_midi=71,
            thresholds=(0.0, 0.0, 0.32, 0.0),
            gain=0.36,
            tie=0.4,
            doubles=(0.70, 0.85),
            stagger_s=1.0,
            overlap_s=1.0,
        ),
        bass=Bass("answer", 0.05, 0.50, 0.1),
        melody=Melody(
            centre_midi=64,
            answer_shift=11,
            reach=6,
            phrases=("caca", "ca-a", "cava", "c-ah"),
            rhythms=((3, 1, 4), (3, 3, 2, 4), (3, 3, 5), (3, 2, 3, 5), (4, 2, 4)),
            shapes=("leap", "fall", "wave"),
            tick_s=0.7,
            ring_s=(2.0, 4.5),
            threshold=-0.16,
            spread=0.75,
            gain=0.56,
            echoes=1,
            echo_ticks=6,
            harmony=0.80,
            rubato_s=0.02,
        ),
        shimmer=Shimmer("sparkle", 8, 81, 93, (2.0, 4.0), 0.35, 0.60, 0.20),
        pulse=Pulse(
            steps=((0, 0, 0.20, 1.0), (3, 1, 0.32, 0.7), (6, 2, 0.45, 0.8), (2, 3, 0.75, 0.4), (5, 2, 0.85, 0.4)),
            bars=1,
            low_midi=50,
            hold=1.8,
            gain=0.30,
            wander=0.15,
        ),
        air=Air(0.46, 0.38, 12),
    ),
    # A music box by a small light: bright plain chords that change often, bells that run and return, little below.
    "lantern": ScorePreset(
        chord_rhythms=((2, 2, 4, 2, 2, 4), (4, 2, 2, 4, 4), (2, 2, 2, 2, 4, 4), (4, 4, 2, 2, 4)),
        arc=0.5,
        colour=0.3,
        brightness=0.62,
        drone=(DroneVoice(0, 48, 0.0, 0.26, 0.0), DroneVoice(4, 48, 0.25, 0.18, 0.5)),
        pad=Pad(
            kinds={"add9": 5, "triad": 3, "sus2": 2, "sus4": 2, "sixth": 1},
            low_midi=57,
            high_midi=76,
            thresholds=(0.0, 0.40, 0.0, 0.15),
            gain=0.26,
            tie=0.3,
            doubles=(0.80,),
            stagger_s=0.4,
            overlap_s=0.5,
        ),
        bass=Bass("hold", 0.30, 0.36, 0.3),
        melody=Melody(
            centre_midi=81,
            answer_shift=-3,
            reach=7,
            phrases=("cava", "cvca", "chcavh", "c-cah-"),
            rhythms=(
                (1, 1, 2, 1, 1, 2, 4),
                (2, 1, 1, 2, 2, 4),
                (1, 1, 1, 1, 4, 4),
                (2, 2, 1, 1, 2, 4),
                (3, 1, 2, 2, 4),
            ),
            shapes=("wave", "arch", "leap", "fall"),
            tick_s=0.4,
            ring_s=(1.2, 2.6),
            threshold=-0.16,
            spread=0.75,
            gain=0.52,
            echoes=1,
            echo_ticks=4,
            harmony=0.65,
            rubato_s=0.008,
        ),
        shimmer=Shimmer("sparkle", 10, 88, 100, (1.5, 3.0), 0.35, 0.60, 0.18),
        pulse=Pulse(
            steps=(
                (0, 0, 0.30, 0.9),
                (2, 2, 0.42, 0.6),
                (4, 1, 0.38, 0.7),
                (6, 3, 0.55, 0.6),
                (1, 1, 0.80, 0.4),
                (5, 4, 0.85, 0.4),
            ),
            bars=1,
            low_midi=62,
            hold=1.2,
            gain=0.24,
            wander=0.35,
        ),
        air=Air(0.16, 0.10, 9),
    ),
    # Late, low and close: rich ninths and elevenths, one free voice with leaps and silences, a heartbeat at most.
    "nocturne": ScorePreset(
        chord_rhythms=((6, 6, 4), (5, 5, 6), (8, 4, 4), (4, 8, 4), (7, 9)),
        arc=0.6,
        colour=0.6,
        brightness=0.28,
        drone=(DroneVoice(0, 36, 0.0, 0.36, 0.0), DroneVoice(7, 36, 0.30, 0.20, 0.5)),
        pad=Pad(
            kinds={"ninth": 5, "seventh": 4, "eleventh": 3, "ninth_sus4": 2, "sixth9": 2},
            low_midi=49,
            high_midi=70,
            thresholds=(0.0, 0.15, 0.0, 0.45, 0.0),
            gain=0.34,
            tie=0.5,
            doubles=(0.75, 0.90),
            stagger_s=0.9,
            overlap_s=0.7,
        ),
        bass=Bass("step", 0.08, 0.48, 0.15),
        melody=Melody(
            centre_midi=72,
            answer_shift=-4,
            reach=10,
            phrases=("cah", "cv-a", "c-a", "ch-v"),
            rhythms=((3, 1, 2, 4, 8), (1, 1, 4, 2, 8), (2, 1, 1, 6, 8), (4, 3, 1, 8), (1, 3, 2, 2, 4, 8)),
            shapes=("leap", "fall", "wave"),
            tick_s=0.55,
            ring_s=(1.6, 5.0),
            threshold=-0.18,
            spread=0.70,
            gain=0.66,
            echoes=0,
            echo_ticks=4,
            harmony=0.60,
            rubato_s=0.05,
        ),
        shimmer=Shimmer("sparkle", 7, 79, 91, (3.0, 6.0), 0.45, 0.55, 0.18),
        pulse=Pulse(
            steps=((0, 0, 0.50, 1.0), (1, 0, 0.65, 0.6), (4, 1, 0.80, 0.5), (6, 2, 0.90, 0.4)),
            bars=1,
            low_midi=48,
            hold=1.2,
            gain=0.28,
            wander=0.2,
        ),
        air=Air(0.22, 0.14, 5),
    ),
    # Drops on leaves: suspended sevenths under short high falling figures that never fall twice alike.
    "rainfall": ScorePreset(
        chord_rhythms=((3, 3, 3, 3, 4), (2, 4, 2, 4, 4), (5, 3, 5, 3), (3, 3, 4, 6)),
        arc=0.8,
        colour=0.5,
        brightness=0.55,
        drone=(DroneVoice(0, 36, 0.0, 0.40, 0.0), DroneVoice(4, 48, 0.15, 0.24, 0.5)),
        pad=Pad(
            kinds={"seventh": 4, "seventh_sus4": 4, "ninth": 3, "sus2": 3, "ninth_sus4": 1},
            low_midi=53,
            high_midi=74,
            thresholds=(0.0, 0.40, 0.0, 0.60, 0.08),
            gain=0.28,
            tie=0.7,
            doubles=(0.80,),
            stagger_s=2.2,
            overlap_s=1.6,
        ),
        bass=Bass("hold", 0.25, 0.42, 0.25),
        melody=Melody(
            centre_midi=79,
            answer_shift=2,
            reach=6,
            phrases=("ch-ah", "hcah", "c-hvh", "hchah"),
            rhythms=((1, 1, 2, 6), (1, 1, 1, 5), (2, 1, 1, 6), (1, 2, 1, 4), (1, 1, 1, 1, 6)),
            shapes=("fall", "fall", "wave"),
            tick_s=0.4,
            ring_s=(0.9, 2.4),
            threshold=-0.16,
            spread=0.80,
            gain=0.50,
            echoes=2,
            echo_ticks=2,
            harmony=0.85,
            rubato_s=0.03,
        ),
        shimmer=Shimmer("drops", 18, 82, 100, (0.7, 1.6), 0.04, 0.90, 0.30),
        pulse=Pulse(
            steps=(
                (1, 2, 0.35, 0.7),
                (4, 0, 0.45, 0.9),
                (7, 3, 0.55, 0.6),
                (10, 1, 0.60, 0.7),
                (13, 4, 0.75, 0.5),
                (15, 2, 0.90, 0.4),
            ),
            bars=2,
            low_midi=60,
            hold=1.0,
            gain=0.24,
            wander=0.5,
        ),
        air=Air(0.56, 0.22, 10),
    ),
    # Open snow: bare fifths and suspensions that hardly move, wind, and now and then one bell.
    "tundra": ScorePreset(
        chord_rhythms=((8, 8), (10, 6), (6, 10), (16,)),
        arc=0.5,
        colour=0.25,
        brightness=0.30,
        drone=(
            DroneVoice(0, 36, 0.0, 0.56, 0.0),
            DroneVoice(4, 36, 0.0, 0.40, 0.5),
            DroneVoice(7, 36, 0.20, 0.30, 0.25),
            DroneVoice(4, 48, 0.60, 0.18, 0.75),
        ),
        pad=Pad(
            kinds={"sus2": 5, "open": 3, "sus4": 3, "seventh_sus2": 3, "triad": 2},
            low_midi=50,
            high_midi=75,
            thresholds=(0.10, 0.0, 0.35, 0.0),
            gain=0.34,
            tie=0.8,
            doubles=(0.50, 0.80),
            stagger_s=6.0,
            overlap_s=4.0,
        ),
        bass=Bass("hold", 0.30, 0.50, 0.1),
        melody=Melody(
            centre_midi=79,
            answer_shift=-4,
            reach=5,
            phrases=("ca", "c-a", "ch", "cav"),
            rhythms=((5, 6), (4, 6), (3, 7, 6), (5, 3, 6)),
            shapes=("fall", "leap"),
            tick_s=1.0,
            ring_s=(4.0, 8.0),
            threshold=-0.2,
            spread=0.7,
            gain=0.46,
            echoes=1,
            echo_ticks=4,
            harmony=0.85,
            rubato_s=0.04,
        ),
        shimmer=Shimmer("halo", 5, 79, 96, (7.0, 12.0), 0.25, 0.70, 0.18),
        pulse=Pulse(
            steps=((0, 0, 0.60, 1.0), (8, 1, 0.75, 0.6), (12, 2, 0.90, 0.4)),
            bars=2,
            low_midi=43,
            hold=3.0,
            gain=0.30,
            wander=0.1,
        ),
        air=Air(0.62, 0.42, 6),
    ),
}
"""By the names of `services.contract.spec.PRESETS`."""
