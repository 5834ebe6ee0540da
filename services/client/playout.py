"""A player's buffer between chunks from the network and a sound card with a clock of its own. Pure."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.client.timeline import Placed, Timeline, frames
from services.contract.timebase import CHANNELS, CHUNK_FRAMES, SAMPLE_RATE_HZ, TICK_S

MAX_CORRECTION: Final = 0.002
"""+-0.2 % is 3.5 cents, inaudible in a slow change, and forty times the drift of a bad sound card."""


class DriftController:
    """Chooses the playing speed that keeps the buffer as deep as the edge expects it to be.

    A proportional and integral controller, critically damped: after a change it settles within some minutes and does
    not swing. Within a dead band it changes nothing, so that without drift the sound stays as it was sent.

    Args:
        smoothing_s: time constant of the level's average, because arrivals jitter.
        dead_band_s: deviations below it are not corrected.
        gain_hz: correction per second of deviation.

    Attributes:
        correction: -0.002 to 0.002; positive plays faster, because the buffer is too deep.
    """

    def __init__(self, *, smoothing_s: float = 5.0, dead_band_s: float = 0.02, gain_hz: float = 0.02) -> None:
        self._smoothing_s = smoothing_s
        self._dead_band_s = dead_band_s
        self._gain_hz = gain_hz
        self._integral_gain_hz2 = gain_hz**2 / 4
        self._error_s: float | None = None
        self._integral = 0.0
        self._last_s: float | None = None
        self.correction = 0.0

    @property
    def error_s(self) -> float:
        """Smoothed deviation of the level: positive when it is too deep."""
        return self._error_s or 0.0

    def observe(self, level_s: float, expected_s: float, now_s: float) -> float:
        """Take a measurement; returns the correction from now on.

        Args:
            level_s: sound that waits to be played.
            expected_s: how much should wait.
            now_s: monotonic seconds.
        """
        error_s = level_s - expected_s
        elapsed_s = 0.0 if self._last_s is None else max(0.0, now_s - self._last_s)
        self._last_s = now_s
        if self._error_s is None:
            self._error_s = error_s
        else:
            self._error_s += (error_s - self._error_s) * -math.expm1(-elapsed_s / self._smoothing_s)
        beyond_s = math.copysign(max(0.0, abs(self._error_s) - self._dead_band_s), self._error_s)
        wanted = self._gain_hz * beyond_s + self._integral
        # While the output is at its bound the integral must not grow: it would overshoot for minutes afterwards.
        if abs(wanted) < MAX_CORRECTION or wanted * beyond_s < 0:
            self._integral += self._integral_gain_hz2 * beyond_s * elapsed_s
        self._integral = _clamped(self._integral)
        self.correction = _clamped(wanted)
        return self.correction

    def restart(self) -> None:
        """Forget the level, which has jumped (underrun, new tier), and keep the known drift."""
        self._error_s = None
        self._last_s = None


def _clamped(correction: float) -> float:
    return min(MAX_CORRECTION, max(-MAX_CORRECTION, correction))


_TAPS: Final = 16
_PHASES: Final = 256
_CUTOFF: Final = 0.94
"""Share of the Nyquist frequency: 20.7 kHz, so that aliasing at +-0.2 % is inaudible."""


def _filter_bank() -> NDArray[np.float32]:
    """Windowed sinc for each fractional position: float32 [phases + 1, taps], each row with sum 1."""
    offsets = np.arange(_TAPS) - (_TAPS // 2 - 1)
    positions = np.arange(_PHASES + 1)[:, None] / _PHASES
    distance = offsets[None, :] - positions
    window = np.i0(9.0 * np.sqrt(np.clip(1 - (distance / (_TAPS / 2)) ** 2, 0, None))) / np.i0(9.0)
    bank = np.sinc(_CUTOFF * distance) * window
    # On a frame, that frame itself: without drift nothing is filtered.
    bank[0], bank[-1] = offsets == 0, offsets == 1
    return (bank / bank.sum(axis=1, keepdims=True)).astype(np.float32)


_BANK: Final = _filter_bank()


class Resampler:
    """Plays sound slightly faster or slower, without a step where the speed changes.

    At correction 0 from the start the output is the input.
    """

    def __init__(self) -> None:
        # Silence before the first frame lets the first output frame be the first input frame.
        # [2, frames]: one channel after the other, which the filter reads four times as fast as interleaved.
        self._input = np.zeros((CHANNELS, _TAPS // 2 - 1), np.float32)
        # Position of the next output frame in `_input`, in frames, fraction included.
        self._position = float(_TAPS // 2 - 1)

    @property
    def waiting_frames(self) -> float:
        """Frames of input that have not been played."""
        return self._input.shape[1] - self._position

    def feed(self, sound: NDArray[np.float32]) -> None:
        """Append float32 [frames, 2]."""
        self._input = np.concatenate((self._input, sound.T), axis=1)

    def can_produce(self, count: int, correction: float) -> bool:
        """Whether the input suffices for `count` frames."""
        last = self._position + (count - 1) * (1.0 + correction)
        return math.floor(last) + _TAPS // 2 < self._input.shape[1]

    def produce(self, count: int, correction: float) -> NDArray[np.float32]:
        """The next `count` frames at 1 + `correction` times the speed: float32 [count, 2]."""
        step = 1.0 + correction
        if correction == 0 and self._position == math.floor(self._position):
            start = int(self._position)
            sound = self._input[:, start : start + count].copy()
        else:
            positions = self._position + step * np.arange(count)
            whole = np.floor(positions).astype(np.intp)
            phase = (positions - whole) * _PHASES
            row = phase.astype(np.intp)
            rest = (phase - row).astype(np.float32)[:, None]
            weights = np.ascontiguousarray((_BANK[row] * (1 - rest) + _BANK[row + 1] * rest).T)
            sound = np.zeros((CHANNELS, count), np.float32)
            for tap, weight in enumerate(weights):
                frame = whole + (tap - (_TAPS // 2 - 1))
                for channel in range(CHANNELS):
                    sound[channel] += weight * self._input[channel].take(frame)
        self._position += step * count
        # Frames that the filter no longer reaches are dropped.
        done = max(0, math.floor(self._position) - (_TAPS // 2 - 1))
        self._input = self._input[:, done:]
        self._position -= done
        return sound.T


class Player:
    """A jitter buffer that a sound card reads from: holds chunks, corrects drift, never clicks.

    When it runs dry it fades out over the last chunk reversed, is silent until it holds `start_chunks`, and fades in.

    Args:
        max_chunks: most chunks held; overflow refuses the newest, which the timeline counts.
        start_chunks: chunks it must hold before it starts, at first and after it has run dry.

    Attributes:
        timeline, drift: its parts.
        underruns: times that it ran dry; a long silence is one.
        playing_id: the chunk that is played; None before the first.
    """

    def __init__(self, *, max_chunks: int = 128, start_chunks: int = 2) -> None:
        self.timeline = Timeline(max_chunks)
        self.drift = DriftController()
        self._start_chunks = start_chunks
        self._resampler = Resampler()
        self._playing = False
        self._fading = False
        self._last = np.zeros((CHUNK_FRAMES, CHANNELS), np.float32)
        self._tier = ""
        self.underruns = 0
        self.playing_id: int | None = None

    @property
    def level_s(self) -> float:
        """Seconds of sound that wait to be played."""
        begun_s = 0.0 if self._fading else max(0.0, self._resampler.waiting_frames) / SAMPLE_RATE_HZ
        return len(self.timeline) * TICK_S + begun_s

    def push(self, chunk_id: int, pcm: bytes, *, buffer_depth: int, tier: str, now_s: float) -> Placed:
        """Take a chunk that has arrived.

        Args:
            chunk_id, pcm: the chunk.
            buffer_depth: chunks that the player holds by the edge's estimate, this one included.
            tier: the listener's tier, which decides the right depth.
            now_s: monotonic seconds.
        """
        placed = self.timeline.add(chunk_id, pcm)
        if tier != self._tier:
            self._tier = tier
            self.drift.restart()
        # A depth of 0 stands for an underrun and is no measurement.
        if self._playing and placed is Placed.HELD and buffer_depth > 0:
            self.drift.observe(self.level_s, buffer_depth * TICK_S, now_s)
        return placed

    def splice(self, chunk_id: int) -> None:
        """Chunks from `chunk_id` on are void and will be pushed again."""
        self.timeline.splice(chunk_id)

    def pull(self, count: int) -> NDArray[np.int16]:
        """The next `count` frames for the sound card: int16 [count, 2]; silence while it holds nothing."""
        if not self._playing:
            if len(self.timeline) < self._start_chunks:
                return np.zeros((count, CHANNELS), np.int16)
            self._start()
        correction = self.drift.correction
        while not self._resampler.can_produce(count, correction):
            taken = None if self._fading else self.timeline.take()
            if taken is not None:
                self.playing_id, pcm = taken
                self._last = frames(pcm)
                self._resampler.feed(self._last)
            elif self._fading:
                self._playing = False
                self._resampler.feed(np.zeros((count, CHANNELS), np.float32))
            else:
                self.underruns += 1
                self._fading = True
                self._resampler.feed(self._last[::-1] * np.cos(_RAMP)[:, None])
        return np.clip(np.rint(self._resampler.produce(count, correction)), -32768, 32767).astype(np.int16)

    def _start(self) -> None:
        self._playing, self._fading = True, False
        self.drift.restart()
        self._resampler = Resampler()
        taken = self.timeline.take()
        assert taken is not None  # noqa: S101 - for the type checker: the caller has counted them
        self.playing_id, pcm = taken
        self._last = frames(pcm)
        # Silence precedes it.
        self._resampler.feed(self._last * np.sin(_RAMP)[:, None])


_RAMP: Final = (np.arange(CHUNK_FRAMES, dtype=np.float32) + 0.5) * np.float32(np.pi / 2 / CHUNK_FRAMES)
