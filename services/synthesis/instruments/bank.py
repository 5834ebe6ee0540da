"""Pure. All measured tones side by side in memory, as the kernels read them, and the paths along which they are read.

A tone is read once through, and from its end back and forth between places drawn by chance, so that no loop is heard:
where the direction turns, level and phase go on without a step. A path lists which point is read at each age.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.synthesis.dsp.control import PATH_POINTS, TURN
from services.synthesis.instruments.table import POINTS_HZ, MeasuredInstrument, MeasuredTone

Floats = NDArray[np.float64]

VARIANTS: Final = 8
"""Paths through tones of one length."""
LATEST_START: Final = 8_000
"""How far into its path a tone may begin, in points."""
REST_POINTS: Final = 16
"""Points between two entries of `Tones.rest`."""
SHORTEST_LEG: Final = 90
"""Points that are read in one direction at least: half a second."""

PATH_STEPS: Final = PATH_POINTS + LATEST_START
"""Points of a path."""
_SEED: Final = 0x5EED
_SILENT: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Tones:
    """The measured notes of one instrument, low to high; where a note has fewer partials than others, silent ones.

    Attributes:
        sustained: it sounds as long as the key is held.
        midi: float64 [tones]: pitch that was recorded.
        ratio: float64 [tones, partials]: frequency by the note's; 1 where there is no partial.
        fade: float64 [tones, partials]: a 64th of the rate of its decay per point.
        soft_db: float64 [tones, partials]: see `MeasuredTone`.
        loudest: float64 [tones, partials]: largest amplitude; 0 where there is no partial.
        steady: float64 [tones, partials]: RMS amplitude in the part that is read back and forth.
        rest: float64 [tones, RESTS, partials]: largest amplitude from each REST_POINTS-th point to the table's end.
        later: float64 [tones, partials]: largest number in the part that is read back and forth, decay taken out.
        entry: int64 [tones]: the first number of the tone in `Bank.measured`.
        stride: int64 [tones]: numbers of a point.
        points: int64 [tones]: see `MeasuredTone`.
        path: int64 [tones]: where the first of its VARIANTS paths begins in `Bank.paths`.
        release_s: float64 [tones]: to -60 dB.
    """

    sustained: bool
    midi: Floats
    ratio: Floats
    fade: Floats
    soft_db: Floats
    loudest: Floats
    steady: Floats
    rest: Floats
    later: Floats
    entry: NDArray[np.int64]
    stride: NDArray[np.int64]
    points: NDArray[np.int64]
    path: NDArray[np.int64]
    release_s: Floats


@dataclass(frozen=True, slots=True)
class Bank:
    """What the kernels read, and where everything lies in it.

    Attributes:
        measured: int32 [numbers]: amplitudes, decay taken out, and phases, as `control.amplitude_of` and `turn_of`
            read them; the first is amplitude 1 and phase 0.
        paths: int32 [steps].
        instruments: by the names of their tables.
    """

    measured: NDArray[np.int32]
    paths: NDArray[np.int32]
    instruments: Mapping[str, Tones]


def build_bank(instruments: Sequence[MeasuredInstrument]) -> Bank:
    """The bank of some instruments."""
    measured = [words_of(np.ones((1, 1)), np.zeros((1, 1)))]
    paths: list[NDArray[np.int32]] = []
    begins: dict[tuple[int, int], int] = {}
    found: dict[str, Tones] = {}
    entry = 1
    for instrument in instruments:
        entries = []
        for tone in instrument.tones:
            key = (tone.loop, tone.points)
            if key not in begins:
                begins[key] = len(begins) * VARIANTS * PATH_STEPS
                paths += [path_through(tone.loop, tone.points, variant) for variant in range(VARIANTS)]
            measured.append(words_of(_without_own_decay(tone), tone.phase))
            entries.append(entry)
            entry += tone.amplitude.size
        found[instrument.name] = _tones(instrument, entries, begins)
    return Bank(np.concatenate(measured), np.concatenate(paths), found)


def _tones(instrument: MeasuredInstrument, entries: list[int], begins: Mapping[tuple[int, int], int]) -> Tones:
    tones = instrument.tones
    width = max(len(tone.ratio) for tone in tones)

    def filled(rows: list[Floats], empty: float) -> Floats:
        return np.stack([np.pad(row, (0, width - len(row)), constant_values=empty) for row in rows])

    return Tones(
        sustained=instrument.sustained,
        midi=np.array([float(tone.midi) for tone in tones]),
        ratio=filled([tone.ratio for tone in tones], 1.0),
        fade=filled([fade_rate(tone.decay_db_s) for tone in tones], 0.0),
        soft_db=filled([tone.soft_db for tone in tones], 0.0),
        loudest=filled([tone.amplitude.max(axis=0).astype(np.float64) for tone in tones], 0.0),
        steady=filled(
            [np.sqrt((tone.amplitude[tone.loop :].astype(np.float64) ** 2).mean(axis=0)) for tone in tones], 0.0
        ),
        rest=_rests(tones, width),
        later=filled([_without_own_decay(tone)[tone.loop :].max(axis=0) for tone in tones], 0.0),
        entry=np.array(entries),
        stride=np.array([len(tone.ratio) for tone in tones]),
        points=np.array([tone.points for tone in tones]),
        path=np.array([begins[tone.loop, tone.points] for tone in tones]),
        release_s=np.array([tone.release_s for tone in tones]),
    )


def _without_own_decay(tone: MeasuredTone) -> Floats:
    return without_decay(tone, fade_rate(tone.decay_db_s))


def _rests(tones: Sequence[MeasuredTone], width: int) -> Floats:
    """See `Tones.rest`; after a table's end, 0."""
    steps = max(-(-tone.points // REST_POINTS) for tone in tones)
    result = np.zeros((len(tones), steps, width))
    for number, tone in enumerate(tones):
        rest = np.maximum.accumulate(tone.amplitude[::-1], axis=0)[::-1][::REST_POINTS]
        result[number, : len(rest), : rest.shape[1]] = rest
    return result


def words_of(amplitude: NDArray[np.floating], phase: NDArray[np.floating]) -> NDArray[np.int32]:
    """Amplitudes and phases (in cycles, within 127) as words of the kernels: int32 [points * partials]."""
    upper = (np.ascontiguousarray(amplitude, dtype=np.float32).view(np.uint32) + np.uint32(0x8000)) & np.uint32(
        0xFFFF0000
    )
    lower = (np.rint(np.clip(phase, -127.0, 127.0) / TURN).astype(np.int64) & 0xFFFF).astype(np.uint32)
    return np.asarray((upper | lower).view(np.int32).reshape(-1))


def fade_rate(decay_db_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """A 64th of the exponential's rate per point, for a decay in decibels a second."""
    return np.asarray(decay_db_s * (np.log(10.0) / 20.0 / 64.0 / POINTS_HZ))


def without_decay(tone: MeasuredTone, fade: NDArray[np.float64]) -> NDArray[np.float64]:
    """Amplitudes, float64 [points, partials], that give the tone's own when (1 - age * fade)^64 is put on them."""
    decay = np.clip(1.0 - np.arange(tone.points)[:, None] * fade, 0.0, 1.0) ** 64
    return np.where(decay > _SILENT, tone.amplitude / np.maximum(decay, _SILENT), 0.0)


def path_through(loop: int, points: int, variant: int) -> NDArray[np.int32]:
    """One path: int32 [PATH_POINTS + LATEST_START], once through the table and then back and forth behind `loop`."""
    generator = np.random.Generator(np.random.Philox(key=_SEED + variant))
    last = points - 1
    middle = (loop + last) // 2
    half = SHORTEST_LEG // 2
    legs: list[NDArray[np.int32]] = []
    place, direction, left = 0, 1, PATH_STEPS
    while left > 0:
        if direction > 0:
            turn = int(generator.integers(middle + half, last + 1)) if legs else last
        else:
            turn = int(generator.integers(loop, middle - half + 1))
        leg = np.arange(place, turn, direction, dtype=np.int32)[:left]
        legs.append(leg)
        left -= len(leg)
        place, direction = turn, -direction
    return np.concatenate(legs)
