"""Measurements of sound: levels, silence, and a float64 reference of the voices. Clicks: tests/support/clicks.py."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import resample_poly

from services.contract.timebase import BLOCK_FRAMES, CHANNELS, SAMPLE_RATE_HZ
from services.synthesis.dsp.control import PATH_POINTS, WORDS, Column, Word
from services.synthesis.dsp.grid import GUARD_INTERVALS, INTERVAL_FRAMES, QUARTER
from services.synthesis.instruments.bank import words_of

FloatArray = NDArray[np.float64]


def db(ratio: float) -> float:
    return 20.0 * math.log10(max(ratio, 1e-30))


def difference_db(a: NDArray[np.generic], b: NDArray[np.generic]) -> float:
    """Largest difference between two signals of full scale 1."""
    return db(float(np.max(np.abs(np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)))))


def as_sound(pcm: NDArray[np.int16]) -> FloatArray:
    """int16 blocks as float64 [frames, 2]."""
    return pcm.reshape(-1, CHANNELS).astype(np.float64) / 32768.0


def true_peak_db(sound: FloatArray) -> float:
    """The highest level between the samples too, in dBTP, by four times oversampling; a piece at a time."""
    peak = 0.0
    piece, margin = 10 * SAMPLE_RATE_HZ, 512
    for begin in range(0, len(sound), piece):
        part = sound[max(begin - margin, 0) : begin + piece + margin]
        peak = max(peak, float(np.abs(resample_poly(part, 4, 1, axis=0)).max()))
    return db(peak)


def longest_silence_s(sound: FloatArray, below_db: float = -60.0) -> float:
    """The longest time in which windows of 20 ms stay below a level."""
    frames = SAMPLE_RATE_HZ // 50
    windows = len(sound) // frames
    quiet = (sound[: windows * frames].reshape(windows, -1) ** 2).mean(axis=1) < 10.0 ** (below_db / 10.0)
    longest = run = 0
    for silent in quiet.tolist():
        run = run + 1 if silent else 0
        longest = max(longest, run)
    return longest / 50.0


def reference_voices(
    parameters: NDArray[np.float32], phases: NDArray[np.int32], *, first: int, intervals: int, step_frames: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Left, right and send of one row by the definition, in float64: intervals `first` on, a sample each `step_frames`.

    Values are exact at control points and linear in between, as the design says; nothing is shared with the kernels.
    """
    samples = round(INTERVAL_FRAMES / step_frames)
    offset = np.arange(samples) * step_frames / INTERVAL_FRAMES
    out = np.zeros((3, intervals * samples))
    for row, (start, increment) in zip(parameters.astype(np.float64), phases, strict=True):
        states = [_state(row, float(point * INTERVAL_FRAMES)) for point in range(first, first + intervals + 1)]
        for index in range(intervals):
            here, there = states[index], states[index + 1]
            whole = (int(start) + int(increment) * INTERVAL_FRAMES * (first + index)) % 2**32
            turn = whole / 2**32 + int(increment) / 2**32 * INTERVAL_FRAMES * offset
            turn = turn + here[0] + (there[0] - here[0]) * offset
            wave = np.cos(2.0 * np.pi * turn)
            for channel in range(3):
                gain = here[1 + channel] + (there[1 + channel] - here[1 + channel]) * offset
                out[channel, index * samples : (index + 1) * samples] += wave * gain
    return out[0], out[1], out[2]


def _state(row: FloatArray, frame: float) -> tuple[float, float, float, float]:
    age = frame - row[Column.ONSET]
    rise = min(max(age * row[Column.ATTACK_RATE], 0.0), 1.0)
    decay = (1.0 - min(max(age * row[Column.DECAY_RATE], 0.0), 1.0)) ** 4
    fall = (1.0 - min(max((age - row[Column.HOLD]) * row[Column.RELEASE_RATE], 0.0), 1.0)) ** 3
    envelope = rise**2 * (3.0 - 2.0 * rise) * (row[Column.SUSTAIN] + (1.0 - row[Column.SUSTAIN]) * decay) * fall
    gains = []
    for phase, gain in ((Column.SWELL_PHASE_LEFT, Column.GAIN_LEFT), (Column.SWELL_PHASE_RIGHT, Column.GAIN_RIGHT)):
        swell = math.cos(2.0 * math.pi * (age * row[Column.SWELL_RATE] + row[phase]))
        gains.append(envelope * (1.0 + row[Column.SWELL_DEPTH] * swell) * row[gain])
    vibrato = row[Column.VIBRATO_DEPTH] * math.cos(
        2.0 * math.pi * (age * row[Column.VIBRATO_RATE] + row[Column.VIBRATO_PHASE])
    )
    return vibrato, gains[0], gains[1], envelope * row[Column.GAIN_SEND]


def some_partials(
    count: int, *, low_hz: float, high_hz: float, seed: int = 1
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Parameters [count, COLUMNS] and phases [count, 2] of notes in all stages of their lives around a block."""
    random = np.random.default_rng(seed)
    parameters = np.zeros((count, len(Column)), dtype=np.float32)
    parameters[:, Column.ONSET] = np.round(random.uniform(-4 * BLOCK_FRAMES, 0.9 * BLOCK_FRAMES, count))
    parameters[:, Column.ATTACK_RATE] = 1.0 / random.uniform(500, 60_000, count)
    parameters[:, Column.DECAY_RATE] = random.choice([0.0, 1.0 / 200_000], count)
    parameters[:, Column.SUSTAIN] = random.uniform(0, 1, count)
    parameters[:, Column.HOLD] = np.round(random.uniform(10_000, 200_000, count))
    parameters[:, Column.RELEASE_RATE] = 1.0 / random.uniform(10_000, 100_000, count)
    for column in (Column.GAIN_LEFT, Column.GAIN_RIGHT, Column.GAIN_SEND):
        parameters[:, column] = random.uniform(0, 1.0 / count, count)
    parameters[:, Column.SWELL_DEPTH] = random.uniform(0, 0.5, count)
    parameters[:, Column.SWELL_RATE] = random.uniform(0.05, 1.0, count) / 44_100
    parameters[:, Column.SWELL_PHASE_LEFT] = random.uniform(0, 1, count)
    parameters[:, Column.SWELL_PHASE_RIGHT] = random.uniform(0, 1, count)
    parameters[:, Column.VIBRATO_DEPTH] = random.uniform(0, 0.5, count)
    parameters[:, Column.VIBRATO_RATE] = random.uniform(0.1, 5.0, count) / 44_100
    parameters[:, Column.VIBRATO_PHASE] = random.uniform(0, 1, count)
    hz = np.exp(random.uniform(math.log(low_hz), math.log(high_hz), count))
    phases = np.stack((random.integers(-(2**31), 2**31, count), np.round(hz / 44_100 * 2**32)), axis=1)
    return parameters, phases.astype(np.int64).astype(np.int32)


def expanded(parameters: NDArray[np.float32], phases: NDArray[np.int32]) -> tuple[torch.Tensor, ...]:
    """What `expand` takes, for one row of partials in closed form."""
    words = np.zeros((len(phases), WORDS), dtype=np.int32)
    words[:, [Word.PHASE, Word.INCREMENT]] = phases
    words[:, Word.AGE] = np.round(parameters[:, Column.ONSET] / -INTERVAL_FRAMES)
    row = (np.ascontiguousarray(part.T)[None] for part in (parameters, words))
    return (*(torch.from_numpy(part) for part in row), *closed_form_tables())


def closed_form_tables() -> tuple[torch.Tensor, torch.Tensor]:
    """Paths and tables with nothing in them but what tones in closed form read."""
    return torch.zeros(PATH_POINTS, dtype=torch.int32), torch.from_numpy(words_of(np.ones((1, 1)), np.zeros((1, 1))))


LOW_STEP = float(QUARTER)
FIRST_LOW_INTERVAL = -GUARD_INTERVALS
