"""Pure. Reverb without state: the send is convolved with a 6 s impulse response, by spectra of seconds.

The response is cut into six parts of a second (partitioned convolution). The reverb's spectrum in a block is the
spectrum of the block's own second times the first part, plus that of the second before times the second part, and so
on. Each spectrum depends only on the stream and the second, so that it can be kept, or computed again with the same
bits.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.synthesis.dsp.grid import GUARD_FRAMES, LOW_FRAMES, QUARTER_BLOCK, RESPONSE_S

PARTS: Final = RESPONSE_S
"""Parts of the impulse response, a second each."""
EARLY_PARTS: Final = 3
"""Parts that have all frequencies; later ones end at LATE_BINS."""
LATE_BINS: Final = 5_600
"""2.76 kHz: what is higher has died away after EARLY_PARTS in any room."""
WINDOW_FRAMES: Final = 22_400
"""Quarter-rate frames of a spectrum: a second, the second before it and a little more. 2**7 * 175: a fast transform."""
HISTORY_FRAMES: Final = WINDOW_FRAMES - 2 * QUARTER_BLOCK
"""The part of a window that lies before its last two seconds."""
BINS: Final = WINDOW_FRAMES // 2 + 1
PADDED_BINS: Final = 11_216
"""BINS padded to a multiple of 16, so that rows stay aligned."""
DELAY_FRAMES: Final = GUARD_FRAMES
"""The reverb comes 5.7 ms late, so that a block's trailing guard needs no send from after the block."""
WET_OFFSET: Final = WINDOW_FRAMES + GUARD_FRAMES - DELAY_FRAMES - LOW_FRAMES
"""Where a block with its guards begins in the inverse transform."""
SECONDS_NEEDED: Final = PARTS + 2
"""Seconds of send, its own included, that a block's reverb reads if no spectrum is kept."""

_HALF_WORD: Final = 32
_LOW_HALF: Final = 2**_HALF_WORD - 1


def response_spectra(response: NDArray[np.float64]) -> NDArray[np.float32]:
    """Spectra of a response's parts, float32 [PARTS, 2 channels, 2 (real, imaginary), PADDED_BINS]."""
    parts = response.reshape(2, PARTS, QUARTER_BLOCK).transpose(1, 0, 2)
    spectra = np.fft.rfft(parts, n=WINDOW_FRAMES)
    result = np.zeros((PARTS, 2, 2, PADDED_BINS), dtype=np.float32)
    result[:, :, 0, :BINS] = spectra.real
    result[:, :, 1, :BINS] = spectra.imag
    return result


def mix_spectra(kept: Tensor, slots: Tensor, responses: Tensor, rooms: Tensor) -> Tensor:
    """The reverb's spectrum of each row.

    Complex numbers are words of 64 bits, the real part in the low half: complex tensors do not fuse, and complex
    products round differently at the end of a vector.

    Args:
        kept: int64 [slots, PADDED_BINS], spectra of seconds of send.
        slots: int64 [rows, PARTS]: the slot of the row's own second, then those of the seconds before it.
        responses: float32 [rooms, PARTS, 2, 2, PADDED_BINS], from `response_spectra`.
        rooms: int64 [rows]: each row's place in `responses`.

    Returns:
        int64 [rows, 2 channels, PADDED_BINS].
    """
    late = _mix(kept, slots, responses, rooms, slice(0, LATE_BINS), PARTS)
    early = _mix(kept, slots, responses, rooms, slice(LATE_BINS, PADDED_BINS), EARLY_PARTS)
    return torch.cat((late, early), dim=-1)


def _mix(  # noqa: PLR0917 - as `mix_spectra`, for some of the bins
    kept: Tensor, slots: Tensor, responses: Tensor, rooms: Tensor, bins: slice, parts: int
) -> Tensor:
    """`mix_spectra` for some of the bins, by the first `parts` of the responses."""
    real: Tensor | None = None
    imaginary: Tensor | None = None
    for part in range(parts):
        send = kept[slots[:, part]][:, None, bins]
        room = responses[rooms, part][..., bins]
        send_real, send_imaginary = _number(send), _number(send >> _HALF_WORD)
        room_real, room_imaginary = room[:, :, 0], room[:, :, 1]
        part_real = send_real * room_real - send_imaginary * room_imaginary
        part_imaginary = send_real * room_imaginary + send_imaginary * room_real
        real = part_real if real is None else real + part_real
        imaginary = part_imaginary if imaginary is None else imaginary + part_imaginary
    assert real is not None and imaginary is not None  # noqa: S101, PT018 - there is at least one part
    return _bits(real) & _LOW_HALF | (_bits(imaginary) << _HALF_WORD)


def _number(words: Tensor) -> Tensor:
    """The float32 in the low half of words of 64 bits."""
    return words.to(torch.int32).view(torch.float32)


def _bits(numbers: Tensor) -> Tensor:
    """The bits of float32, as int64."""
    return numbers.view(torch.int32).to(torch.int64)


def spectrum(windows: Tensor) -> Tensor:
    """Spectra, complex64 [rows, BINS], of windows [rows, WINDOW_FRAMES].

    A single row is doubled: the library transforms one row in another way than several, with other last bits.
    """
    rows = windows.shape[0]
    if rows == 1:
        windows = windows.expand(2, -1).contiguous()
    transformed: Tensor = torch.fft.rfft(windows)[:rows]
    return transformed


def inverse(spectra: Tensor) -> Tensor:
    """Back to sound: [rows, 2 channels, WINDOW_FRAMES]. Two channels are two rows, see `spectrum`.

    Args:
        spectra: from `mix_spectra`.
    """
    sound: Tensor = torch.fft.irfft(spectra.view(torch.complex64)[..., :BINS], n=WINDOW_FRAMES)
    return sound
