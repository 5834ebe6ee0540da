"""From a recorded note to the complex envelopes of its partials. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scripts.instruments.recording import HELD_S, LEAD_S, RATE_HZ

POINT_FRAMES: Final = 252
POINTS_HZ: Final = RATE_HZ // POINT_FRAMES
"""175 points a second: the control points of the renderer."""
TOP_HZ: Final = 11_000.0
EARLY_POINTS: Final = 2
"""Points that a table begins before its note."""

_WIDEST_HZ: Final = 80.0
"""Half of the band of a partial at most: half of the rate of the points, less a slope."""
_SHARE: Final = 0.45
"""Half of the band of a partial at most, of the distance to its neighbour."""
_AUDIBLE_DB: Final = -62.0
"""Peaks below this, against the highest, are no partials."""


@dataclass(frozen=True, slots=True)
class MeasuredNote:
    """One note at one velocity.

    Attributes:
        hz: float64 [rows], mean frequency of each partial.
        envelope: complex128 [rows, points] of each partial against `hz`.
    """

    hz: NDArray[np.float64]
    envelope: NDArray[np.complex128]


def nominal_hz(pitch: int) -> float:
    """Frequency of a MIDI pitch."""
    return float(440.0 * 2.0 ** ((pitch - 69) / 12))


def partials_hz(sound: NDArray[np.float64], pitch: int, *, sustained: bool, rows: int) -> NDArray[np.float64]:
    """Frequencies of a note's partials, rising.

    Args:
        sound: the recording.
        pitch: MIDI pitch.
        sustained: harmonics of the pitch; otherwise the peaks of the spectrum.
        rows: how many at most.
    """
    hz = nominal_hz(pitch)
    if sustained:
        return hz * np.arange(1, min(rows, int(TOP_HZ / hz)) + 1)
    begin = round((LEAD_S + 0.02) * RATE_HZ)
    piece = sound[begin : begin + round(1.5 * RATE_HZ)]
    size = 2**18
    spectrum = np.abs(np.fft.rfft(piece * np.hanning(2 * len(piece))[len(piece) :], size))
    grid_hz = np.fft.rfftfreq(size, 1.0 / RATE_HZ)
    level_db = 20.0 * np.log10(spectrum + 1e-12)
    inner = (level_db[1:-1] > level_db[:-2]) & (level_db[1:-1] >= level_db[2:])
    places = np.flatnonzero(inner & (grid_hz[1:-1] > 0.7 * hz) & (grid_hz[1:-1] < TOP_HZ)) + 1
    places = places[np.argsort(-level_db[places], kind="stable")]
    places = places[level_db[places] > level_db[places[0]] + _AUDIBLE_DB]
    found: list[float] = []
    for place in places:
        if all(abs(grid_hz[place] - other) > 0.6 * hz for other in found):
            found.append(float(grid_hz[place]))
        if len(found) == rows:
            break
    return np.sort(np.array(found))


def envelopes(sound: NDArray[np.float64], hz: NDArray[np.float64], points: int) -> NDArray[np.complex128]:
    """Heterodyne: the complex envelope of each partial, low-passed, at POINTS_HZ.

    Args:
        sound: the recording.
        hz: frequencies.
        points: how many points, from EARLY_POINTS before the note.

    Returns:
        complex128 [rows, points]; its real part times cosine less its imaginary part times sine is the partial.
    """
    count = len(sound) // POINT_FRAMES
    frames = count * POINT_FRAMES
    spectrum = np.fft.fft(sound[:frames])
    step_hz = RATE_HZ / frames
    gaps = np.diff(hz, prepend=0.0, append=2.0 * hz[-1] - (hz[-2] if len(hz) > 1 else 0.0))
    result = np.empty((len(hz), points), dtype=np.complex128)
    first = round(LEAD_S * POINTS_HZ) - EARLY_POINTS
    bins = np.fft.fftfreq(count, 1.0 / count).astype(int)
    time = np.arange(count) / POINTS_HZ
    for row, partial_hz in enumerate(hz):
        half = min(_SHARE * min(gaps[row], gaps[row + 1]), _WIDEST_HZ)
        centre = round(partial_hz / step_hz)
        away = np.abs(bins * step_hz) / half
        # Flat in the middle, a quarter of a cosine at the edge.
        weight = np.cos(0.5 * np.pi * np.clip((away - 0.8) / 0.2, 0.0, 1.0)) ** 2
        envelope = np.fft.ifft(spectrum[(centre + bins) % frames] * weight) * (2.0 / POINT_FRAMES)
        # From the bin's frequency to the partial's own.
        envelope *= np.exp(2j * np.pi * (centre * step_hz * time - partial_hz * (time - time[first])))
        result[row] = envelope[first : first + points]
    return result


def measure(sound: NDArray[np.float64], hz: NDArray[np.float64], points: int, steady: slice) -> MeasuredNote:
    """Envelopes of a note, with each partial's frequency moved to its mean in `steady`."""
    envelope = envelopes(sound, hz, points)
    part = envelope[:, steady]
    # Weighted by the power: where a partial is strong its phase is certain.
    turn = np.angle((part[:, 1:] * part[:, :-1].conj()).sum(axis=1)) / (2.0 * np.pi)
    time = np.arange(points)
    moved = envelope * np.exp(-2j * np.pi * turn[:, None] * time)
    return MeasuredNote(hz + turn * POINTS_HZ, moved)


def resynthesis(note: MeasuredNote, frames: int) -> NDArray[np.float64]:
    """The sum of the partials, float64 [frames], from EARLY_POINTS before the note: what a player makes of a table."""
    points = note.envelope.shape[1]
    place = np.arange(frames) / POINT_FRAMES
    size, turn = np.abs(note.envelope), np.unwrap(np.angle(note.envelope)) / (2.0 * np.pi)
    total = np.zeros(frames)
    for row, hz in enumerate(note.hz):
        gain = np.interp(place, np.arange(points), size[row], right=0.0)
        phase = np.interp(place, np.arange(points), turn[row])
        total += gain * np.cos(2.0 * np.pi * (phase + hz * np.arange(frames) / RATE_HZ))
    return total


def release_s(sound: NDArray[np.float64]) -> float:
    """Seconds in which the note falls by 60 dB after the key is let go, 0.05 to 4."""
    step = POINT_FRAMES
    power = (sound[: len(sound) // step * step].reshape(-1, step) ** 2).mean(axis=1)
    level_db = 10.0 * np.log10(power + 1e-18)
    end = round((LEAD_S + HELD_S) * POINTS_HZ)
    before = float(np.median(level_db[end - 40 : end]))
    below = np.flatnonzero(level_db[end:] < before - 20.0)
    # Three times the time of the first 20 dB.
    seconds = 3.0 * float(below[0]) / POINTS_HZ if len(below) else 4.0
    return float(np.clip(seconds, 0.05, 4.0))
