"""Pure. Scales, chords and their names.

Pitches are in the key of C until a section is finished. A *degree* counts steps of the scale: 0 is the tonic, 7 the
tonic an octave above, -1 the step below it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from services.contract.spec import MODES

TONIC_MIDI: Final = 60
"""Degree 0 as a MIDI number: middle C."""

BY_BRIGHTNESS: Final = ("lydian", "ionian", "mixolydian", "dorian", "aeolian", "phrygian", "locrian")
"""The modes from bright to dark. Neighbours differ in one note: the darker mode has it a semitone lower."""

_PARENT_DEGREE: Final[Mapping[str, int]] = {mode: step for step, mode in enumerate(MODES)}
_IONIAN: Final = (0, 2, 4, 5, 7, 9, 11)

SCALES: Final[Mapping[str, tuple[int, ...]]] = {
    mode: tuple((_IONIAN[(start + step) % 7] - _IONIAN[start]) % 12 for step in range(7))
    for mode, start in _PARENT_DEGREE.items()
}
"""The seven semitones above the tonic of each mode."""

CHARACTERISTIC: Final[Mapping[str, int]] = {
    "lydian": 3,  # the raised fourth
    "ionian": 6,  # the leading tone
    "mixolydian": 6,  # the lowered seventh under a major third
    "dorian": 5,  # the major sixth over a minor third
    "aeolian": 5,  # the minor sixth
    "phrygian": 1,  # the lowered second
    "locrian": 4,  # the lowered fifth
}
"""The degree by which the ear tells a mode from its neighbours."""

KINDS: Final[Mapping[str, tuple[int, ...]]] = {
    "open": (0, 4),
    "triad": (0, 2, 4),
    "sus2": (0, 1, 4),
    "sus4": (0, 3, 4),
    "add9": (0, 1, 2, 4),
    "sixth": (0, 2, 4, 5),
    "sixth9": (0, 1, 2, 4, 5),
    "seventh": (0, 2, 4, 6),
    "seventh_sus2": (0, 1, 4, 6),
    "seventh_sus4": (0, 3, 4, 6),
    "ninth": (0, 1, 2, 4, 6),
    "ninth_sus4": (0, 1, 3, 4, 6),
    "eleventh": (0, 2, 3, 4, 6),
}
"""How chords are built: degrees above the root."""

QUALITIES: Final[Mapping[tuple[int, ...], str]] = {
    (0, 7): "5",
    (0, 4, 7): "",
    (0, 3, 7): "m",
    (0, 3, 6): "dim",
    (0, 2, 7): "sus2",
    (0, 5, 7): "sus4",
    (0, 2, 4, 7): "add9",
    (0, 2, 3, 7): "madd9",
    (0, 4, 7, 9): "6",
    (0, 3, 7, 9): "m6",
    (0, 2, 4, 7, 9): "69",
    (0, 2, 3, 7, 9): "m69",
    (0, 4, 7, 11): "maj7",
    (0, 3, 7, 10): "m7",
    (0, 4, 7, 10): "7",
    (0, 3, 6, 10): "m7b5",
    (0, 2, 7, 11): "maj7sus2",
    (0, 2, 7, 10): "7sus2",
    (0, 5, 7, 10): "7sus4",
    (0, 2, 4, 7, 11): "maj9",
    (0, 2, 3, 7, 10): "m9",
    (0, 2, 4, 7, 10): "9",
    (0, 2, 5, 7, 10): "9sus4",
    (0, 1, 5, 7, 10): "7sus4b9",
    (0, 4, 6, 7, 11): "maj7#11",
    (0, 3, 5, 7, 10): "m7add11",
    (0, 3, 5, 6, 10): "m7b5add11",
}
"""The chords that are used, by their semitones above the root, and their names. All others are too harsh to rest on."""

_DARK_TONICS: Final = ("dim", "m7b5", "m7b5add11", "7sus4b9")

_SHARPS: Final = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_FLATS: Final = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
_FLAT_PARENTS: Final = (5, 10, 3, 8, 1)  # F, Bb, Eb, Ab, Db major


def semitones(mode: str, degree: int) -> int:
    """Semitones from the tonic to `degree` of `mode`; negative below the tonic."""
    octave, step = divmod(degree, 7)
    return SCALES[mode][step] + 12 * octave


def chord_intervals(mode: str, root: int, kind: str) -> tuple[int, ...] | None:
    """Semitones above the chord's root, sorted; None if this chord is not used.

    Args:
        root: degree, 0 to 6.
        kind: a name of `KINDS`.
    """
    base = semitones(mode, root)
    intervals = tuple(sorted((semitones(mode, root + step) - base) % 12 for step in KINDS[kind]))
    quality = QUALITIES.get(intervals)
    if quality is None:
        return None
    # Diminished and flat-nine chords can rest on the tonic of the two darkest modes, and nowhere else.
    if quality in _DARK_TONICS and (root != 0 or mode not in ("phrygian", "locrian")):
        return None
    return intervals


def note_name(pitch_class: int, tonic: int, mode: str) -> str:
    """The name of a pitch class, with flats if the key's signature has flats.

    Args:
        pitch_class: semitones above C, in any octave.
        tonic: pitch class of the tonic, 0 (C) to 11 (B).
    """
    parent = (tonic - _IONIAN[_PARENT_DEGREE[mode]]) % 12
    return (_FLATS if parent in _FLAT_PARENTS else _SHARPS)[pitch_class % 12]


def chord_name(tonic: int, mode: str, root: int, intervals: tuple[int, ...], bass: int) -> str:
    """A chord's name for people: `Dm9`, `Gsus2/D`.

    Args:
        tonic: pitch class of the tonic.
        mode: whose scale the chord is taken from.
        root: degree of the chord's root.
        intervals: semitones above the root, a key of `QUALITIES`.
        bass: semitones from the tonic to the bass note.
    """
    root_class = (tonic + semitones(mode, root)) % 12
    bass_class = (tonic + bass) % 12
    name = note_name(root_class, tonic, mode) + QUALITIES[intervals]
    return name if bass_class == root_class else f"{name}/{note_name(bass_class, tonic, mode)}"
