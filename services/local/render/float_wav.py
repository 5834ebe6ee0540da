"""WAV files of 32-bit floats: what is louder than full scale is kept (shell: writes a file)."""

from __future__ import annotations

import struct
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from services.contract.timebase import CHANNELS, SAMPLE_RATE_HZ

FRAME_BYTES: Final = 4 * CHANNELS
_FLOAT: Final = 3
"""The format's code for IEEE floats."""
_HEADER_BYTES: Final = 58
"""RIFF, fmt of 18 bytes, fact and the head of data."""
MAX_SECONDS: Final = (2**32 - _HEADER_BYTES) // FRAME_BYTES // SAMPLE_RATE_HZ
"""Sound that fits: a WAV file's size is a number of 32 bits, 3 h 22 min."""


class FloatWav:
    """A stereo file at 44.1 kHz that is being written; a context manager.

    Args:
        path: the file; replaced if it exists.

    Raises:
        OSError: it cannot be written; from the methods too.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._frames = 0
        self._file.write(_header(0))

    def write(self, sound: NDArray[np.float32]) -> None:
        """Append float32 [frames, 2]; full scale is 1."""
        self._file.write(np.ascontiguousarray(sound, dtype="<f4").tobytes())
        self._frames += len(sound)

    def close(self) -> None:
        """Write the length into the header and close the file; idempotent."""
        if not self._file.closed:
            self._file.seek(0)
            self._file.write(_header(self._frames))
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _header(frames: int) -> bytes:
    data_bytes = frames * FRAME_BYTES
    layout = (_FLOAT, CHANNELS, SAMPLE_RATE_HZ, SAMPLE_RATE_HZ * FRAME_BYTES, FRAME_BYTES, 32, 0)
    return (
        b"RIFF" + struct.pack("<I", _HEADER_BYTES - 8 + data_bytes) + b"WAVE"
        b"fmt " + struct.pack("<IHHIIHHH", 18, *layout)
        + b"fact" + struct.pack("<II", 4, frames)
        + b"data" + struct.pack("<I", data_bytes)
    )  # fmt: skip
