"""Pure. Rooms: how long they ring at which frequency, and their responses as filtered noise that decays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.synthesis.dsp.grid import QUARTER_BLOCK, QUARTER_HZ, RESPONSE_S

Floats = NDArray[np.float64]

_RT60_HZ: Final = (150.0, 800.0, 3_500.0)
"""Where `Room` gives the decay; in between it is linear over octaves."""
_AIR: Final = 0.7
"""Power of the frequency with which decays grow shorter above the last of _RT60_HZ."""
_TILT_FROM_HZ: Final = 250.0
_TILT_OCTAVES: Final = 4.0
"""`Room.tilt_db` is reached this many octaves above _TILT_FROM_HZ, at 4 kHz."""
_TILT_RANGE: Final = (-0.5, 1.2)
"""The tilt levels out at these multiples of `Room.tilt_db`."""
_BANDS_HZ: Final = (60.0, 5_600.0)
_BAND_OCTAVES: Final = 0.5
"""The response is shaped in bands of this width from 60 Hz up, each with its own decay."""
_REFLECTIONS: Final = 9
_EARLY_S: Final = (0.012, 0.09)
"""First reflections of each channel, and when they come."""
_FADE_S: Final = 0.3
"""The response's end fades out over this time."""


@dataclass(frozen=True, slots=True)
class Room:
    """What a room sounds like; `impulse_response` makes it.

    Attributes:
        rt60_low_s, rt60_mid_s, rt60_high_s: decay to -60 dB at 150 Hz, 800 Hz and 3.5 kHz; up to about 8 s fit.
        bloom_s: how long the response swells before it decays; a long bloom is soft and far away.
        cut_low_hz: high-pass, 24 dB an octave.
        tilt_db: level at 4 kHz relative to 250 Hz.
        early_db: level of the first reflections, 12 to 90 ms after the sound, relative to the tail.
        width: 0 (mono) to 1 (left and right unrelated).
        seed: chooses one of the rooms with equal values.
    """

    rt60_low_s: float = 2.2
    rt60_mid_s: float = 2.0
    rt60_high_s: float = 1.1
    bloom_s: float = 0.03
    cut_low_hz: float = 120.0
    tilt_db: float = -9.0
    early_db: float = -4.0
    width: float = 0.9
    seed: int = 1


def level(room: Room, hz: Floats) -> Floats:
    """What a room does to the level of a tone of `hz` before it decays: linear, besides a factor."""
    octave = np.log2(np.maximum(hz, 20.0))
    tilt_db = room.tilt_db * np.clip((octave - np.log2(_TILT_FROM_HZ)) / _TILT_OCTAVES, *_TILT_RANGE)
    cut = 1.0 / (1.0 + (room.cut_low_hz / np.maximum(hz, 1e-3)) ** 4)
    return np.asarray(10.0 ** (tilt_db / 20.0) * cut)


def rt60_s(room: Room, hz: Floats) -> Floats:
    """Time in which a tone of `hz` decays to -60 dB. Above 3.5 kHz air takes a growing share of it."""
    decay_s = np.interp(np.log2(hz), np.log2(_RT60_HZ), [room.rt60_low_s, room.rt60_mid_s, room.rt60_high_s])
    return np.asarray(decay_s * np.minimum(_RT60_HZ[-1] / hz, 1.0) ** _AIR)


def impulse_response(room: Room) -> Floats:
    """The room's response, float64 [2, RESPONSE_S * QUARTER_BLOCK] at the quarter rate; each channel has energy 1."""
    frames = RESPONSE_S * QUARTER_BLOCK
    # Philox is named so that every machine and numpy makes the same room.
    generator = np.random.Generator(np.random.Philox(key=room.seed))
    noise = generator.standard_normal((3, frames))
    shared = np.sqrt(1.0 - room.width)
    noise = np.stack(
        [shared * noise[2] + np.sqrt(room.width) * noise[0], shared * noise[2] + np.sqrt(room.width) * noise[1]]
    )
    time_s = np.arange(frames) / QUARTER_HZ
    size = 2 * frames
    spectrum = np.fft.rfft(noise, n=size)
    hz = np.fft.rfftfreq(size, 1.0 / QUARTER_HZ)
    octave = np.log2(np.maximum(hz, 20.0))
    shape = level(room, hz)
    shaped = spectrum * shape

    # Each band has its own decay: highs die first, as in air.
    centres = np.arange(np.log2(_BANDS_HZ[0]), np.log2(_BANDS_HZ[1]), _BAND_OCTAVES)
    decay_s = rt60_s(room, 2.0**centres)
    result = np.zeros((2, frames))
    for index, centre in enumerate(centres):
        weight = np.clip(1.0 - np.abs(octave - centre) / _BAND_OCTAVES, 0.0, 1.0)
        if index == 0:
            weight = np.where(octave < centre, 1.0, weight)
        if index == len(centres) - 1:
            weight = np.where(octave > centre, 1.0, weight)
        band = np.fft.irfft(shaped * weight, n=size)[:, :frames]
        result += band * 10.0 ** (-3.0 * time_s / decay_s[index])
    bloom = np.clip(time_s / room.bloom_s, 0.0, 1.0)
    fade = np.clip((frames - np.arange(frames)) / (_FADE_S * QUARTER_HZ), 0.0, 1.0)
    result *= (np.sin(0.5 * np.pi * bloom) ** 2) * (fade * fade * (3.0 - 2.0 * fade))
    result /= np.sqrt(np.sum(result**2, axis=1, keepdims=True))
    result += 10.0 ** (room.early_db / 20.0) * _early(generator, shape, size)[:, :frames]
    result -= result.mean(axis=1, keepdims=True)
    return np.asarray(result / np.sqrt(np.sum(result**2, axis=1, keepdims=True)), dtype=np.float64)


def _early(generator: np.random.Generator, shape: Floats, size: int) -> Floats:
    """The first reflections: float64 [2, size], each channel of energy 1."""
    clicks = np.zeros((2, size))
    for channel in range(2):
        time_s = np.sort(generator.uniform(*_EARLY_S, _REFLECTIONS))
        sign = np.where(generator.random(_REFLECTIONS) < 0.5, -1.0, 1.0)
        clicks[channel, np.rint(time_s * QUARTER_HZ).astype(int)] = sign * (_EARLY_S[0] / time_s) ** 0.7
    sound = np.fft.irfft(np.fft.rfft(clicks) * shape, n=size)
    return np.asarray(sound / np.sqrt(np.sum(sound**2, axis=1, keepdims=True)), dtype=np.float64)
