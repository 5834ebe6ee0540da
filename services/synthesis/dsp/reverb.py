"""Pure. Reverb without state: the send is convolved with a 6 s impulse response, by spectra of seconds.

The response is cut into six parts of a second (partitioned convolution). The reverb's spectrum in a block is the
spectrum of the block's own second times the first part, plus that of the second before times the second part, and so
on. Each spectrum depends only on the stream and the second, so that it can be kept, or computed again with the same
bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.synthesis.dsp.grid import GUARD_FRAMES, LOW_FRAMES, QUARTER_BLOCK, QUARTER_HZ

PARTS: Final = 6
"""Parts of the impulse response, a second each."""
EARLY_PARTS: Final = 3
"""Parts that have all frequencies; later ones end at LATE_BINS."""
LATE_BINS: Final = 5_760
"""2.76 kHz: what is higher has died away after EARLY_PARTS in any room."""
WINDOW_FRAMES: Final = 23_040
"""Quarter-rate frames of a spectrum: a second, the second before it and a little more. 2**9 * 45: a fast transform."""
HISTORY_FRAMES: Final = WINDOW_FRAMES - 2 * QUARTER_BLOCK
"""The part of a window that lies before its last two seconds."""
BINS: Final = WINDOW_FRAMES // 2 + 1
PADDED_BINS: Final = 11_528
"""BINS padded to a multiple of 8, so that rows stay aligned."""
DELAY_FRAMES: Final = GUARD_FRAMES
"""The reverb comes 5.7 ms late, so that a block's trailing guard needs no send from after the block."""
WET_OFFSET: Final = WINDOW_FRAMES + GUARD_FRAMES - DELAY_FRAMES - LOW_FRAMES
"""Where a block with its guards begins in the inverse transform."""
SECONDS_NEEDED: Final = PARTS + 2
"""Seconds of send, its own included, that a block's reverb reads if no spectrum is kept."""

_RT60_HZ: Final = (150.0, 800.0, 3_500.0)
"""Where `Room` gives the decay; in between it is linear over octaves."""
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


def impulse_response(room: Room) -> NDArray[np.float64]:
    """The room's response, float64 [2, PARTS * QUARTER_BLOCK] at the quarter rate; each channel has energy 1."""
    frames = PARTS * QUARTER_BLOCK
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
    level_db = room.tilt_db * np.clip((octave - np.log2(_TILT_FROM_HZ)) / _TILT_OCTAVES, *_TILT_RANGE)
    cut = 1.0 / (1.0 + (room.cut_low_hz / np.maximum(hz, 1e-3)) ** 4)
    shape = 10.0 ** (level_db / 20.0) * cut
    shaped = spectrum * shape

    # Each band has its own decay: highs die first, as in air.
    centres = np.arange(np.log2(_BANDS_HZ[0]), np.log2(_BANDS_HZ[1]), _BAND_OCTAVES)
    rt60_s = np.interp(centres, np.log2(_RT60_HZ), [room.rt60_low_s, room.rt60_mid_s, room.rt60_high_s])
    result = np.zeros((2, frames))
    for index, centre in enumerate(centres):
        weight = np.clip(1.0 - np.abs(octave - centre) / _BAND_OCTAVES, 0.0, 1.0)
        if index == 0:
            weight = np.where(octave < centre, 1.0, weight)
        if index == len(centres) - 1:
            weight = np.where(octave > centre, 1.0, weight)
        band = np.fft.irfft(shaped * weight, n=size)[:, :frames]
        result += band * 10.0 ** (-3.0 * time_s / rt60_s[index])
    bloom = np.clip(time_s / room.bloom_s, 0.0, 1.0)
    fade = np.clip((frames - np.arange(frames)) / (_FADE_S * QUARTER_HZ), 0.0, 1.0)
    result *= (np.sin(0.5 * np.pi * bloom) ** 2) * (fade * fade * (3.0 - 2.0 * fade))
    result /= np.sqrt(np.sum(result**2, axis=1, keepdims=True))
    result += 10.0 ** (room.early_db / 20.0) * _early(generator, shape, size)[:, :frames]
    result -= result.mean(axis=1, keepdims=True)
    return np.asarray(result / np.sqrt(np.sum(result**2, axis=1, keepdims=True)), dtype=np.float64)


def _early(generator: np.random.Generator, shape: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """The first reflections: float64 [2, size], each channel of energy 1."""
    clicks = np.zeros((2, size))
    for channel in range(2):
        time_s = np.sort(generator.uniform(*_EARLY_S, _REFLECTIONS))
        sign = np.where(generator.random(_REFLECTIONS) < 0.5, -1.0, 1.0)
        clicks[channel, np.rint(time_s * QUARTER_HZ).astype(int)] = sign * (_EARLY_S[0] / time_s) ** 0.7
    sound = np.fft.irfft(np.fft.rfft(clicks) * shape, n=size)
    return np.asarray(sound / np.sqrt(np.sum(sound**2, axis=1, keepdims=True)), dtype=np.float64)


def response_spectra(response: NDArray[np.float64]) -> NDArray[np.float32]:
    """Spectra of a response's parts, float32 [PARTS, 2 channels, 2 (real, imaginary), PADDED_BINS]."""
    parts = response.reshape(2, PARTS, QUARTER_BLOCK).transpose(1, 0, 2)
    spectra = np.fft.rfft(parts, n=WINDOW_FRAMES)
    result = np.zeros((PARTS, 2, 2, PADDED_BINS), dtype=np.float32)
    result[:, :, 0, :BINS] = spectra.real
    result[:, :, 1, :BINS] = spectra.imag
    return result


def mix_spectra(kept: Tensor, slots: Tensor, responses: Tensor, rooms: Tensor) -> tuple[Tensor, Tensor]:
    """The reverb's spectrum of each row.

    Real and imaginary parts are tensors of their own: complex tensors do not fuse, and complex products round
    differently at the end of a vector.

    Args:
        kept: float32 [slots, 2, PADDED_BINS], spectra of seconds of send.
        slots: int64 [rows, PARTS]: the slot of the row's own second, then those of the seconds before it.
        responses: float32 [rooms, PARTS, 2, 2, PADDED_BINS], from `response_spectra`.
        rooms: int64 [rows]: each row's place in `responses`.

    Returns:
        Real and imaginary parts, float32 [rows, 2 channels, PADDED_BINS].
    """
    low = _mix(kept, slots, responses, rooms, slice(0, LATE_BINS), PARTS)
    high = _mix(kept, slots, responses, rooms, slice(LATE_BINS, PADDED_BINS), EARLY_PARTS)
    return torch.cat((low[0], high[0]), dim=-1), torch.cat((low[1], high[1]), dim=-1)


def _mix(  # noqa: PLR0917 - as `mix_spectra`, for some of the bins
    kept: Tensor, slots: Tensor, responses: Tensor, rooms: Tensor, bins: slice, parts: int
) -> tuple[Tensor, Tensor]:
    """`mix_spectra` for some of the bins, by the first `parts` of the responses."""
    real: Tensor | None = None
    imaginary: Tensor | None = None
    for part in range(parts):
        send = kept[slots[:, part]][:, None, :, bins]
        room = responses[rooms, part][..., bins]
        send_real, send_imaginary = send[:, :, 0], send[:, :, 1]
        room_real, room_imaginary = room[:, :, 0], room[:, :, 1]
        part_real = send_real * room_real - send_imaginary * room_imaginary
        part_imaginary = send_real * room_imaginary + send_imaginary * room_real
        real = part_real if real is None else real + part_real
        imaginary = part_imaginary if imaginary is None else imaginary + part_imaginary
    assert real is not None and imaginary is not None  # noqa: S101, PT018 - there is at least one part
    return real, imaginary


def spectrum(windows: Tensor) -> Tensor:
    """Spectra, complex64 [rows, BINS], of windows [rows, WINDOW_FRAMES].

    A single row is doubled: the library transforms one row in another way than several, with other last bits.
    """
    rows = windows.shape[0]
    if rows == 1:
        windows = windows.expand(2, -1).contiguous()
    transformed: Tensor = torch.fft.rfft(windows)[:rows]
    return transformed


def inverse(real: Tensor, imaginary: Tensor) -> Tensor:
    """Back to sound: [rows, 2 channels, WINDOW_FRAMES]. Two channels are two rows, see `spectrum`."""
    sound: Tensor = torch.fft.irfft(torch.complex(real[..., :BINS], imaginary[..., :BINS]), n=WINDOW_FRAMES)
    return sound
