"""Pure. The measured table of an instrument: its file format, and its notes in memory.

A file is LZMA over one line of JSON (`Header`) and the bytes of each note: for each partial the levels of its points,
then its phases, both as differences from point to point, modulo 256.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

POINTS_HZ: Final = 175
"""Points a second: one for each control point of the renderer."""
LEVEL_STEP_DB: Final = 0.375
"""A step of a level. 255 is the loudest of the note; 0 is silence."""

_FILTERS: Final = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 0, "lp": 0, "pb": 0}]


@dataclass(frozen=True, slots=True)
class MeasuredTone:
    """One measured note.

    Attributes:
        midi: pitch that was recorded.
        ratio: float64 [partials], frequency of each partial by the note's nominal one, rising.
        amplitude: float32 [points, partials], linear; the power of all partials together is about 1 at first.
        phase: float32 [points, partials], in cycles, unwrapped, against the steady frequency.
        decay_db_s: float64 [partials], how fast each falls at the end of the table; 0 where it is held.
        soft_db: float64 [partials], level of a soft note against a loud one, the note's own level taken out.
        loop: first point from which the table may be read back and forth.
        release_s: to -60 dB when the key is let go.
    """

    midi: int
    ratio: NDArray[np.float64]
    amplitude: NDArray[np.float32]
    phase: NDArray[np.float32]
    decay_db_s: NDArray[np.float64]
    soft_db: NDArray[np.float64]
    loop: int
    release_s: float

    @property
    def points(self) -> int:
        """How many points it has."""
        return len(self.amplitude)


@dataclass(frozen=True, slots=True)
class MeasuredInstrument:
    """All notes of one instrument, low to high.

    Attributes:
        name: of the table.
        credit: source of the recording, and its licence.
        sustained: it sounds as long as the key is held.
        tones: the notes.
    """

    name: str
    credit: str
    sustained: bool
    tones: tuple[MeasuredTone, ...]


def encode(header: dict[str, Any], notes: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> bytes:
    """The bytes of a file.

    Args:
        header: name, credit, sustained, and for each note midi, ratio, points, decay_db_s, soft_db, loop, release_s.
        notes: levels and phases, uint8 [partials, points] each.
    """
    body = b"".join(_differences(part) for note in notes for part in note)
    text = json.dumps(header, separators=(",", ":"), sort_keys=True).encode()
    return lzma.compress(text + b"\n" + body, format=lzma.FORMAT_XZ, check=lzma.CHECK_CRC32, filters=_FILTERS)


def decode(data: bytes) -> MeasuredInstrument:
    """The instrument in the bytes of a file."""
    text, body = lzma.decompress(data).split(b"\n", 1)
    header = json.loads(text)
    tones, place = [], 0
    for note in header["notes"]:
        shape = (len(note["ratio"]), note["points"])
        size = shape[0] * shape[1]
        levels, turns = (
            np.cumsum(np.frombuffer(body, np.uint8, size, place + part * size).reshape(shape), axis=1, dtype=np.uint8)
            for part in (0, 1)
        )
        place += 2 * size
        steps = np.diff(turns, axis=1, prepend=turns[:, :1]).view(np.int8).astype(np.float64)
        phase = (turns[:, :1] + np.cumsum(steps, axis=1)) / 256.0
        level = 10.0 ** ((levels.astype(np.float64) - 255.0) * (LEVEL_STEP_DB / 20.0)) * (levels > 0)
        tones.append(
            MeasuredTone(
                midi=note["midi"],
                ratio=np.array(note["ratio"]),
                amplitude=np.ascontiguousarray((level * note["peak"]).T, dtype=np.float32),
                phase=np.ascontiguousarray(phase.T, dtype=np.float32),
                decay_db_s=np.array(note["decay_db_s"]),
                soft_db=np.array(note["soft_db"]),
                loop=note["loop"],
                release_s=note["release_s"],
            )
        )
    return MeasuredInstrument(header["name"], header["credit"], header["sustained"], tuple(tones))


def _differences(values: NDArray[np.uint8]) -> bytes:
    return np.diff(values, axis=1, prepend=np.zeros((len(values), 1), np.uint8)).tobytes()
