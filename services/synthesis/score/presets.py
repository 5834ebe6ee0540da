"""Pure. The score's half of each preset: what is played, how often, how high. `sound.patches` says how it sounds.

Registers are MIDI numbers and the same in every key. Melody rhythms are in *grid steps*, see `plan.Plan.grid_step_s`.
A threshold is the intensity (0 to 1) from which something sounds; 0 or less always sounds. Gains are linear.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple


@dataclass(frozen=True, slots=True)
class DroneVoice:
    """One long tone of the drone.

    Attributes:
        degree: 0, 4 or 7 above the passage's centre; over a centre without a perfect fifth, 4 becomes 7.
        octave_midi: the octave, as the C that the degree is counted from; see `plan.drone_tones`.
        threshold, gain: see above.
        lag: how late it enters, as a share of its period, 0 to 1.
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
        low_midi, high_midi: lowest and highest pitch of the voices.
        thresholds: one for each voice, from the lowest up.
        gain: see above.
        tie: chance that a voice which stays on its note is held over, and not struck again.
        doubles: thresholds of octaves above the highest voices, from the top voice down.
        stagger_s: the voices of a chord enter one after the other within this time.
        overlap_s: how long a voice is held after its next note has entered.
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
    """The chords' lowest notes.

    Attributes:
        style: "hold": one note for each chord; "answer": the root, then the fifth halfway; "step": one note, then a
            step of the scale into the next chord.
        threshold, gain: see above.
        inversion: chance that a chord stands on its third or fifth.
    """

    style: Literal["hold", "answer", "step"]
    threshold: float
    gain: float
    inversion: float


@dataclass(frozen=True, slots=True)
class Melody:
    """Phrases.

    Attributes:
        centre_midi: middle of the calls' register.
        answer_shift: degrees by which answers lie above calls.
        reach: degrees that a motif may span.
        phrases: what follows on what: c a call, a an answer, h the call's head, v the call varied, - a rest. A passage
            takes one of them and begins it again and again.
        rhythms: note lengths of motifs, in grid steps; the last note's length is also the rest after the motif.
        contours: directions of motifs, see `layers.motif`.
        grid_beats: length of a grid step, in beats.
        phrase_s: phrases begin this far apart: a period of the melody's own, in no step with chords.
        ring_s: shortest and longest time that a note is held.
        threshold, spread: the first dialogue sounds from `threshold`, the last one from nearly `threshold + spread`.
        gain: see above.
        echoes: how many times a strong note comes back, softer.
        echo_grid_steps: time from a note to its echo, and from echo to echo.
        harmony: threshold of the second voice; 1 for none.
        rubato_s: onsets lie up to this much before or after the grid.
    """

    centre_midi: int
    answer_shift: int
    reach: int
    phrases: tuple[str, ...]
    rhythms: tuple[tuple[int, ...], ...]
    contours: tuple[str, ...]
    grid_beats: float
    phrase_s: float
    ring_s: tuple[float, float]
    threshold: float
    spread: float
    gain: float
    echoes: int
    echo_grid_steps: int
    harmony: float
    rubato_s: float


@dataclass(frozen=True, slots=True)
class Shimmer:
    """High chord tones.

    Attributes:
        style: "sparkle": single notes; "halo": long pairs; "drops": short falling groups.
        per_minute: how many at intensity 1.
        low_midi, high_midi: lowest and highest pitch.
        ring_s: shortest and longest time that a note is held.
        threshold, spread: the first one sounds from `threshold`, the last one from nearly `threshold + spread`.
        gain: see above.
    """

    style: Literal["sparkle", "halo", "drops"]
    per_minute: float
    low_midi: int
    high_midi: int
    ring_s: tuple[float, float]
    threshold: float
    spread: float
    gain: float


class PulseStep(NamedTuple):
    """A note of the pulse's pattern.

    Attributes:
        eighth: moment, in eighth notes from the pattern's start.
        tone: of the chord, counted upwards from 0.
        threshold: see above.
        accent: gain relative to the pulse's, 0 to 1.
    """

    eighth: int
    tone: int
    threshold: float
    accent: float


@dataclass(frozen=True, slots=True)
class Pulse:
    """A soft beat in chord tones.

    Attributes:
        steps: the pattern; where half of the pulse is there, its first half is played.
        bars: length of the pattern.
        low_midi: pitch that chord tones are counted from.
        hold: how long a note is held, in eighth notes.
        gain: see above.
        wander: chance that a step takes another chord tone.
    """

    steps: tuple[PulseStep, ...]
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
        depth: how far gusts move it, 0 to 1.
        gusts: number in 240 s.
    """

    level: float
    depth: float
    gusts: int


@dataclass(frozen=True, slots=True)
class ScorePreset:
    """One preset's music.

    Attributes:
        chord_rates: share of the first and of the second divisions of a pillar (see `progression`) that have a chord of
            their own at 70 bpm.
        arc: how far density, register and brightness move over a section, 0 to 1.
        colour: chance that a contrasting section visits a neighbouring mode or key.
        brightness: mean, 0 to 1.
        drone, pad, bass, melody, shimmer, pulse, air: the layers.
    """

    chord_rates: tuple[float, float]
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
        chord_rates=(0.9, 0.12),
        arc=0.6,
        colour=0.5,
        brightness=0.45,
        drone=(
            DroneVoice(degree=0, octave_midi=36, threshold=0.0, gain=0.50, lag=0.0),
            DroneVoice(degree=4, octave_midi=48, threshold=0.10, gain=0.28, lag=0.5),
        ),
        pad=Pad(
            kinds={"sus2": 3, "add9": 5, "ninth": 4, "seventh": 2, "seventh_sus2": 2, "sixth9": 1},
            low_midi=52,
            high_midi=73,
            thresholds=(0.0, 0.30, 0.0, 0.55, 0.12),
            gain=0.34,
            tie=0.6,
            doubles=(0.70, 0.90),
            stagger_s=2.6,
            overlap_s=1.6,
        ),
        bass=Bass(style="hold", threshold=0.15, gain=0.46, inversion=0.2),
        melody=Melody(
            centre_midi=77,
            answer_shift=-2,
            reach=7,
            phrases=("cahv", "cav-", "cah-", "c-av"),
            rhythms=((3, 1, 2, 2, 4), (2, 2, 1, 1, 4, 4), (2, 1, 1, 2, 2, 4), (3, 1, 2, 1, 1, 4), (1, 2, 1, 2, 2, 4)),
            contours=("arch", "fall", "wave", "rise"),
            grid_beats=1.0,
            phrase_s=14.9,
            ring_s=(1.8, 4.5),
            threshold=-0.16,
            spread=0.72,
            gain=0.62,
            echoes=1,
            echo_grid_steps=3,
            harmony=0.75,
            rubato_s=0.018,
        ),
        shimmer=Shimmer(
            style="sparkle",
            per_minute=13,
            low_midi=84,
            high_midi=98,
            ring_s=(2.5, 5.0),
            threshold=0.22,
            spread=0.75,
            gain=0.24,
        ),
        pulse=Pulse(
            steps=(
                PulseStep(eighth=0, tone=0, threshold=0.40, accent=1.0),
                PulseStep(eighth=4, tone=1, threshold=0.50, accent=0.8),
                PulseStep(eighth=2, tone=2, threshold=0.65, accent=0.6),
                PulseStep(eighth=6, tone=1, threshold=0.70, accent=0.6),
                PulseStep(eighth=3, tone=3, threshold=0.85, accent=0.4),
                PulseStep(eighth=7, tone=2, threshold=0.90, accent=0.5),
            ),
            bars=1,
            low_midi=54,
            hold=1.4,
            gain=0.26,
            wander=0.25,
        ),
        air=Air(level=0.40, depth=0.25, gusts=7),
    ),
    # Light far up: slow bright harmonies, halos of high tones, a melody of long notes that answer themselves.
    "aurora": ScorePreset(
        chord_rates=(0.5, 0.0),
        arc=0.9,
        colour=0.7,
        brightness=0.70,
        drone=(
            DroneVoice(degree=0, octave_midi=36, threshold=0.0, gain=0.38, lag=0.25),
            DroneVoice(degree=4, octave_midi=48, threshold=0.05, gain=0.28, lag=0.75),
        ),
        pad=Pad(
            kinds={"seventh": 3, "ninth": 4, "eleventh": 4, "sixth9": 3, "seventh_sus2": 2, "add9": 1},
            low_midi=56,
            high_midi=78,
            thresholds=(0.0, 0.20, 0.35, 0.0, 0.0),
            gain=0.30,
            tie=0.35,
            doubles=(0.80,),
            stagger_s=4.0,
            overlap_s=1.0,
        ),
        bass=Bass(style="hold", threshold=0.35, gain=0.36, inversion=0.35),
        melody=Melody(
            centre_midi=81,
            answer_shift=3,
            reach=8,
            phrases=("cva", "ca", "cv", "c-a"),
            rhythms=((4, 2, 2, 6), (3, 3, 2, 2, 6), (6, 2, 2, 6), (4, 4, 2, 2, 6), (2, 2, 4, 2, 6)),
            contours=("rise", "arch", "leap"),
            grid_beats=1.0,
            phrase_s=22.9,
            ring_s=(3.0, 5.5),
            threshold=-0.16,
            spread=0.75,
            gain=0.46,
            echoes=2,
            echo_grid_steps=3,
            harmony=0.55,
            rubato_s=0.03,
        ),
        shimmer=Shimmer(
            style="halo",
            per_minute=14,
            low_midi=84,
            high_midi=103,
            ring_s=(5.0, 8.5),
            threshold=0.02,
            spread=0.90,
            gain=0.22,
        ),
        pulse=Pulse(
            steps=(
                PulseStep(eighth=0, tone=0, threshold=0.60, accent=0.8),
                PulseStep(eighth=3, tone=1, threshold=0.70, accent=0.6),
                PulseStep(eighth=6, tone=2, threshold=0.75, accent=0.7),
                PulseStep(eighth=9, tone=3, threshold=0.80, accent=0.6),
                PulseStep(eighth=12, tone=4, threshold=0.90, accent=0.7),
            ),
            bars=2,
            low_midi=60,
            hold=2.0,
            gain=0.20,
            wander=0.2,
        ),
        air=Air(level=0.50, depth=0.35, gusts=4),
    ),
    # Stone and voices: plain triads and suspensions in five moving voices, a chant, a far bell. Pedal tones below.
    "cathedral": ScorePreset(
        chord_rates=(0.95, 0.4),
        arc=0.7,
        colour=0.4,
        brightness=0.35,
        drone=(
            DroneVoice(degree=0, octave_midi=36, threshold=0.0, gain=0.46, lag=0.0),
            DroneVoice(degree=7, octave_midi=36, threshold=0.0, gain=0.34, lag=0.5),
            DroneVoice(degree=4, octave_midi=48, threshold=0.45, gain=0.24, lag=0.25),
        ),
        pad=Pad(
            kinds={"triad": 6, "sus4": 4, "add9": 3, "sus2": 2, "seventh": 1},
            low_midi=50,
            high_midi=75,
            thresholds=(0.0, 0.0, 0.25, 0.10, 0.0),
            gain=0.40,
            tie=0.85,
            doubles=(0.55, 0.75, 0.90),
            stagger_s=2.2,
            overlap_s=1.2,
        ),
        bass=Bass(style="step", threshold=0.20, gain=0.48, inversion=0.3),
        melody=Melody(
            centre_midi=72,
            answer_shift=-1,
            reach=4,
            phrases=("c-a-", "ca-h", "c--a", "-ca-"),
            rhythms=((2, 1, 1, 2, 4), (1, 1, 1, 1, 2, 4), (3, 1, 2, 4), (2, 2, 1, 1, 4), (1, 2, 1, 2, 2, 4)),
            contours=("chant", "arch", "fall"),
            grid_beats=1.0,
            phrase_s=15.7,
            ring_s=(1.6, 5.0),
            threshold=-0.18,
            spread=0.80,
            gain=0.48,
            echoes=0,
            echo_grid_steps=4,
            harmony=0.50,
            rubato_s=0.025,
        ),
        shimmer=Shimmer(
            style="sparkle",
            per_minute=6,
            low_midi=79,
            high_midi=93,
            ring_s=(4.0, 8.0),
            threshold=0.40,
            spread=0.60,
            gain=0.20,
        ),
        pulse=Pulse(
            steps=(
                PulseStep(eighth=0, tone=0, threshold=0.45, accent=1.0),
                PulseStep(eighth=8, tone=2, threshold=0.60, accent=0.7),
                PulseStep(eighth=12, tone=1, threshold=0.80, accent=0.5),
                PulseStep(eighth=4, tone=1, threshold=0.90, accent=0.4),
            ),
            bars=2,
            low_midi=48,
            hold=4.0,
            gain=0.30,
            wander=0.15,
        ),
        air=Air(level=0.28, depth=0.12, gusts=4),
    ),
    # Water at a quay: sixth chords over a swaying bass, a low call across the bay and a small high answer.
    "harbor": ScorePreset(
        chord_rates=(0.9, 0.2),
        arc=0.45,
        colour=0.35,
        brightness=0.40,
        drone=(
            DroneVoice(degree=0, octave_midi=36, threshold=0.0, gain=0.40, lag=0.0),
            DroneVoice(degree=7, octave_midi=36, threshold=0.20, gain=0.24, lag=0.5),
        ),
        pad=Pad(
            kinds={"sixth": 4, "add9": 3, "seventh": 3, "sus4": 1, "triad": 1},
            low_midi=51,
            high_midi=71,
            thresholds=(0.0, 0.0, 0.32, 0.0),
            gain=0.36,
            tie=0.4,
            doubles=(0.70, 0.85),
            stagger_s=2.4,
            overlap_s=1.5,
        ),
        bass=Bass(style="answer", threshold=0.05, gain=0.50, inversion=0.1),
        melody=Melody(
            centre_midi=64,
            answer_shift=11,
            reach=6,
            phrases=("caca", "ca-a", "cava", "c-ah"),
            rhythms=((3, 1, 2, 2, 4), (3, 3, 2, 1, 1, 4), (3, 3, 2, 2, 5), (3, 2, 1, 2, 5), (4, 2, 1, 1, 4)),
            contours=("leap", "fall", "wave"),
            grid_beats=0.75,
            phrase_s=15.1,
            ring_s=(2.0, 4.5),
            threshold=-0.16,
            spread=0.75,
            gain=0.56,
            echoes=1,
            echo_grid_steps=6,
            harmony=0.80,
            rubato_s=0.02,
        ),
        shimmer=Shimmer(
            style="sparkle",
            per_minute=8,
            low_midi=81,
            high_midi=93,
            ring_s=(2.0, 4.0),
            threshold=0.35,
            spread=0.60,
            gain=0.20,
        ),
        pulse=Pulse(
            steps=(
                PulseStep(eighth=0, tone=0, threshold=0.20, accent=1.0),
                PulseStep(eighth=3, tone=1, threshold=0.32, accent=0.7),
                PulseStep(eighth=6, tone=2, threshold=0.45, accent=0.8),
                PulseStep(eighth=2, tone=3, threshold=0.75, accent=0.4),
                PulseStep(eighth=5, tone=2, threshold=0.85, accent=0.4),
            ),
            bars=1,
            low_midi=50,
            hold=1.8,
            gain=0.30,
            wander=0.15,
        ),
        air=Air(level=0.46, depth=0.38, gusts=12),
    ),
    # A music box by a small light: bright plain chords that change often, bells that run and return, little below.
    "lantern": ScorePreset(
        chord_rates=(1.0, 0.75),
        arc=0.5,
        colour=0.3,
        brightness=0.62,
        drone=(
            DroneVoice(degree=0, octave_midi=48, threshold=0.0, gain=0.26, lag=0.0),
            DroneVoice(degree=4, octave_midi=48, threshold=0.25, gain=0.18, lag=0.5),
        ),
        pad=Pad(
            kinds={"add9": 5, "triad": 3, "sus2": 2, "sus4": 2, "sixth": 1},
            low_midi=57,
            high_midi=76,
            thresholds=(0.0, 0.40, 0.0, 0.15),
            gain=0.26,
            tie=0.3,
            doubles=(0.80,),
            stagger_s=1.4,
            overlap_s=1.0,
        ),
        bass=Bass(style="hold", threshold=0.30, gain=0.36, inversion=0.3),
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
            contours=("wave", "arch", "leap", "fall"),
            grid_beats=0.5,
            phrase_s=9.7,
            ring_s=(1.2, 2.6),
            threshold=-0.16,
            spread=0.75,
            gain=0.52,
            echoes=1,
            echo_grid_steps=4,
            harmony=0.65,
            rubato_s=0.008,
        ),
        shimmer=Shimmer(
            style="sparkle",
            per_minute=10,
            low_midi=88,
            high_midi=100,
            ring_s=(1.5, 3.0),
            threshold=0.35,
            spread=0.60,
            gain=0.18,
        ),
        pulse=Pulse(
            steps=(
                PulseStep(eighth=0, tone=0, threshold=0.30, accent=0.9),
                PulseStep(eighth=2, tone=2, threshold=0.42, accent=0.6),
                PulseStep(eighth=4, tone=1, threshold=0.38, accent=0.7),
                PulseStep(eighth=6, tone=3, threshold=0.55, accent=0.6),
                PulseStep(eighth=1, tone=1, threshold=0.80, accent=0.4),
                PulseStep(eighth=5, tone=4, threshold=0.85, accent=0.4),
            ),
            bars=1,
            low_midi=62,
            hold=1.2,
            gain=0.24,
            wander=0.35,
        ),
        air=Air(level=0.16, depth=0.10, gusts=9),
    ),
    # Late, low and close: rich ninths and elevenths, one free voice with leaps and silences, a heartbeat at most.
    "nocturne": ScorePreset(
        chord_rates=(0.85, 0.1),
        arc=0.6,
        colour=0.6,
        brightness=0.28,
        drone=(
            DroneVoice(degree=0, octave_midi=36, threshold=0.0, gain=0.36, lag=0.0),
            DroneVoice(degree=7, octave_midi=36, threshold=0.30, gain=0.20, lag=0.5),
        ),
        pad=Pad(
            kinds={"ninth": 5, "seventh": 4, "eleventh": 3, "ninth_sus4": 2, "sixth9": 2},
            low_midi=49,
            high_midi=70,
            thresholds=(0.0, 0.15, 0.0, 0.45, 0.0),
            gain=0.34,
            tie=0.5,
            doubles=(0.75, 0.90),
            stagger_s=3.2,
            overlap_s=2.0,
        ),
        bass=Bass(style="step", threshold=0.08, gain=0.48, inversion=0.15),
        melody=Melody(
            centre_midi=72,
            answer_shift=-4,
            reach=10,
            phrases=("cah", "cv-a", "c-a", "ch-v"),
            rhythms=((3, 1, 2, 4, 8), (1, 1, 4, 2, 8), (2, 1, 1, 6, 8), (4, 3, 1, 8), (1, 3, 2, 2, 4, 8)),
            contours=("leap", "fall", "wave"),
            grid_beats=0.75,
            phrase_s=17.3,
            ring_s=(1.6, 5.0),
            threshold=-0.18,
            spread=0.70,
            gain=0.66,
            echoes=0,
            echo_grid_steps=4,
            harmony=0.60,
            rubato_s=0.05,
        ),
        shimmer=Shimmer(
            style="sparkle",
            per_minute=7,
            low_midi=79,
            high_midi=91,
            ring_s=(3.0, 6.0),
            threshold=0.45,
            spread=0.55,
            gain=0.18,
        ),
        pulse=Pulse(
            steps=(
                PulseStep(eighth=0, tone=0, threshold=0.50, accent=1.0),
                PulseStep(eighth=1, tone=0, threshold=0.65, accent=0.6),
                PulseStep(eighth=4, tone=1, threshold=0.80, accent=0.5),
                PulseStep(eighth=6, tone=2, threshold=0.90, accent=0.4),
            ),
            bars=1,
            low_midi=48,
            hold=1.2,
            gain=0.28,
            wander=0.35,
        ),
        air=Air(level=0.22, depth=0.14, gusts=5),
    ),
    # Drops on leaves: suspended sevenths under short high falling figures that never fall twice alike.
    "rainfall": ScorePreset(
        chord_rates=(1.0, 0.35),
        arc=0.8,
        colour=0.5,
        brightness=0.55,
        drone=(
            DroneVoice(degree=0, octave_midi=36, threshold=0.0, gain=0.40, lag=0.0),
            DroneVoice(degree=4, octave_midi=48, threshold=0.15, gain=0.24, lag=0.5),
        ),
        pad=Pad(
            kinds={"seventh": 4, "seventh_sus4": 4, "ninth": 3, "sus2": 3, "ninth_sus4": 1},
            low_midi=53,
            high_midi=74,
            thresholds=(0.0, 0.40, 0.0, 0.60, 0.08),
            gain=0.28,
            tie=0.7,
            doubles=(0.80,),
            stagger_s=2.6,
            overlap_s=1.8,
        ),
        bass=Bass(style="hold", threshold=0.25, gain=0.42, inversion=0.25),
        melody=Melody(
            centre_midi=83,
            answer_shift=2,
            reach=6,
            phrases=("ch-ah", "hcah", "c-hvh", "hchah"),
            rhythms=((1, 1, 2, 1, 6), (1, 1, 1, 1, 2, 5), (2, 1, 1, 1, 6), (1, 2, 1, 1, 4), (1, 1, 1, 1, 1, 6)),
            contours=("fall", "fall", "wave"),
            grid_beats=0.5,
            phrase_s=9.7,
            ring_s=(0.9, 2.4),
            threshold=-0.16,
            spread=0.80,
            gain=0.50,
            echoes=2,
            echo_grid_steps=2,
            harmony=0.85,
            rubato_s=0.03,
        ),
        shimmer=Shimmer(
            style="drops",
            per_minute=18,
            low_midi=82,
            high_midi=100,
            ring_s=(0.7, 1.6),
            threshold=0.04,
            spread=0.90,
            gain=0.30,
        ),
        pulse=Pulse(
            steps=(
                PulseStep(eighth=1, tone=2, threshold=0.35, accent=0.7),
                PulseStep(eighth=4, tone=0, threshold=0.45, accent=0.9),
                PulseStep(eighth=7, tone=3, threshold=0.55, accent=0.6),
                PulseStep(eighth=10, tone=1, threshold=0.60, accent=0.7),
                PulseStep(eighth=13, tone=4, threshold=0.75, accent=0.5),
                PulseStep(eighth=15, tone=2, threshold=0.90, accent=0.4),
            ),
            bars=2,
            low_midi=60,
            hold=1.0,
            gain=0.24,
            wander=0.5,
        ),
        air=Air(level=0.56, depth=0.22, gusts=10),
    ),
    # Open snow: bare fifths and suspensions that hardly move, wind, and now and then one bell.
    "tundra": ScorePreset(
        chord_rates=(0.15, 0.0),
        arc=0.5,
        colour=0.25,
        brightness=0.30,
        drone=(
            DroneVoice(degree=0, octave_midi=36, threshold=0.0, gain=0.56, lag=0.0),
            DroneVoice(degree=4, octave_midi=36, threshold=0.0, gain=0.40, lag=0.5),
            DroneVoice(degree=7, octave_midi=36, threshold=0.20, gain=0.30, lag=0.25),
            DroneVoice(degree=4, octave_midi=48, threshold=0.60, gain=0.18, lag=0.75),
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
        bass=Bass(style="hold", threshold=0.30, gain=0.50, inversion=0.1),
        melody=Melody(
            centre_midi=79,
            answer_shift=-4,
            reach=5,
            phrases=("c-a-", "c-a", "c-h-", "ca-v"),
            rhythms=((5, 3, 4, 2, 6), (4, 4, 2, 2, 6), (3, 3, 2, 5, 6), (5, 3, 3, 2, 6)),
            contours=("fall", "leap"),
            grid_beats=1.0,
            phrase_s=31.3,
            ring_s=(4.0, 8.0),
            threshold=-0.2,
            spread=0.7,
            gain=0.46,
            echoes=1,
            echo_grid_steps=4,
            harmony=0.85,
            rubato_s=0.04,
        ),
        shimmer=Shimmer(
            style="halo",
            per_minute=5,
            low_midi=79,
            high_midi=96,
            ring_s=(7.0, 12.0),
            threshold=0.25,
            spread=0.70,
            gain=0.18,
        ),
        pulse=Pulse(
            steps=(
                PulseStep(eighth=0, tone=0, threshold=0.60, accent=1.0),
                PulseStep(eighth=8, tone=1, threshold=0.75, accent=0.6),
                PulseStep(eighth=12, tone=2, threshold=0.90, accent=0.4),
            ),
            bars=2,
            low_midi=43,
            hold=3.0,
            gain=0.30,
            wander=0.1,
        ),
        air=Air(level=0.62, depth=0.42, gusts=6),
    ),
}
"""By the names of `services.contract.spec.PRESETS`."""
