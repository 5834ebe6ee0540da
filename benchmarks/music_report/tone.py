"""Tone: how many spectral peaks there are, how much a band moves, how the spectrum falls. Pure."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from benchmarks.music_report.sound import Levels, Sound, band, levels_db

_FRAMES: Final = 4096
"""Of a spectrum: bins of 10.8 Hz at 44.1 kHz."""
_PEAK_WINDOW_S: Final = 60.0
_PEAK_PROMINENCE_DB: Final = 4.0
"""How far a peak stands out on both sides; averaged noise ripples by less than 1 dB."""
_PEAK_RANGE_DB: Final = 50.0
_PEAK_LOW_HZ: Final = 40.0
_PEAK_HIGH_HZ: Final = 10_000.0
_MOVE_HZ: Final = 500.0
_MOVE_STEP_S: Final = 0.1
_SLOPE_LOW_HZ: Final = 200.0
_SLOPE_HIGH_HZ: Final = 8_000.0


def peaks(sound: Sound) -> float:
    """Peaks of the mean spectrum within 50 dB of the highest one, from 40 Hz to 10 kHz, that stand out by 4 dB or more.

    Spectra of 4,096 frames (Hann, half overlapped) are averaged over each minute; the median of the minutes counts.
    Sound shorter than a minute is one window. Lines that stand closer than about 30 Hz are one peak.
    """
    found = []
    for window in sound.cut(_PEAK_WINDOW_S) or [sound]:
        hz, power_db = spectrum_db(window)
        heard = power_db[(hz >= _PEAK_LOW_HZ) & (hz <= _PEAK_HIGH_HZ)]
        places, _ = signal.find_peaks(heard, height=heard.max() - _PEAK_RANGE_DB, prominence=_PEAK_PROMINENCE_DB)
        found.append(len(places))
    return float(np.median(found))


def movement_db(sound: Sound, centre_hz: float = _MOVE_HZ) -> float:
    """Standard deviation, in dB, of the level of the octave around `centre_hz` in steps of 100 ms (mono)."""
    octave = band(sound.mono, sound.rate_hz, centre_hz / 2**0.5, centre_hz * 2**0.5)
    return float(levels_db(octave, sound.rate_hz, _MOVE_STEP_S).std())


def slope_db(sound: Sound) -> float:
    """Slope of the long-term spectrum from 200 Hz to 8 kHz, in dB per octave of power per hertz (pink noise: -3).

    A line through the levels of third octaves, each with the same weight.
    """
    hz, power_db = spectrum_db(sound)
    power = 10.0 ** (power_db / 10.0)
    centres = _SLOPE_LOW_HZ * 2.0 ** np.arange(0.0, np.log2(_SLOPE_HIGH_HZ / _SLOPE_LOW_HZ) + 0.01, 1 / 3)
    levels = [
        10.0 * np.log10(power[(hz >= centre * 2 ** (-1 / 6)) & (hz < centre * 2 ** (1 / 6))].mean())
        for centre in centres
    ]
    return float(np.polyfit(np.log2(centres), levels, 1)[0])


def spectrum_db(sound: Sound, frames: int = _FRAMES) -> tuple[NDArray[np.float64], Levels]:
    """Mean spectrum in mono: frequencies in Hz, and dB where a full-scale sine is -3 dB."""
    mono = sound.mono
    frames = min(frames, len(mono))
    hz, power = signal.welch(mono, sound.rate_hz, "hann", frames, frames // 2, scaling="spectrum")
    return hz, np.asarray(10.0 * np.log10(power + 1e-20))
