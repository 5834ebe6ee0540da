"""Pure, but for what it keeps. The last seconds that each stream sent to the reverb, and their spectra.

They save work and change no sample: what is missing is computed again, with the same bits.
"""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock
from typing import Final

import numpy as np
import torch
from torch import Tensor

from services.synthesis.dsp.grid import QUARTER_BLOCK
from services.synthesis.dsp.reverb import BINS, HISTORY_FRAMES, PADDED_BINS, PARTS, WINDOW_FRAMES, spectrum
from services.synthesis.idle_streams import IdleSweep
from services.synthesis.render.upload import upload_index

KEEP_SECONDS: Final = PARTS
"""Seconds kept for a stream after its latest block was rendered."""
SLOT_BYTES: Final = 4 * (QUARTER_BLOCK + 2 * PADDED_BINS)
SILENCE: Final = 0
"""The slot that is always silent: what a stream sent before the epoch."""

Key = tuple[str, int]
"""Stream id, and second since the epoch."""


class SendStore:
    """A bounded pool of slots, each with a second of send and its spectrum.

    When it is full, it takes the slot that was claimed or touched longest ago; `evictions` counts that. Threads may
    share it: two that render the same second store the same bits, and a second is found only once it is written.

    Args:
        slots: capacity, 137 KB of memory each. The system brings a slot's memory when it is first written.
        device: where the tensors are.
    """

    def __init__(self, slots: int, device: torch.device) -> None:
        if slots < 2 * (PARTS + 2):
            raise ValueError(f"slots: got {slots}, expected at least {2 * (PARTS + 2)}")
        self.sends = _zeros((slots, QUARTER_BLOCK), device)
        self.spectra = _zeros((slots, PADDED_BINS), device, torch.complex64)
        self.evictions = 0
        self._lock = Lock()
        self._slots: dict[Key, int] = {}
        self._stored: set[Key] = set()
        self._with_spectrum: set[Key] = set()
        self._sweep = IdleSweep()
        self._free = list(range(slots - 1, SILENCE, -1))

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def capacity(self) -> int:
        """Seconds that fit."""
        return self.sends.shape[0] - 1

    def __contains__(self, key: Key) -> bool:
        return key in self._stored

    def has_spectrum(self, key: Key) -> bool:
        """Whether the spectrum of the window that ends with this second is kept."""
        return key in self._with_spectrum

    def slot(self, key: Key) -> int:
        """The slot of a second that is kept; seconds before the epoch have the silent one."""
        return self.slots([key])[0]

    def slots(self, keys: Iterable[Key]) -> list[int]:
        """The slots of several seconds, see `slot`."""
        with self._lock:
            return [SILENCE if key[1] < 0 else self._slots[key] for key in keys]

    def claim(self, keys: list[Key]) -> list[int]:
        """Slots for seconds whose sends the caller will write. `store` claims, writes and makes them findable."""
        with self._lock:
            return [self._claim(key) for key in keys]

    def _claim(self, key: Key) -> int:
        slot = self._slots.pop(key, None)
        if slot is None:
            if not self._free:
                # Dictionaries keep the order of insertion: the first key is the oldest.
                self._drop(next(iter(self._slots)))
                self.evictions += 1
            slot = self._free.pop()
        self._slots[key] = slot
        return slot

    def store(self, keys: list[Key], sends: Tensor) -> None:
        """Keep seconds of send.

        Args:
            keys: of the seconds.
            sends: float32 [len(keys), QUARTER_BLOCK], or another shape with as many numbers.
        """
        _write(self.sends.view(-1, *sends.shape[1:]), self.claim(keys), sends)
        # Only now: before the write, another thread would read what the slot held for another second.
        with self._lock:
            self._stored.update(key for key in keys if key in self._slots)

    def touch(self, keys: list[Key]) -> None:
        """Keep seconds longer, if they are kept: they will be read soon."""
        with self._lock:
            for key in keys:
                slot = self._slots.pop(key, None)
                if slot is not None:
                    self._slots[key] = slot

    def store_spectra(self, keys: list[Key]) -> None:
        """Compute and keep the spectra of the windows that end with `keys`.

        Their sends, and those of the two seconds before each, must be kept.
        """
        if not keys:
            return
        windows = self.sends.new_empty((len(keys), WINDOW_FRAMES))
        end = 0
        for back, sends in ((2, self.sends[:, QUARTER_BLOCK - HISTORY_FRAMES :]), (1, self.sends), (0, self.sends)):
            slots = self.slots((stream, second - back) for stream, second in keys)
            begin, end = end, end + sends.shape[1]
            torch.index_select(sends, 0, upload_index(slots, sends.device), out=windows[:, begin:end])
        # The padding after BINS is never written and stays zero.
        _write(self.spectra[:, :BINS], slots, spectrum(windows))
        self._with_spectrum.update(keys)

    def forget(self, rendered: dict[str, int]) -> None:
        """Drop what the next blocks will not need.

        Args:
            rendered: the latest second of each stream that has just been rendered.
        """
        if not rendered:
            return
        with self._lock:
            for stream, latest in rendered.items():
                second = latest - KEEP_SECONDS
                while (stream, second) in self._slots:
                    self._drop((stream, second))
                    second -= 1
            horizon = self._sweep.horizon(max(rendered.values()))
            if horizon is None:
                return
            stale = [
                key for key in self._slots if key[1] < horizon or key[1] <= rendered.get(key[0], key[1]) - KEEP_SECONDS
            ]
            for key in stale:
                self._drop(key)

    def _drop(self, key: Key) -> None:
        self._stored.discard(key)
        self._with_spectrum.discard(key)
        self._free.append(self._slots.pop(key))


def _write(rows: Tensor, slots: list[int], values: Tensor) -> None:
    """Write `values` into the `slots` of `rows`."""
    if rows.device.type == "cpu":
        # Row by row: torch, and numpy with a list of slots, look a slot up again for each number.
        target = rows.numpy()
        for slot, value in zip(slots, values.numpy(), strict=True):
            target[slot] = value
    else:
        rows.index_copy_(0, upload_index(slots, rows.device), values)


def _zeros(shape: tuple[int, ...], device: torch.device, kind: torch.dtype = torch.float32) -> Tensor:
    if device.type == "cpu":
        # The system brings the pages of numpy's zeros when they are first written; torch writes them all.
        return torch.from_numpy(np.zeros(shape, dtype=np.complex64 if kind.is_complex else np.float32))
    return torch.zeros(shape, device=device, dtype=kind)
